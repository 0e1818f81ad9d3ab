//! The crate's only unsafe code: system calls that the libraries do not offer safely.
//!
//! Never decides anything: each function is one system call, or one idiom of a few.

#![allow(
    clippy::cast_possible_truncation,
    reason = "constants, sizes and halves that fit C's types"
)]

use crate::cgroup::devices::Instruction;
use protocol::ExitStatus;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;

/// -1 as the error it stands for.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Connects a stream to a vsock port.
pub fn connect_vsock(cid: u32, port: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd =
        check(unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = libc::sockaddr_vm {
        svm_family: libc::AF_VSOCK as libc::sa_family_t,
        svm_reserved1: 0,
        svm_port: port,
        svm_cid: cid,
        svm_zero: [0; 4],
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address lives across the call and its length is its own.
    check(unsafe { libc::connect(fd, ptr::from_ref(&address).cast(), length) })?;
    Ok(socket)
}

/// Takes a descriptor that was inherited under a known number.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads no memory; it fails where there is no such descriptor.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: it is open, and the caller names a number that was inherited for it alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Tells the kernel that a stretch of a block device is partition `number`.
pub fn add_partition(disk: &File, number: i32, start: i64, length: i64) -> io::Result<()> {
    const BLKPG: libc::Ioctl = 0x1269;
    const BLKPG_ADD_PARTITION: libc::c_int = 1;
    /// linux/blkpg.h: struct blkpg_partition.
    #[repr(C)]
    struct Partition {
        start: i64,
        length: i64,
        number: libc::c_int,
        names: [u8; 128],
    }
    /// linux/blkpg.h: struct blkpg_ioctl_arg.
    #[repr(C)]
    struct Argument {
        operation: libc::c_int,
        flags: libc::c_int,
        length: libc::c_int,
        data: *mut Partition,
    }
    let mut partition = Partition { start, length, number, names: [0; 128] };
    let mut argument = Argument {
        operation: BLKPG_ADD_PARTITION,
        flags: 0,
        length: size_of::<Partition>() as libc::c_int,
        data: &raw mut partition,
    };
    // SAFETY: the argument and what it points to live across the call and have the kernel's layout.
    check(unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw mut argument) })?;
    Ok(())
}

/// Stops all writing to a file system, and leaves it on its disk as an unmount would.
pub fn freeze(directory: &File) -> io::Result<()> {
    const FIFREEZE: libc::Ioctl = 0xc004_5877_u32 as libc::Ioctl;
    // SAFETY: the kernel takes no argument of it and writes nothing.
    check(unsafe { libc::ioctl(directory.as_raw_fd(), FIFREEZE, 0) })?;
    Ok(())
}

/// Adds loop device `number`; the kernel makes its file in every devtmpfs.
pub fn add_loop_device(control: &File, number: u32) -> io::Result<()> {
    const LOOP_CTL_ADD: libc::Ioctl = 0x4c80;
    // SAFETY: the argument is a number, and the kernel writes nothing.
    check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_ADD, libc::c_ulong::from(number)) })?;
    Ok(())
}

/// Brings the loopback interface of this network namespace up.
pub fn bring_loopback_up() -> io::Result<()> {
    // SAFETY: no pointers are passed.
    let fd =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives across the call and its name ends in a zero.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })?;
    Ok(())
}

/// The three capability sets of this thread, as bit sets.
#[derive(Debug, Clone, Copy)]
pub struct CapabilityState {
    /// What it uses.
    pub effective: u64,
    /// What it may use.
    pub permitted: u64,
    /// What it hands on to programs with inheritable file capabilities.
    pub inheritable: u64,
}

/// Sets the three capability sets of this thread.
pub fn set_capabilities(state: CapabilityState) -> io::Result<()> {
    /// linux/capability.h: version 3, two words of 32 bits each.
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header { version: VERSION_3, pid: 0 };
    let word = |shift: u32| Data {
        effective: (state.effective >> shift) as u32,
        permitted: (state.permitted >> shift) as u32,
        inheritable: (state.inheritable >> shift) as u32,
    };
    let data = [word(0), word(32)];
    // SAFETY: header and data live across the call and have the layout that version 3 names.
    check_long(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
    Ok(())
}

/// prctl(2) with numbers only.
pub fn prctl(option: libc::c_int, second: u64, third: u64) -> io::Result<libc::c_int> {
    // SAFETY: the options used by this crate take numbers and no pointers.
    check(unsafe { libc::prctl(option, second, third, 0, 0) })
}

/// Sets the supplementary groups of this thread.
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the slice's pointer and length belong together.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    Ok(())
}

/// Sets the real, effective and saved group and user of this process, which has one thread.
pub fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no pointers are passed.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: no pointers are passed.
    check(unsafe { libc::setresuid(uid, uid, uid) })?;
    Ok(())
}

/// Sets a resource limit of this process.
pub fn set_resource_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the limit lives across the call.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })?;
    Ok(())
}

/// Puts every signal back to its default and unblocks all: what a new program expects.
///
/// By the system call itself: glibc's own wrappers leave out the signals that it uses, and its
/// posix_spawn has children ignore those.
pub fn reset_signals() {
    const SIGNALS: libc::c_long = 64;
    const SET_BYTES: libc::c_long = 8;
    // struct kernel_sigaction, all zeroes: SIG_DFL, no flags, no restorer, an empty mask.
    let default = [0u64; 4];
    for signal in 1..=SIGNALS {
        let nowhere = ptr::null_mut::<u8>();
        // SAFETY: the action lives across the call; signals that cannot be set are refused harmlessly.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nowhere, SET_BYTES)
        };
    }
    let _ = set_signal_mask(false);
}

/// Blocks all signals, or unblocks all, in this thread.
pub fn set_signal_mask(block: bool) -> io::Result<()> {
    // SAFETY: all zeroes is a valid, empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    if block {
        // SAFETY: the set lives across the call.
        unsafe { libc::sigfillset(&raw mut set) };
    }
    // SAFETY: the set lives across the call; no old set is asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) })?;
    Ok(())
}

/// Waits for any signal, all being blocked.
pub fn wait_for_signal() -> libc::c_int {
    // SAFETY: all zeroes is a valid, empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set lives across the call.
    unsafe { libc::sigfillset(&raw mut set) };
    let mut signal = 0;
    // SAFETY: set and signal live across the call.
    unsafe { libc::sigwait(&raw const set, &raw mut signal) };
    signal
}

/// Loads a seccomp filter into this process, which has one thread.
pub fn load_seccomp(filter: &[libc::sock_filter]) -> io::Result<()> {
    let length =
        u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    // The kernel does not write to the filter; the type merely is not const.
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    let operation = libc::c_long::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the program and the instructions it points to live across the call.
    check_long(unsafe { libc::syscall(libc::SYS_seccomp, operation, 0, &raw const program) })?;
    Ok(())
}

/// Replaces this process by a program; returns only the error.
pub fn execute(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    // SAFETY: the strings and both null-terminated arrays live across the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces this process by the program in an open file; returns only the error.
pub fn execute_file(
    program: BorrowedFd<'_>,
    arguments: &[CString],
    environment: &[CString],
) -> io::Error {
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    // SAFETY: the strings and both null-terminated arrays live across the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// Forks this process, which has one thread. `None` in the child.
pub fn fork() -> io::Result<Option<libc::pid_t>> {
    // SAFETY: the process has one thread, so the child may use everything.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// Ends this process at once, with no destructors.
pub fn exit_now(code: libc::c_int) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Sends bytes with one open file.
pub fn send_with_file(socket: &UnixStream, bytes: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let files = [file];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    let sent = sendmsg(socket, &[io::IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives bytes, and one open file where one comes with them.
pub fn receive_with_file(
    socket: &UnixStream,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let received = loop {
        match recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut file = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last();
        }
    }
    Ok((received.bytes, file))
}

/// Writes one byte to an I/O port.
pub fn write_port(port: u16, value: u8) -> io::Result<()> {
    // SAFETY: no pointers are passed.
    check(unsafe { libc::ioperm(libc::c_ulong::from(port), 1, 1) })?;
    // SAFETY: permission for the port was just granted; the instruction touches no memory.
    unsafe {
        std::arch::asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags));
    }
    Ok(())
}

/// Gives this process, which has one thread, namespaces of its own: one of each of these kinds (`CLONE_NEW…`).
/// In a new one of users it is nobody yet.
pub fn unshare(kinds: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointers are passed, and a new namespace invalidates no open file.
    check(unsafe { libc::unshare(kinds) })?;
    Ok(())
}

/// Shows the owners on a mount that nobody has seen yet as those that this user namespace maps them to.
pub fn map_ids(mount: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(users.as_raw_fd().unsigned_abs()),
    };
    // SAFETY: the attributes live across the call, and their size is their own.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of_val(&attributes),
        )
    })?;
    Ok(())
}

/// Sets the user and group whose files this thread makes.
pub fn set_file_ids(uid: u32, gid: u32) -> io::Result<()> {
    const ASK: u32 = u32::MAX;
    // Each call says only what was set before: the second of each pair asks whether the first did it.
    for (call, id) in [(libc::SYS_setfsgid, gid), (libc::SYS_setfsuid, uid)] {
        // SAFETY: no pointers are passed.
        unsafe { libc::syscall(call, id) };
        // SAFETY: no pointers are passed.
        let now = unsafe { libc::syscall(call, ASK) };
        if now != libc::c_long::from(id) {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
    }
    Ok(())
}

/// Raises a hard limit of this process, if it is lower, and leaves the soft one.
pub fn raise_hard_limit(resource: u32, hard: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit lives across the call.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    if limit.rlim_max >= hard { Ok(()) } else { set_resource_limit(resource, limit.rlim_cur, hard) }
}

/// Waits for the end of a child that nobody else waits for.
pub fn wait_for(pid: ChildPid) {
    // SAFETY: no status is asked for, and a child that is none is refused.
    unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
}

/// Has every open file from this number on close when a program is executed.
pub fn close_on_exec_from(first: libc::c_uint) -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
    // SAFETY: no pointers are passed, and nothing is closed before exec.
    check(unsafe { libc::close_range(first, libc::c_uint::MAX, flags) })?;
    Ok(())
}

/// The process id of a child.
pub type ChildPid = libc::pid_t;

/// Waits until any child has ended, and leaves it to be reaped.
pub fn wait_for_child() -> io::Result<(ChildPid, ExitStatus)> {
    // SAFETY: all zeroes is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: the info lives across the call.
    check(unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) })?;
    // SAFETY: waitid succeeded, so the info is that of an ended child.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let number = u8::try_from(status & 0xff).unwrap_or(u8::MAX);
    let ended = match info.si_code {
        libc::CLD_EXITED => ExitStatus::Code(number),
        _ => ExitStatus::Signal(number),
    };
    Ok((pid, ended))
}

/// Reaps a child that has ended.
pub fn reap(pid: ChildPid) {
    // SAFETY: no status is asked for, and a child that is none is refused.
    unsafe { libc::waitpid(pid, ptr::null_mut(), libc::WNOHANG) };
}

/// Sends a signal; a process that has ended gets none. -1 is every process but this one.
pub fn kill(pid: ChildPid, signal: libc::c_int) {
    // SAFETY: no pointers are passed.
    unsafe { libc::kill(pid, signal) };
}

/// Puts a program that guards devices on a cgroup.
pub fn guard_devices(cgroup: &File, program: &[Instruction]) -> io::Result<()> {
    const PROG_LOAD: libc::c_long = 5;
    const PROG_ATTACH: libc::c_long = 8;
    const TYPE_CGROUP_DEVICE: u32 = 15;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    /// linux/bpf.h: union bpf_attr, for BPF_PROG_LOAD, as far as it is used.
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log: [u64; 2],
        kernel_version: u32,
        flags: u32,
    }
    /// The same for BPF_PROG_ATTACH.
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let license = c"Apache-2.0";
    let load = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log: [0; 2],
        kernel_version: 0,
        flags: 0,
    };
    let size = size_of::<Load>();
    // SAFETY: attributes, instructions and license live across the call and have the kernel's layout.
    let fd = check_long(unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size) })?;
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the descriptor was just made and nobody else has it.
    let loaded = unsafe { OwnedFd::from_raw_fd(fd) };
    let attach = Attach {
        target: cgroup.as_raw_fd().unsigned_abs(),
        program: loaded.as_raw_fd().unsigned_abs(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    let size = size_of::<Attach>();
    // SAFETY: the attributes live across the call and have the kernel's layout.
    check_long(unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size) })?;
    Ok(())
}
