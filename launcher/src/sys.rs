//! The launcher's only unsafe code: calls that no safe wrapper of our libraries offers.

use rustix::io::Errno;
use std::os::fd::{FromRawFd, OwnedFd};

/// Closes every descriptor from `first` up. Only for the first moments of a process, when nothing in
/// it owns one.
///
/// # Errors
/// Where the kernel refuses (it has close_range since 5.9).
pub fn close_from(first: u32) -> Result<(), Errno> {
    // SAFETY: nothing in this process owns a descriptor yet; no memory is touched.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0u32) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Lets a descriptor live on across exec.
///
/// # Errors
/// Where the descriptor is not open.
pub fn keep_across_exec(fd: &OwnedFd) -> Result<(), Errno> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())
}

/// Blocks `signals` for this thread and those it starts, and gives a descriptor to read them from.
///
/// # Errors
/// Where the kernel refuses.
pub fn signal_descriptor(signals: &[libc::c_int]) -> Result<OwnedFd, Errno> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is valid for writing.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for &signal in signals {
        // SAFETY: `set` was initialised above; an invalid number is refused, not undefined.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: `set` is initialised and outlives the call.
    let blocked =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
    if blocked != 0 {
        return Err(Errno::from_raw_os_error(blocked));
    }
    // SAFETY: `set` is initialised; the flags are valid.
    let fd = unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn last_errno() -> Errno {
    let raw = std::io::Error::last_os_error().raw_os_error();
    raw.map_or(Errno::IO, Errno::from_raw_os_error)
}
