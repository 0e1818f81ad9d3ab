//! How our processes speak to each other: one message is one packet of a Unix socket pair, with the
//! open files that belong to it.
//!
//! Owns: encoding, limits, descriptors in flight. Never does: decide what a message means.
//!
//! A peer may have been taken over by a guest: a packet is at most [`MAX_MESSAGE_BYTES`], and carries
//! at most [`MAX_DESCRIPTORS`] open files; whatever comes beyond is an error, never an allocation.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// The most open files a message can carry: SCM_MAX_FD of the kernel.
pub const MAX_DESCRIPTORS: usize = 253;
/// What every packet begins with, so that a message of no bytes is told from the end.
const TAG: u8 = 1;

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket failed.
    #[error("a process's channel failed")]
    Socket(#[from] Errno),
    /// The other side is gone.
    #[error("the process at the other end is gone")]
    Closed,
    /// The message is over the limits.
    #[error("a message between processes is over the limit of {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
    /// The message is not what this side expects.
    #[error("malformed message between processes")]
    Malformed(#[source] postcard::Error),
}

/// One end of a channel.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Makes a channel: both its ends.
    ///
    /// # Errors
    /// Where the socket pair cannot be made.
    pub fn pair() -> Result<(Self, Self), ChannelError> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(ours), Self(theirs)))
    }

    /// Takes an end that was handed to this process.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The end itself, to hand it to another process.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Sends one message with its open files, waiting for room.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] where nobody can receive it any more.
    pub fn send<M: Serialize>(
        &self,
        message: &M,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let bytes = postcard::to_extend(message, vec![TAG]).map_err(ChannelError::Malformed)?;
        if bytes.len() > MAX_MESSAGE_BYTES || descriptors.len() > MAX_DESCRIPTORS {
            return Err(ChannelError::TooLong);
        }
        let mut space = vec![MaybeUninit::uninit(); ancillary_bytes(descriptors.len())];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(ChannelError::TooLong);
        }
        let packet = [IoSlice::new(&bytes)];
        loop {
            match rustix::net::sendmsg(&self.0, &packet, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(ChannelError::Closed),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for one message and the open files that came with it.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] where nobody can send one any more.
    pub fn receive<M: DeserializeOwned>(&self) -> Result<(M, Vec<OwnedFd>), ChannelError> {
        let mut bytes = vec![0; MAX_MESSAGE_BYTES];
        let mut space = vec![MaybeUninit::uninit(); ancillary_bytes(MAX_DESCRIPTORS)];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut packet = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.0, &mut packet, &mut ancillary, flags) {
                Ok(received) => break received,
                // The other side has gone with something unread: told once, and what it said last is still there.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        let descriptors: Vec<OwnedFd> = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(ChannelError::TooLong);
        }
        // No packet of ours is empty: nothing is what the kernel gives at the end.
        let packet = bytes.get(..received.bytes).unwrap_or_default();
        let Some((_tag, packet)) = packet.split_first() else { return Err(ChannelError::Closed) };
        let (message, _) = postcard::take_from_bytes(packet).map_err(ChannelError::Malformed)?;
        Ok((message, descriptors))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn ancillary_bytes(descriptors: usize) -> usize {
    // One control message: its header and the descriptors, each rounded up to the alignment.
    64 + descriptors * size_of::<std::os::fd::RawFd>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_no_bytes_is_not_the_end() {
        let (ours, theirs) = Channel::pair().unwrap();
        ours.send(&(), &[ours.as_fd()]).unwrap();
        let ((), descriptors) = theirs.receive().unwrap();
        assert_eq!(descriptors.len(), 1);
        drop((ours, descriptors));
        assert!(matches!(theirs.receive::<()>(), Err(ChannelError::Closed)));
    }

    #[test]
    fn last_words_are_heard_from_one_that_did_not_listen() {
        let (ours, theirs) = Channel::pair().unwrap();
        theirs.send(&1u32, &[]).unwrap();
        ours.send(&7u32, &[]).unwrap();
        drop(ours);
        assert_eq!(theirs.receive::<u32>().unwrap().0, 7);
        assert!(matches!(theirs.receive::<u32>(), Err(ChannelError::Closed)));
    }

    #[test]
    fn what_is_over_the_limit_is_refused_at_both_ends() {
        let (ours, theirs) = Channel::pair().unwrap();
        let long = vec![7u8; MAX_MESSAGE_BYTES + 1];
        assert!(matches!(ours.send(&long, &[]), Err(ChannelError::TooLong)));
        rustix::net::send(&ours, &long, SendFlags::empty()).unwrap();
        assert!(matches!(theirs.receive::<Vec<u8>>(), Err(ChannelError::TooLong)));
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        let (ours, theirs) = Channel::pair().unwrap();
        rustix::net::send(&ours, &[TAG, 0xff, 0xff], SendFlags::empty()).unwrap();
        assert!(matches!(theirs.receive::<String>(), Err(ChannelError::Malformed(_))));
    }
}
