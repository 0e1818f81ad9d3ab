//! System calls that rustix has no safe face for.

#![allow(
    clippy::cast_possible_truncation,
    reason = "sizes of small structures, and C's own constants"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A process that is held as a debugger holds one, and let go when this is dropped.
#[derive(Debug)]
pub struct Traced(libc::pid_t);

impl Traced {
    /// Takes hold of it, and waits until it stands still.
    pub fn attach(pid: libc::pid_t) -> io::Result<Self> {
        // SAFETY: attaching takes no address.
        check(unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, 0, 0) })?;
        let traced = Self(pid);
        let mut status = 0;
        // SAFETY: the status lives across the call.
        check(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }.into())?;
        Ok(traced)
    }

    /// Reads its registers and writes them again: whoever may do that has it do what he likes.
    pub fn take_over(&self) -> io::Result<()> {
        // SAFETY: all zeroes are registers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        let into = &raw mut registers;
        // SAFETY: the registers live across the call.
        check(unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.0, 0, into) })?;
        // SAFETY: the same, and they are what the process itself had in them.
        check(unsafe { libc::ptrace(libc::PTRACE_SETREGS, self.0, 0, into) }).map(drop)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // SAFETY: letting go takes no address.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) };
    }
}

/// Forks: true in the child.
pub fn fork() -> io::Result<bool> {
    // SAFETY: this program has one thread, so a child may do what the parent may.
    check(unsafe { libc::fork() }.into()).map(|pid| pid == 0)
}

/// Detaches every program that says which devices a cgroup may open: how many.
///
/// linux/bpf.h: union bpf_attr, for BPF_PROG_QUERY, BPF_PROG_GET_FD_BY_ID and BPF_PROG_DETACH, as far as it
/// is used.
pub fn detach_device_programs(cgroup: BorrowedFd<'_>) -> io::Result<usize> {
    const DETACH: libc::c_long = 9;
    const GET_FD_BY_ID: libc::c_long = 13;
    const QUERY: libc::c_long = 16;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    let mut ids = [0u32; 16];
    let target = cgroup.as_raw_fd().unsigned_abs();
    let address = ids.as_mut_ptr() as u64;
    // Target, kind, flags, flags of the answer; the list's address in two halves; its length.
    let halves = [(address & 0xffff_ffff) as u32, (address >> 32) as u32];
    let count = ids.len() as u32;
    let mut query = [target, ATTACH_CGROUP_DEVICE, 0, 0, halves[0], halves[1], count, 0];
    bpf(QUERY, &mut query)?;
    let found = (query[6] as usize).min(ids.len());
    for id in &ids[..found] {
        let fd = bpf(GET_FD_BY_ID, &mut [*id, 0, 0, 0])?;
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the descriptor was just made and nobody else has it.
        let program = unsafe { OwnedFd::from_raw_fd(fd) };
        let program = program.as_raw_fd().unsigned_abs();
        bpf(DETACH, &mut [target, program, ATTACH_CGROUP_DEVICE, 0])?;
    }
    Ok(found)
}

fn bpf(command: libc::c_long, attributes: &mut [u32]) -> io::Result<libc::c_long> {
    let size = size_of_val(attributes);
    let attributes = attributes.as_mut_ptr();
    // SAFETY: the attributes live across the call, and what they point at does.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size) })
}

/// Opens inode 2, generation 0, of the file system that a file is on.
pub fn open_ext4_root(mount: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    /// struct file_handle, with FILEID_INO32_GEN's two numbers.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        inode: u32,
        generation: u32,
    }
    let mut handle = Handle { bytes: 8, kind: 1, inode: 2, generation: 0 };
    let (mount, handle) = (mount.as_raw_fd(), &raw mut handle);
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    // SAFETY: the handle lives across the call and says how long it is.
    let fd = check(unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount, handle, flags) })?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn vsock_address(cid: u32, port: u32) -> libc::sockaddr_vm {
    // SAFETY: all zeroes are an address.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    (address.svm_cid, address.svm_port) = (cid, port);
    address
}

/// Connects to a vsock port, and hangs up.
pub fn vsock_connect(cid: u32, port: u32) -> io::Result<()> {
    // SAFETY: a new socket takes no address.
    let fd = check(unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0) }.into())?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the descriptor was just made and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = vsock_address(cid, port);
    let length = size_of_val(&address) as libc::socklen_t;
    let address = (&raw const address).cast();
    // SAFETY: the address lives across the call and is as long as it is said to be.
    check(unsafe { libc::connect(socket.as_raw_fd(), address, length) }.into()).map(drop)
}

/// The port at the other end of a vsock connection.
pub fn vsock_peer_port(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut address = vsock_address(0, 0);
    let mut length = size_of_val(&address) as libc::socklen_t;
    let (into, length) = ((&raw mut address).cast(), &raw mut length);
    // SAFETY: the address lives across the call and is as long as it is said to be.
    check(unsafe { libc::getpeername(socket.as_raw_fd(), into, length) }.into())?;
    Ok(address.svm_port)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A part of a file in memory, shared with it, unmapped when dropped.
#[derive(Debug)]
pub struct SharedMap {
    start: *mut u8,
    length: usize,
}

impl SharedMap {
    /// Maps the first bytes of a file.
    pub fn of(file: &std::fs::File, length: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let fd = file.as_raw_fd();
        // SAFETY: the kernel chooses a place that nothing else has.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), length })
    }

    /// Writes a byte of it.
    pub fn write(&mut self, at: usize, byte: u8) {
        assert!(at < self.length);
        // SAFETY: it lies within the map.
        let place = unsafe { self.start.add(at) };
        // SAFETY: the map lives as long as this.
        unsafe { place.write_volatile(byte) };
    }

    /// Reads a byte of it.
    pub fn read(&self, at: usize) -> u8 {
        assert!(at < self.length);
        // SAFETY: it lies within the map.
        let place = unsafe { self.start.add(at) };
        // SAFETY: the map lives as long as this.
        unsafe { place.read_volatile() }
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: nobody has an address within it any more.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// Writes a page from memory that begins where a page does, as writing past the cache wants it.
pub fn write_page(file: &std::fs::File) -> io::Result<()> {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    std::os::unix::fs::FileExt::write_all_at(file, &Page([7; 4096]).0, 0)
}
