//! Guest memory: made, and told to KVM.

use crate::arch::layout;
use crate::sys;
use crate::virtio::Memory;
use kvm_ioctls::VmFd;
use std::sync::Arc;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionCollectionError, GuestRegionMmap};

/// Why there is no guest memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The host gave no address space for it.
    #[error("cannot map {bytes} bytes of guest memory")]
    Map {
        /// How much.
        bytes: u64,
        /// Why not.
        #[source]
        source: MmapRegionError,
    },
    /// It does not fit this host's address space.
    #[error("{bytes} bytes of guest memory do not fit this host")]
    TooLarge {
        /// How much.
        bytes: u64,
    },
    /// The regions do not make one memory.
    #[error("the regions of guest memory do not fit together")]
    Regions(#[source] GuestRegionCollectionError),
    /// KVM refused it.
    #[error("kvm refused the guest memory")]
    Register(#[source] kvm_ioctls::Error),
}

/// Maps so much guest memory: anonymous, all zeroes, taken from the host as the guest touches it.
pub(crate) fn create(bytes: u64) -> Result<Memory, MemoryError> {
    let mut regions = Vec::new();
    for (start, length) in layout::memory_ranges(bytes) {
        let size = usize::try_from(length).map_err(|_| MemoryError::TooLarge { bytes })?;
        let mapping =
            sys::map_memory(size).map_err(|source| MemoryError::Map { bytes: length, source })?;
        let region = GuestRegionMmap::new(mapping, GuestAddress(start))
            .ok_or(MemoryError::TooLarge { bytes })?;
        regions.push(region);
    }
    let memory = GuestMemoryMmap::from_regions(regions).map_err(MemoryError::Regions)?;
    let memory = Arc::new(memory);
    sys::advise_huge_pages(&memory);
    Ok(memory)
}

/// Tells KVM where guest memory is.
pub(crate) fn register(vm: &VmFd, memory: &Memory) -> Result<(), MemoryError> {
    sys::register_memory(vm, memory).map_err(MemoryError::Register)
}
