//! The machine's unsafe code: KVM's raw edges, guest memory's host side, the vCPU kick. The devices
//! have theirs in `virtio/sys.rs`, and there is no other.

use crate::virtio::Memory;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use vm_memory::mmap::MmapRegionError;
use vm_memory::{GuestMemory, GuestMemoryRegion, MmapRegion, VolatileSlice};

/// Takes an open `/dev/kvm`.
pub(crate) fn kvm_from(kvm: OwnedFd) -> Kvm {
    // SAFETY: the descriptor is owned and given up here; that it is KVM is checked by its API version.
    unsafe { Kvm::from_raw_fd(kvm.into_raw_fd()) }
}

/// Tells KVM where each region of guest memory is. The caller keeps `memory` as long as `vm`.
pub(crate) fn register_memory(vm: &VmFd, memory: &Memory) -> Result<(), kvm_ioctls::Error> {
    for (slot, region) in (0u32..).zip(memory.iter()) {
        let description = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the region is mapped as described, overlaps no other, and outlives the VM.
        unsafe { vm.set_user_memory_region(description) }?;
    }
    Ok(())
}

/// `_IO(KVMIO, 0xce)`, which kvm-ioctls does not have.
const KVM_GET_STATS_FD: libc::c_ulong = 0xaece;

/// A file of what KVM counts of a vCPU, to be read only (Linux 5.14).
pub(crate) fn counts_of(vcpu: &VcpuFd) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no argument and touches no memory.
    let file = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_GET_STATS_FD) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for the caller alone.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// What guest memory's host addresses are multiples of, so that KVM can map huge pages whole.
const HUGE_PAGE_BYTES: usize = 2 << 20;
const PROTECTION: i32 = libc::PROT_READ | libc::PROT_WRITE;
const FLAGS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// Maps anonymous memory where huge pages fit. The address range is this process's from then on: a
/// process runs one machine and ends with it; [`discard`] gives the memory itself back before.
pub(crate) fn map_memory(bytes: usize) -> Result<MmapRegion<()>, MmapRegionError> {
    let overflow = || MmapRegionError::Mmap(io::ErrorKind::InvalidInput.into());
    let reserved = bytes.checked_add(HUGE_PAGE_BYTES).ok_or_else(overflow)?;
    // SAFETY: a fresh anonymous mapping, wherever the kernel likes, touches no memory in use.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), reserved, PROTECTION, FLAGS, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(MmapRegionError::Mmap(io::Error::last_os_error()));
    }
    let start: *mut u8 = start.cast();
    let aligned = start.wrapping_add(start.align_offset(HUGE_PAGE_BYTES));
    // SAFETY: `bytes` from `aligned` are within the mapping just made, because it is longer by all
    // that aligning can skip, and nobody unmaps it.
    unsafe { MmapRegion::build_raw(aligned, bytes, PROTECTION, FLAGS) }
}

/// Gives the memory behind guest memory back to the host: it reads as zeroes then.
pub(crate) fn discard(memory: &Memory) {
    for region in memory.iter() {
        let Ok(length) = usize::try_from(region.len()) else { continue };
        // SAFETY: the range is exactly one live mapping, which stays; only its content goes.
        let _ = unsafe { libc::madvise(region.as_ptr().cast(), length, libc::MADV_DONTNEED) };
    }
}

/// Asks for huge pages behind guest memory. Advice only: a host without them loses speed, nothing else.
pub(crate) fn advise_huge_pages(memory: &Memory) {
    for region in memory.iter() {
        let Ok(length) = usize::try_from(region.len()) else { continue };
        // SAFETY: the range is exactly one live mapping, and this advice leaves its content alone.
        let _ = unsafe { libc::madvise(region.as_ptr().cast(), length, libc::MADV_HUGEPAGE) };
    }
}

/// Reads a file at `offset` straight into guest memory until `target` is full.
pub(crate) fn read_exact_at(
    file: BorrowedFd<'_>,
    target: &VolatileSlice<'_>,
    offset: u64,
) -> io::Result<()> {
    let mut done = 0;
    while done < target.len() {
        let rest = target.offset(done).map_err(io::Error::other)?;
        let guard = rest.ptr_guard_mut();
        let position = offset
            .checked_add(done as u64)
            .and_then(|position| i64::try_from(position).ok())
            .ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: the kernel writes at most `len` bytes behind a pointer valid for that many; guest
        // memory is only ever reached through raw pointers, so no reference sees it change.
        let count = unsafe {
            libc::pread64(file.as_raw_fd(), guard.as_ptr().cast(), guard.len(), position)
        };
        match usize::try_from(count) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// The byte by which another thread makes a vCPU's next KVM_RUN return at once.
///
/// Whoever holds one stops using it before the vCPU is dropped. `RunningVcpu` sees to it: its
/// thread gives the vCPU back however it ends, a panic included, and joining uses the `RunningVcpu` up.
#[derive(Debug)]
pub(crate) struct ImmediateExit(NonNull<AtomicU8>);

// SAFETY: the byte is shared memory of the kernel and the threads, and only reached atomically.
unsafe impl Send for ImmediateExit {}

impl ImmediateExit {
    /// The byte of this vCPU.
    pub(crate) fn of(vcpu: &mut VcpuFd) -> Self {
        Self(NonNull::from(&mut vcpu.get_kvm_run().immediate_exit).cast())
    }

    /// Makes the vCPU's next KVM_RUN return at once.
    pub(crate) fn set(&self) {
        // SAFETY: the vCPU, and its mapping with it, is alive (see the type); AtomicU8 is laid out as u8.
        unsafe { self.0.as_ref() }.store(1, Ordering::SeqCst);
    }
}

/// A thread of this process, to be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadId {
    process: Pid,
    thread: Pid,
}

impl ThreadId {
    /// The calling thread.
    pub(crate) fn of_caller() -> Self {
        // Not libc's gettid: linked statically and whole, the standard library's weak name for it wins.
        Self { process: rustix::process::getpid(), thread: rustix::thread::gettid() }
    }

    /// Sends it a signal: in one system call, where pthread_kill takes four.
    pub(crate) fn signal(self, signal: libc::c_int) {
        let [process, thread] = [self.process, self.thread].map(|id| id.as_raw_nonzero().get());
        // SAFETY: touches no memory. Where the thread is gone it fails, and nothing is left to be told.
        unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
    }
}
