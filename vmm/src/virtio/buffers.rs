//! A descriptor chain's guest memory, checked once: what the device may read, then what it may write
//! (VirtIO 1.2 §2.7.4.2, §2.7.5).
//!
//! Owns: the checks that hold for every chain of every device. Copies nothing by itself and keeps no
//! address: after [`Buffers::of_chain`] there are only stretches of memory that exist. Their bytes can
//! still change under a reader, so whoever decides by a byte copies it first.

use std::collections::VecDeque;
use std::ops::Deref;
use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, VolatileSlice};

/// The most descriptors one chain may have.
pub const MAX_DESCRIPTORS: usize = 256;

/// Why a chain is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It is longer than a device takes.
    #[error("the descriptor chain has more than {MAX_DESCRIPTORS} descriptors")]
    TooLong,
    /// It goes on but its next descriptor cannot be read, or it runs in a circle.
    #[error("the descriptor chain does not end")]
    Endless,
    /// A buffer does not lie within guest memory.
    #[error("{length} bytes at guest address {address:#x} are not all memory")]
    NotMemory {
        /// Where the buffer begins.
        address: u64,
        /// How long it is said to be.
        length: u32,
    },
    /// A buffer that the device reads follows one that it writes.
    #[error("a readable buffer follows a writable one")]
    Order,
}

/// Stretches of guest memory, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Slices<'m> {
    parts: VecDeque<VolatileSlice<'m>>,
    length: usize,
}

impl<'m> Slices<'m> {
    /// How many bytes they are together.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many stretches they are.
    pub fn count(&self) -> usize {
        self.parts.len()
    }

    /// The stretches; none is empty.
    pub fn iter(&self) -> impl Iterator<Item = &VolatileSlice<'m>> {
        self.parts.iter()
    }

    /// Adds a stretch at the end.
    pub fn push(&mut self, part: VolatileSlice<'m>) {
        if !part.is_empty() {
            self.length += part.len();
            self.parts.push_back(part);
        }
    }

    /// Adds others at the end.
    pub fn append(&mut self, others: &mut Self) {
        self.length += std::mem::take(&mut others.length);
        self.parts.append(&mut others.parts);
    }

    fn clear(&mut self) {
        self.parts.clear();
        self.length = 0;
    }

    /// Takes the first `count` bytes off, or all where there are fewer.
    pub fn take_front(&mut self, count: usize) -> Self {
        let mut front = Self::default();
        while front.length < count
            && let Some(part) = self.parts.pop_front()
        {
            self.length -= part.len();
            match part.split_at(count - front.length) {
                Ok((first, rest)) => {
                    front.push(first);
                    if !rest.is_empty() {
                        self.length += rest.len();
                        self.parts.push_front(rest);
                    }
                }
                Err(_) => front.push(part),
            }
        }
        front
    }

    /// Copies the first `N` bytes out and takes them off; `None` where there are fewer.
    pub fn read_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.length < N {
            return None;
        }
        let mut bytes = [0; N];
        let mut rest = bytes.as_mut_slice();
        for part in self.take_front(N).iter() {
            let copied = part.copy_to(rest);
            rest = rest.split_at_mut_checked(copied)?.1;
        }
        Some(bytes)
    }

    /// Copies `bytes` in from the front, as many as fit; gives how many did.
    pub fn write(&self, mut bytes: &[u8]) -> usize {
        let mut written = 0;
        for part in self.iter() {
            let count = part.len().min(bytes.len());
            let Some((now, later)) = bytes.split_at_checked(count) else { break };
            part.copy_from(now);
            bytes = later;
            written += count;
        }
        written
    }

    /// Copies all bytes to the end of `bytes`.
    pub fn append_to(&self, bytes: &mut VecDeque<u8>) {
        let mut block = [0; 4096];
        for part in self.iter() {
            let mut offset = 0;
            while let Ok(count) = part.read(&mut block, offset)
                && count > 0
            {
                // Of a slice, and not byte by byte: that is a copy of whole stretches.
                bytes.extend(block.get(..count).unwrap_or_default());
                offset += count;
            }
        }
    }
}

/// The buffers of one chain.
#[derive(Debug, Default)]
pub struct Buffers<'m> {
    /// What the driver gives to the device.
    pub readable: Slices<'m>,
    /// Where the device may write.
    pub writable: Slices<'m>,
}

impl<'m> Buffers<'m> {
    /// Walks a chain.
    ///
    /// # Errors
    /// [`ChainError`] for a chain that no honest driver makes. Nothing was touched then.
    pub fn of_chain<M>(
        memory: &'m GuestMemoryMmap<()>,
        chain: &mut DescriptorChain<M>,
    ) -> Result<Self, ChainError>
    where
        M: Deref<Target = GuestMemoryMmap<()>>,
    {
        let mut buffers = Self::default();
        buffers.refill(memory, chain).map(|()| buffers)
    }

    /// Walks a chain as [`Buffers::of_chain`] does, in the room that there is for another one's. None of it is of use where
    /// the chain is refused.
    ///
    /// # Errors
    /// As there.
    pub fn refill<M>(
        &mut self,
        memory: &'m GuestMemoryMmap<()>,
        chain: &mut DescriptorChain<M>,
    ) -> Result<(), ChainError>
    where
        M: Deref<Target = GuestMemoryMmap<()>>,
    {
        self.readable.clear();
        self.writable.clear();
        let mut goes_on = true;
        for (count, descriptor) in chain.by_ref().enumerate() {
            if count >= MAX_DESCRIPTORS {
                return Err(ChainError::TooLong);
            }
            goes_on = descriptor.has_next();
            let side = if descriptor.is_write_only() {
                &mut self.writable
            } else if self.writable.is_empty() {
                &mut self.readable
            } else {
                return Err(ChainError::Order);
            };
            let (address, length) = (descriptor.addr(), descriptor.len());
            append(memory, side, address, length)?;
        }
        if goes_on { Err(ChainError::Endless) } else { Ok(()) }
    }
}

fn append<'m>(
    memory: &'m GuestMemoryMmap<()>,
    to: &mut Slices<'m>,
    address: GuestAddress,
    length: u32,
) -> Result<(), ChainError> {
    for part in memory.get_slices(address, length as usize) {
        to.push(part.map_err(|_| ChainError::NotMemory { address: address.0, length })?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::test_driver::{Driver, memory};

    const DATA: u64 = 0x1_0000;

    #[test]
    fn a_chain_longer_than_the_limit_is_refused() {
        let memory = memory(4 << 20);
        let mut driver = Driver::new(&memory, 0, 1024);
        driver.add(&vec![(DATA, 1, true); MAX_DESCRIPTORS + 1]);
        let mut chain = driver.queue().take(&memory).unwrap();
        assert_eq!(Buffers::of_chain(&memory, &mut chain).unwrap_err(), ChainError::TooLong);
    }

    #[test]
    fn a_chain_that_does_not_end_is_refused() {
        let memory = memory(4 << 20);
        let mut driver = Driver::new(&memory, 0, 256);
        let mut queue = driver.queue();
        let mut refused = |next_of_last: u16| {
            driver.descriptor(10, DATA, 16, 1, 11);
            driver.descriptor(11, DATA, 16, 1, next_of_last);
            driver.publish(10);
            let mut chain = queue.take(&memory).unwrap();
            Buffers::of_chain(&memory, &mut chain).unwrap_err()
        };
        assert_eq!(refused(10), ChainError::Endless, "a circle");
        assert_eq!(refused(300), ChainError::Endless, "a descriptor beyond the table");
    }

    #[test]
    fn bytes_of_any_length_are_kept_in_order() {
        let memory = memory(1 << 20);
        let bytes: Vec<u8> = (0..=250).cycle().take(20_000).collect();
        memory.write_slice(&bytes, GuestAddress(DATA)).unwrap();
        let mut slices = Slices::default();
        slices.push(memory.get_slice(GuestAddress(DATA), 4097).unwrap());
        slices.push(memory.get_slice(GuestAddress(DATA + 4097), 20_000 - 4097).unwrap());
        let mut kept = VecDeque::from([7]);
        slices.append_to(&mut kept);
        assert_eq!(kept.pop_front(), Some(7));
        assert_eq!(kept, bytes);
    }
}
