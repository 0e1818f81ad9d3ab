//! Loads the kernel (an uncompressed ELF, vmlinux) and the initramfs, straight from their files into
//! guest memory.
//!
//! The kernel may be anyone's file: every number in it is checked before it is used, and none of
//! them sizes an allocation (System V ABI, chapters 4 and 5: Object Files, Program Loading).

use crate::arch::layout;
use crate::config::FileExtent;
use crate::sys;
use crate::virtio::Memory;
use std::io;
use std::os::fd::BorrowedFd;
use vm_memory::{GuestAddress, GuestMemory, GuestMemoryError};

const ELF_HEADER_BYTES: usize = 64;
const SEGMENT_HEADER_BYTES: usize = 56;
const SEGMENTS_MAX: u16 = 64;
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const LOADABLE: u32 = 1;
const PAGE_BYTES: u64 = 0x1000;

/// Why a kernel or an initramfs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Reading failed, or the file is shorter than was said.
    #[error("cannot read {bytes} bytes at {offset} of the {what}")]
    Read {
        /// Kernel or initramfs.
        what: &'static str,
        /// Where in the file.
        offset: u64,
        /// How many.
        bytes: u64,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is no ELF file that this machine could run.
    #[error("the kernel is not a 64-bit little-endian ELF executable ({field} is {value:#x})")]
    NotAKernel {
        /// What in its header.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// A segment lies outside the file or outside itself.
    #[error(
        "the kernel's segment {index} has {file_bytes} bytes at {offset}, which its file does not"
    )]
    Outside {
        /// Which.
        index: u16,
        /// Where in the file it says it is.
        offset: u64,
        /// How long it says it is.
        file_bytes: u64,
    },
    /// A segment is to be where there is no memory for it.
    #[error(
        "the kernel's segment {index} of {bytes} bytes does not fit guest memory at {address:#x}"
    )]
    Misplaced {
        /// Which.
        index: u16,
        /// Guest address.
        address: u64,
        /// How much memory it wants.
        bytes: u64,
    },
    /// Its entry is in none of its segments.
    #[error("the kernel's entry {entry:#x} is in none of its segments")]
    Entry {
        /// Guest address.
        entry: u64,
    },
    /// The initramfs and the kernel do not fit guest memory together.
    #[error("an initramfs of {bytes} bytes does not fit between the kernel and {end:#x}")]
    NoRoom {
        /// How long it is.
        bytes: u64,
        /// Where guest memory for it ends.
        end: u64,
    },
    /// Guest memory was not where it should be.
    #[error("cannot reach guest memory")]
    Memory(#[from] GuestMemoryError),
}

/// A file stretch that can be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The file.
    pub file: BorrowedFd<'a>,
    /// Where in it.
    pub extent: FileExtent,
}

/// A kernel in guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadedKernel {
    /// Guest address of its first instruction.
    pub entry: u64,
    /// Guest address behind its last byte.
    pub end: u64,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

impl Source<'_> {
    /// Whether the stretch holds these bytes.
    fn holds(&self, offset: u64, bytes: u64) -> bool {
        offset.checked_add(bytes).is_some_and(|end| end <= self.extent.length)
    }

    fn read(&self, what: &'static str, offset: u64, target: &mut [u8]) -> Result<(), KernelError> {
        let slice = vm_memory::VolatileSlice::from(&mut *target);
        let bytes = slice.len() as u64;
        let result = if self.holds(offset, bytes) {
            sys::read_exact_at(self.file, &slice, self.extent.offset.saturating_add(offset))
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        };
        result.map_err(|source| KernelError::Read { what, offset, bytes, source })
    }

    /// Reads into guest memory, which the caller has found to be there and below the hole.
    fn load(
        &self,
        what: &'static str,
        memory: &Memory,
        (offset, bytes): (u64, u64),
        address: u64,
    ) -> Result<(), KernelError> {
        let failed = |source| KernelError::Read { what, offset, bytes, source };
        let count =
            usize::try_from(bytes).map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
        let slice = memory.get_slice(GuestAddress(address), count)?;
        let position = self.extent.offset.saturating_add(offset);
        sys::read_exact_at(self.file, &slice, position).map_err(failed)
    }
}

/// Loads the kernel where its segments say.
pub(crate) fn load_kernel(
    memory: &Memory,
    kernel: Source<'_>,
    low_memory_end: u64,
) -> Result<LoadedKernel, KernelError> {
    let mut header = [0; ELF_HEADER_BYTES];
    kernel.read("kernel", 0, &mut header)?;
    let (entry, table, count) = check_header(&header)?;
    let mut end = 0;
    let mut entered = false;
    for index in 0..count {
        let at = table.saturating_add(u64::from(index) * SEGMENT_HEADER_BYTES as u64);
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        kernel.read("kernel", at, &mut bytes)?;
        let Some(segment) = parse_segment(&bytes) else { continue };
        let segment_end = check_segment(index, segment, kernel, low_memory_end)?;
        kernel.load("kernel", memory, (segment.offset, segment.file_bytes), segment.address)?;
        entered |= (segment.address..segment_end).contains(&entry);
        end = end.max(segment_end);
    }
    if !entered || entry >= layout::BOOT_MAPPED_BYTES {
        return Err(KernelError::Entry { entry });
    }
    Ok(LoadedKernel { entry, end })
}

/// Loads the initramfs as high below the hole as it goes. Gives its guest address.
pub(crate) fn load_initramfs(
    memory: &Memory,
    initramfs: Source<'_>,
    kernel_end: u64,
    low_memory_end: u64,
) -> Result<u64, KernelError> {
    let bytes = initramfs.extent.length;
    let address = low_memory_end
        .checked_sub(bytes)
        .map(|address| address & !(PAGE_BYTES - 1))
        .filter(|address| *address >= kernel_end)
        .ok_or(KernelError::NoRoom { bytes, end: low_memory_end })?;
    initramfs.load("initramfs", memory, (0, bytes), address)?;
    Ok(address)
}

/// Checks the ELF header; gives the entry, and where the segments' table is and how long.
fn check_header(header: &[u8; ELF_HEADER_BYTES]) -> Result<(u64, u64, u16), KernelError> {
    let refuse = |field, value| Err(KernelError::NotAKernel { field, value });
    let magic: [u8; 4] = field(header, 0);
    if magic != ELF_MAGIC {
        return refuse("its magic", u64::from(u32::from_be_bytes(magic)));
    }
    let [class, order]: [u8; 2] = field(header, 4);
    if class != CLASS_64 {
        return refuse("its class", u64::from(class));
    }
    if order != LITTLE_ENDIAN {
        return refuse("its byte order", u64::from(order));
    }
    let machine = u16::from_le_bytes(field(header, 18));
    if machine != crate::arch::ELF_MACHINE {
        return refuse("its machine", u64::from(machine));
    }
    let size = u16::from_le_bytes(field(header, 54));
    if usize::from(size) != SEGMENT_HEADER_BYTES {
        return refuse("the size of its segment headers", u64::from(size));
    }
    let count = u16::from_le_bytes(field(header, 56));
    if count == 0 || count > SEGMENTS_MAX {
        return refuse("its number of segments", u64::from(count));
    }
    let entry = u64::from_le_bytes(field(header, 24));
    let table = u64::from_le_bytes(field(header, 32));
    Ok((entry, table, count))
}

fn parse_segment(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<Segment> {
    (u32::from_le_bytes(field(bytes, 0)) == LOADABLE).then(|| Segment {
        offset: u64::from_le_bytes(field(bytes, 8)),
        address: u64::from_le_bytes(field(bytes, 24)),
        file_bytes: u64::from_le_bytes(field(bytes, 32)),
        memory_bytes: u64::from_le_bytes(field(bytes, 40)),
    })
}

/// Checks a segment against the file and guest memory; gives the guest address behind it.
fn check_segment(
    index: u16,
    segment: Segment,
    kernel: Source<'_>,
    low_memory_end: u64,
) -> Result<u64, KernelError> {
    let Segment { offset, address, file_bytes, memory_bytes } = segment;
    if file_bytes > memory_bytes || !kernel.holds(offset, file_bytes) {
        return Err(KernelError::Outside { index, offset, file_bytes });
    }
    address
        .checked_add(memory_bytes)
        .filter(|end| address >= layout::HIGH_MEMORY && *end <= low_memory_end)
        .ok_or(KernelError::Misplaced { index, address, bytes: memory_bytes })
}

/// N bytes of a header at a place the caller knows to be in it; zeroes where it is not.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests;
