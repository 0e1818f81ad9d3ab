//! Guest memory: made, and told to KVM.

use crate::arch::layout;
use crate::sys;
use crate::virtio::Memory;
use kvm_ioctls::VmFd;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use std::fs::File;
use std::sync::Arc;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionCollectionError, GuestRegionMmap,
    MmapRegion,
};

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
    /// The host made no file for it.
    #[error("cannot make a file of {bytes} bytes of guest memory")]
    File {
        /// How much.
        bytes: u64,
        /// Why not.
        #[source]
        source: Errno,
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
    map(bytes, None)
}

/// The same as a file, which another process can map too.
pub(crate) fn create_shared(bytes: u64) -> Result<Memory, MemoryError> {
    map(bytes, Some(file_of(bytes)?))
}

fn map(bytes: u64, file: Option<Arc<File>>) -> Result<Memory, MemoryError> {
    let mut regions = Vec::new();
    let mut offset = 0;
    for (start, length) in layout::memory_ranges(bytes) {
        let size = usize::try_from(length).map_err(|_| MemoryError::TooLarge { bytes })?;
        let mapping = match &file {
            None => sys::map_memory(size),
            Some(file) => {
                let file = FileOffset::from_arc(Arc::clone(file), offset);
                MmapRegion::from_file(file, size)
            }
        };
        let mapping = mapping.map_err(|source| MemoryError::Map { bytes: length, source })?;
        offset += length;
        let region = GuestRegionMmap::new(mapping, GuestAddress(start))
            .ok_or(MemoryError::TooLarge { bytes })?;
        regions.push(region);
    }
    let memory = GuestMemoryMmap::from_regions(regions).map_err(MemoryError::Regions)?;
    let memory = Arc::new(memory);
    sys::advise_huge_pages(&memory);
    Ok(memory)
}

/// A file in memory that nobody can make shorter, so that no access to what is mapped of it ever fails.
fn file_of(bytes: u64) -> Result<Arc<File>, MemoryError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let make = || {
        let file = memfd_create("cofferdam-memory", flags)?;
        ftruncate(&file, bytes)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(file)
    };
    let file = make().map_err(|source: Errno| MemoryError::File { bytes, source })?;
    Ok(Arc::new(File::from(file)))
}

/// Tells KVM where guest memory is.
pub(crate) fn register(vm: &VmFd, memory: &Memory) -> Result<(), MemoryError> {
    sys::register_memory(vm, memory).map_err(MemoryError::Register)
}
