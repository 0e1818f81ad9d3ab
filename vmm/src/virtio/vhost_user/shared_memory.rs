//! Guest memory as QEMU shares it: regions of memfds, mapped, with the addresses by which it calls them.
//!
//! Maps nothing that could be taken away under a reader: a region's file must be sealed against
//! shrinking and long enough, or the first touch would kill the process.

use crate::virtio::Memory;
use rustix::fs::SealFlags;
use std::fs::File;
use std::io;
use std::sync::Arc;
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionCollectionError, GuestRegionMmap,
    MmapRegion,
};

/// The most regions: what QEMU's own backends allow.
const MAX_REGIONS: usize = 32;
/// The most memory of all regions together.
const MAX_MEMORY_BYTES: u64 = 1 << 40;

/// Why shared memory is refused.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// Too many regions, or not as many files as regions.
    #[error("{regions} memory regions with {files} files")]
    Count {
        /// How many regions.
        regions: usize,
        /// How many files.
        files: usize,
    },
    /// All regions together are too large.
    #[error("the memory regions are larger than {MAX_MEMORY_BYTES} bytes")]
    TooLarge,
    /// A region does not lie within its file.
    #[error("a memory region of {length} bytes at {offset} lies outside its file of {size} bytes")]
    OutsideFile {
        /// Where it begins in the file.
        offset: u64,
        /// How long it is.
        length: u64,
        /// How long the file is.
        size: u64,
    },
    /// A region's file can be made shorter.
    #[error("a memory region's file is not sealed against shrinking")]
    NotSealed,
    /// A region's file could not be looked at.
    #[error("cannot look at a memory region's file")]
    File(#[source] io::Error),
    /// A region could not be mapped.
    #[error("cannot map a memory region")]
    Map(#[source] vm_memory::mmap::MmapRegionError),
    /// Regions overlap, or end beyond the address space.
    #[error("the memory regions do not fit together")]
    Layout(#[source] GuestRegionCollectionError),
}

/// A region by the address QEMU has mapped it at.
#[derive(Debug, Clone, Copy)]
struct UserRange {
    user_address: u64,
    guest_address: u64,
    length: u64,
}

/// Guest memory that QEMU shares.
#[derive(Debug, Clone)]
pub struct SharedMemory {
    memory: Memory,
    ranges: Vec<UserRange>,
}

impl SharedMemory {
    /// Checks and maps the regions.
    ///
    /// # Errors
    /// Any [`ShareError`].
    pub fn map(regions: &[VhostUserMemoryRegion], files: Vec<File>) -> Result<Self, ShareError> {
        let count = ShareError::Count { regions: regions.len(), files: files.len() };
        if regions.len() > MAX_REGIONS || regions.len() != files.len() {
            return Err(count);
        }
        let (mut ranges, mut mapped) = (Vec::new(), Vec::new());
        let mut total = 0u64;
        for (region, file) in regions.iter().zip(files) {
            let (length, offset) = (region.memory_size, region.mmap_offset);
            total = total.checked_add(length).ok_or(ShareError::TooLarge)?;
            if total > MAX_MEMORY_BYTES {
                return Err(ShareError::TooLarge);
            }
            check_file(&file, offset, length)?;
            let bytes = usize::try_from(length).map_err(|_| ShareError::TooLarge)?;
            let mapping = MmapRegion::from_file(FileOffset::new(file, offset), bytes);
            let guest_address = region.guest_phys_addr;
            let layout = ShareError::Layout(GuestRegionCollectionError::NoMemoryRegion);
            let region_at = mapping
                .map(|mapping| GuestRegionMmap::new(mapping, GuestAddress(guest_address)))
                .map_err(ShareError::Map)?
                .ok_or(layout)?;
            ranges.push(UserRange { user_address: region.user_addr, guest_address, length });
            mapped.push((guest_address, region_at));
        }
        mapped.sort_by_key(|(guest_address, _)| *guest_address);
        let mapped = mapped.into_iter().map(|(_, region)| region).collect();
        let memory = GuestMemoryMmap::from_regions(mapped).map_err(ShareError::Layout)?;
        Ok(Self { memory: Arc::new(memory), ranges })
    }

    /// The memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The guest address of what QEMU sees at `user_address`.
    pub fn guest_address(&self, user_address: u64) -> Option<GuestAddress> {
        self.ranges.iter().find_map(|range| {
            let offset = user_address.checked_sub(range.user_address)?;
            let inside = offset < range.length;
            range.guest_address.checked_add(offset).filter(|_| inside).map(GuestAddress)
        })
    }
}

fn check_file(file: &File, offset: u64, length: u64) -> Result<(), ShareError> {
    let seals = rustix::fs::fcntl_get_seals(file).unwrap_or(SealFlags::empty());
    if !seals.contains(SealFlags::SHRINK) {
        return Err(ShareError::NotSealed);
    }
    let size = file.metadata().map_err(ShareError::File)?.len();
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(ShareError::OutsideFile { offset, length, size }),
    }
}
