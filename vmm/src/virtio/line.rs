//! A socket of packets by which a device of a machine that runs is given more: each a number and an open file. Who
//! serves the device looks at it when the guest asks for what is not there, and wakes up for nothing else.

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Gives a device a file, and the number that says what it is.
///
/// # Errors
/// Where there is no room just now, or nobody listens.
pub fn send(line: BorrowedFd<'_>, number: u64, file: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(Errno::NOBUFS);
    }
    let bytes = number.to_le_bytes();
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::io::retry_on_intr(|| sendmsg(line, &[IoSlice::new(&bytes)], &mut ancillary, flags))
        .map(drop)
}

/// What came next, without waiting; `None` at the line's end.
pub(super) fn receive(line: &OwnedFd) -> Result<Option<(u64, OwnedFd)>, Errno> {
    let mut bytes = [0; 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let count = recvmsg(line, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?.bytes;
    let mut files = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    match (count, files.next()) {
        (0, _) => Ok(None),
        (8, Some(file)) => Ok(Some((u64::from_le_bytes(bytes), file))),
        _ => Err(Errno::PROTO),
    }
}
