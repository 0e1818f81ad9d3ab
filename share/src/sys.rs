//! What neither the standard library nor rustix has in the form that the library's FUSE server takes.

use std::fs::File;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};

/// fstatvfs(3).
///
/// # Errors
/// The kernel's.
pub(crate) fn file_system_of(file: BorrowedFd<'_>) -> io::Result<libc::statvfs64> {
    let mut statistics = MaybeUninit::zeroed();
    // SAFETY: the kernel writes one whole structure where there is room for one.
    if unsafe { libc::fstatvfs64(file.as_raw_fd(), statistics.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it has been written, and all zeroes are one too.
    Ok(unsafe { statistics.assume_init() })
}

/// That of no file system: it has nothing.
pub(crate) fn no_file_system() -> libc::statvfs64 {
    // SAFETY: it is made of numbers, all of which may be 0.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// A file for whoever wants one of its own, and changes nothing about it that is not the open file's.
pub(crate) fn lent(file: &File) -> Lent<'_> {
    // SAFETY: `file` keeps the descriptor open for as long as it is lent, and what is made here never closes it.
    let own = ManuallyDrop::new(unsafe { File::from_raw_fd(file.as_raw_fd()) });
    Lent { own, _of: file }
}

/// See [`lent`].
pub(crate) struct Lent<'a> {
    pub own: ManuallyDrop<File>,
    _of: &'a File,
}
