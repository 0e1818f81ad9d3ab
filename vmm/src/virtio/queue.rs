//! What every device does with an active virtqueue: take chains, give them back; and how a transport
//! makes one of what its driver said.
//!
//! A queue that the driver broke (an index that runs ahead of the ring) is set to not ready and the
//! driver is asked for a reset (VirtIO 1.2 §2.1.2): it gives no chain any more, and no thread runs in a
//! circle over it.

use super::{QueueState, VirtQueue};
use std::sync::atomic::{Ordering, fence};
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap};

/// A descriptor chain within guest memory of this kind.
pub type Chain<'m> = DescriptorChain<&'m GuestMemoryMmap<()>>;

/// Makes a queue of its registers, if its driver made it ready and all of it lies in guest memory.
pub fn queue_of(
    state: QueueState,
    size_max: u16,
    event_idx: bool,
    memory: &GuestMemoryMmap<()>,
) -> Option<Queue> {
    let mut queue = Queue::new(size_max).ok()?;
    queue.try_set_size(state.size).ok()?;
    queue.try_set_desc_table_address(GuestAddress(state.descriptor_table)).ok()?;
    queue.try_set_avail_ring_address(GuestAddress(state.available_ring)).ok()?;
    queue.try_set_used_ring_address(GuestAddress(state.used_ring)).ok()?;
    queue.set_event_idx(event_idx);
    queue.set_next_avail(state.next_available);
    queue.set_next_used(state.next_used);
    queue.set_ready(state.ready);
    let entries = usize::from(state.size);
    // Not `Queue::is_valid`: it looks at the ends of the rings only.
    let is_memory = [
        (state.descriptor_table, 16 * entries),
        (state.available_ring, 6 + 2 * entries),
        (state.used_ring, 6 + 8 * entries),
    ]
    .into_iter()
    .all(|(start, bytes)| memory.check_range(GuestAddress(start), bytes));
    (state.ready && is_memory).then_some(queue)
}

impl VirtQueue {
    /// How many chains wait to be taken, at least if the driver is honest; 0 of a broken queue.
    pub fn pending(&self, memory: &GuestMemoryMmap<()>) -> u16 {
        if !self.queue.ready() {
            return 0;
        }
        let next = self.queue.next_avail();
        self.queue
            .avail_idx(memory, Ordering::Acquire)
            .map_or(0, |index| index.0.wrapping_sub(next))
    }

    /// The next chain the driver has made available.
    pub fn take<'m>(&mut self, memory: &'m GuestMemoryMmap<()>) -> Option<Chain<'m>> {
        if self.pending(memory) == 0 {
            return None;
        }
        let chain = self.queue.iter(memory).ok().and_then(|mut available| available.next());
        if chain.is_none() {
            self.queue.set_ready(false);
            self.interrupt.need_reset();
        }
        chain
    }

    /// The next chains that the driver has made available, one after the other, until `is_enough` says so of one: true then.
    /// The driver's index is looked at once for all of them.
    pub fn take_until<'m>(
        &mut self,
        memory: &'m GuestMemoryMmap<()>,
        mut is_enough: impl FnMut(Chain<'m>) -> bool,
    ) -> bool {
        let pending = self.pending(memory);
        let mut taken = 0;
        let mut take = |chain| {
            taken += 1;
            is_enough(chain)
        };
        if pending > 0
            && self.queue.iter(memory).is_ok_and(|mut available| available.any(&mut take))
        {
            return true;
        }
        if taken < pending {
            self.queue.set_ready(false);
            self.interrupt.need_reset();
        }
        false
    }

    /// Undoes the last [`VirtQueue::take`]: the chain is taken again next time.
    pub fn untake(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Puts a chain on the used ring, `written` bytes of it filled, without an interrupt.
    pub fn give_back(&mut self, memory: &GuestMemoryMmap<()>, head: u16, written: u32) {
        // It fails for a head beyond the queue, which no chain that `take` gave can be of use with.
        let _ = self.queue.add_used(memory, head, written);
    }

    /// Puts chains on the used ring, each with how many bytes of it are filled, so that the driver sees all of them or none;
    /// without an interrupt, for which [`VirtQueue::interrupt_if_wanted_since`] is then to be asked.
    pub fn give_back_together(&mut self, memory: &GuestMemoryMmap<()>, chains: &[(u16, u32)]) {
        // The library's way publishes each by itself. That all of the ring is memory was seen as the queue was made.
        let (ring, size) = (self.queue.used_ring(), self.queue.size());
        let mut next = self.queue.next_used();
        for (head, written) in chains {
            let slot = GuestAddress(ring + 4 + 8 * u64::from(next % size));
            let _ = memory.write_obj([u32::from(*head).to_le(), written.to_le()], slot);
            next = next.wrapping_add(1);
        }
        self.queue.set_next_used(next);
        let _ = memory.store(next.to_le(), GuestAddress(ring + 2), Ordering::Release);
    }

    /// Interrupts the driver if it wants to know of what was given back together since the used index was `old`
    /// (VirtIO 1.2 §2.7.10).
    pub fn interrupt_if_wanted_since(&mut self, memory: &GuestMemoryMmap<()>, old: u16) {
        // What was given back is seen before the driver's word is read.
        fence(Ordering::SeqCst);
        let word = self.queue.avail_ring() + 4 + 2 * u64::from(self.queue.size());
        let event = memory.load::<u16>(GuestAddress(word), Ordering::Relaxed).map(u16::from_le);
        let new = self.queue.next_used();
        let passes = |event| new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old);
        if !self.queue.event_idx_enabled() || event.map_or(true, passes) {
            self.interrupt.used_ring();
        }
    }

    /// Interrupts the driver if it wants to know of what was given back.
    pub fn interrupt_if_wanted(&mut self, memory: &GuestMemoryMmap<()>) {
        if self.queue.needs_notification(memory).unwrap_or(true) {
            self.interrupt.used_ring();
        }
    }

    /// Asks the driver not to notify, because the device is looking anyway.
    pub fn mute(&mut self, memory: &GuestMemoryMmap<()>) {
        let _ = self.queue.disable_notification(memory);
    }

    /// Asks the driver to notify again; true where chains have come meanwhile, so that nobody may
    /// wait yet.
    pub fn unmute(&mut self, memory: &GuestMemoryMmap<()>) -> bool {
        self.queue.ready() && self.queue.enable_notification(memory).unwrap_or(false)
    }
}
