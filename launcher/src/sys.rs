//! The launcher's only unsafe code: calls that no safe wrapper of our libraries offers.

use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// Lets every signal through to this thread, whatever it has inherited.
pub fn unblock_signals() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `none` is valid for writing.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: `none` is initialised and outlives the call, which fails only for another `how`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// Whether this process ignores a signal.
pub fn ignores(signal: libc::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set; `action` is valid for writing.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: a sigaction of zeroes is one, and the kernel has filled it in.
    let action = unsafe { action.assume_init() };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Lets ended children wait to be asked how they ended, whatever the parent of this process left behind.
pub fn keep_ended_children() {
    // SAFETY: the default action runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// A child that has ended and not been reaped.
pub fn ended_child() -> Option<Pid> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is valid for writing.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) };
    // SAFETY: a siginfo_t of zeroes is one, and where a child has ended the kernel has filled it in.
    let info = unsafe { info.assume_init() };
    // SAFETY: of a child's end, or of zeroes, the process id is what stands there.
    let pid = unsafe { info.si_pid() };
    if result == 0 { Pid::from_raw(pid) } else { None }
}

/// Whether the kernel, and the filters on this process, let descriptors be closed by the range.
///
/// # Errors
/// The kernel's.
pub fn try_close_range() -> Result<(), Errno> {
    // There is no descriptor of that number: nothing is closed.
    close_from(u32::MAX)
}

/// Whether the kernel has filters of system calls that end a process, and nobody forbids them.
pub fn has_filters() -> bool {
    let action = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the kernel reads four bytes behind the pointer, and changes nothing.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
    };
    answer == 0
}

/// The process that listened where this socket has connected to, by its number; `None` where this process does not see it,
/// as in another PID namespace.
pub fn peer_of(socket: BorrowedFd<'_>) -> Option<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    let descriptor = socket.as_raw_fd();
    // SAFETY: the kernel writes no more than `length` bytes, which is what `peer` has; any numbers are one.
    let answer = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    u32::try_from(peer.pid).ok().filter(|&pid| answer == 0 && pid != 0)
}

/// Ends this process at once: nothing is taken apart, and no thread has to end first.
pub fn exit_now(code: libc::c_int) -> ! {
    // SAFETY: the kernel takes everything back; nothing of ours is still to be written.
    unsafe { libc::_exit(code) }
}

/// Sends a signal to a thread, whoever's it is.
#[cfg(test)]
pub fn signal_thread(process: libc::pid_t, thread: libc::pid_t, signal: libc::c_int) {
    // SAFETY: touches no memory.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
}

/// What becomes of a heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heap {
    /// It grows and shrinks.
    Free,
    /// It grows, and shrinks only by more than so many bytes: giving some back for each message costs more than it is worth.
    Slack(libc::c_int),
    /// It takes so many bytes of address space at once, and never gives any back: as long as they do, the process asks the
    /// kernel for no memory, and need not be allowed to.
    Reserved(libc::c_int),
}

/// Keeps this process's heap in one piece, no arena for each thread, no mapping for a large piece; and of this kind.
pub fn keep_heap_simple(heap: Heap) {
    let of_kind: &[_] = match heap {
        Heap::Free => &[],
        Heap::Slack(bytes) => &[(libc::M_TRIM_THRESHOLD, bytes)],
        Heap::Reserved(bytes) => &[(libc::M_TOP_PAD, bytes), (libc::M_TRIM_THRESHOLD, -1)],
    };
    for (what, value) in [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_MAX, 0)].iter().chain(of_kind) {
        // SAFETY: sets a number of the allocator's; where it refuses, the heap is as it was.
        unsafe { libc::mallopt(*what, *value) };
    }
    if matches!(heap, Heap::Reserved(_)) {
        // More than what is left of the first heap: it grows now, by the reserve.
        drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20)));
    }
}

/// Puts the calling thread, and those it starts from now on, behind a filter of system calls; with `all`, all
/// threads of the process.
///
/// # Errors
/// Where the kernel, or a filter this thread is behind already, refuses.
pub fn load_filter(program: &[libc::sock_filter], all: bool) -> Result<(), Errno> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    let flags = if all { libc::SECCOMP_FILTER_FLAG_TSYNC } else { 0 };
    // SAFETY: the kernel copies `len` instructions from `filter`, which it only reads.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    match result {
        0 => Ok(()),
        // A thread that is behind filters which this one is not behind.
        1.. => Err(Errno::BUSY),
        _ => Err(last_errno()),
    }
}

fn last_errno() -> Errno {
    let raw = std::io::Error::last_os_error().raw_os_error();
    raw.map_or(Errno::IO, Errno::from_raw_os_error)
}
