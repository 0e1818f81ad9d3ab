//! The guest's link: frames in, frames out, never waiting.
//!
//! Owns: how frames are told apart, and those that did not fit the socket yet. Never does: look into a frame.
//!
//! Who asks [`Link::has_room`] before they make a frame that can be made later, and reads frames only while it holds, keeps
//! what waits here to a few frames: a guest that takes none of its own is then sent none, and heard no more.

mod packets;
mod stream;

use crate::config::LinkKind;
use packets::Packets;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use stream::Stream;

/// The longest frame: an Ethernet header with a VLAN tag, and an IP packet.
pub const MOST_FRAME: usize = 14 + 4 + 65535;

/// What is left for the guest's device to do with a frame (VirtIO 1.2 §5.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offload {
    /// Where in the frame its checksum begins to count.
    pub start: u16,
    /// Where from there on it stands.
    pub at: u16,
    /// Its payload is to be seen as segments of so many bytes, of IPv6 or not.
    pub segments: Option<(u16, bool)>,
}

/// A link.
#[derive(Debug)]
pub enum Link {
    /// Of our own VMM.
    Packets(Packets),
    /// Of QEMU.
    Stream(Stream),
}

impl Link {
    /// A link by this socket.
    pub fn new(kind: LinkKind, socket: OwnedFd) -> Self {
        match kind {
            LinkKind::Packets => Self::Packets(Packets::new(socket)),
            LinkKind::Stream => Self::Stream(Stream::new(socket)),
        }
    }

    /// The socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        match self {
            Self::Packets(link) => link.socket.as_fd(),
            Self::Stream(link) => link.socket.as_fd(),
        }
    }

    /// Whether it takes an [`Offload`].
    pub fn offloads(&self) -> bool {
        matches!(self, Self::Packets(_))
    }

    /// Whether nothing waits to be sent.
    pub fn has_room(&self) -> bool {
        match self {
            Self::Packets(link) => link.waiting.is_empty(),
            Self::Stream(link) => link.waiting.is_empty(),
        }
    }

    /// Sends a frame, `header` and `payload`; what does not fit waits.
    pub fn send(&mut self, header: &[u8], payload: &[u8], offload: Option<Offload>) {
        match self {
            Self::Packets(link) => link.send(header, payload, offload),
            Self::Stream(link) => link.send(header, payload),
        }
    }

    /// Sends what waits, as far as it fits.
    pub fn flush(&mut self) {
        match self {
            Self::Packets(link) => link.flush(),
            Self::Stream(link) => link.flush(),
        }
    }

    /// Takes the next frame, which `frame` then holds; `None` where none is there.
    ///
    /// # Errors
    /// Where the guest's end is gone, or speaks something else.
    pub fn receive<'l>(&mut self, frame: &'l mut Frame) -> io::Result<Option<&'l [u8]>> {
        match self {
            Self::Packets(link) => link.receive(frame),
            Self::Stream(link) => link.receive(frame),
        }
    }
}

/// Room for a frame, and for what may stand before it.
#[derive(Debug)]
pub struct Frame(Vec<u8>);

impl Default for Frame {
    fn default() -> Self {
        Self(vec![0; packets::HEADER + MOST_FRAME])
    }
}
