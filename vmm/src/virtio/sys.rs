//! The unsafe half of the devices: vectored I/O between an open file and guest memory, with no copy
//! between, and descriptors that arrive as bare numbers.

use super::buffers::Slices;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use vmm_sys_util::eventfd::EventFd;

/// The most stretches of guest memory that one system call takes; the rest waits for the next.
pub const MAX_VECTORS: usize = 128;

struct Vectors {
    entries: [libc::iovec; MAX_VECTORS],
    count: usize,
}

impl Vectors {
    fn of(slices: &Slices<'_>) -> Self {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let mut vectors = Self { entries: [empty; MAX_VECTORS], count: 0 };
        for (entry, slice) in vectors.entries.iter_mut().zip(slices.iter()) {
            entry.iov_base = slice.ptr_guard_mut().as_ptr().cast();
            entry.iov_len = slice.len();
            vectors.count += 1;
        }
        vectors
    }

    fn message(&mut self) -> libc::msghdr {
        libc::msghdr {
            msg_name: std::ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: self.entries.as_mut_ptr(),
            msg_iovlen: self.count as _,
            msg_control: std::ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        }
    }

    fn count(&self) -> libc::c_int {
        libc::c_int::try_from(self.count).unwrap_or(0)
    }
}

fn transferred(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn file_offset(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Reads from `offset` of a file into guest memory; gives how many bytes came, 0 at the file's end.
pub fn read_at(file: BorrowedFd<'_>, slices: &Slices<'_>, offset: u64) -> io::Result<usize> {
    let (vectors, offset) = (Vectors::of(slices), file_offset(offset)?);
    // SAFETY: each vector is a live stretch of guest memory, which `slices` borrows; nothing in this
    // process holds a Rust reference into guest memory.
    transferred(unsafe {
        libc::preadv(file.as_raw_fd(), vectors.entries.as_ptr(), vectors.count(), offset)
    })
}

/// Writes guest memory to `offset` of a file; gives how many bytes went.
pub fn write_at(file: BorrowedFd<'_>, slices: &Slices<'_>, offset: u64) -> io::Result<usize> {
    let (vectors, offset) = (Vectors::of(slices), file_offset(offset)?);
    // SAFETY: as in `read_at`; the kernel only reads from the vectors.
    transferred(unsafe {
        libc::pwritev(file.as_raw_fd(), vectors.entries.as_ptr(), vectors.count(), offset)
    })
}

/// Receives from a socket into guest memory without waiting.
pub fn receive(socket: BorrowedFd<'_>, slices: &Slices<'_>) -> io::Result<usize> {
    let mut vectors = Vectors::of(slices);
    let mut message = vectors.message();
    // SAFETY: as in `read_at`; `message` and its vectors outlive the call.
    transferred(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) })
}

/// Sends guest memory to a socket without waiting and without SIGPIPE.
pub fn send(socket: BorrowedFd<'_>, slices: &Slices<'_>) -> io::Result<usize> {
    let mut vectors = Vectors::of(slices);
    let message = vectors.message();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: as in `receive`; the kernel only reads from the vectors.
    transferred(unsafe { libc::sendmsg(socket.as_raw_fd(), &message, flags) })
}

/// Makes an eventfd object of a descriptor that came from outside.
pub fn event_from(descriptor: OwnedFd) -> EventFd {
    // SAFETY: the descriptor is open, and its ownership moves into the object.
    unsafe { EventFd::from_raw_fd(descriptor.into_raw_fd()) }
}

/// Puts what `new` refers to under the number `target`, in one step.
///
/// # Errors
/// Where the kernel refuses; `target` then stays as it was.
pub fn replace(new: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: dup3 touches no memory; the caller names a number that an object of its own keeps open.
    let result = unsafe { libc::dup3(new.as_raw_fd(), target, libc::O_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The descriptor of an eventfd object.
pub fn event_descriptor(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: the object keeps its descriptor open for as long as it is borrowed.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}
