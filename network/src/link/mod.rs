//! The guest's link: frames in, frames out, never waiting.
//!
//! Owns: how frames are told apart, and those that did not fit the socket yet. Never does: look into a frame.
//!
//! Who asks [`Link::has_room`] before they make a frame that can be made later, and reads frames only while it holds, keeps
//! what waits here to a few frames: a guest that takes none of its own is then sent none, and heard no more.

mod capture;
mod packets;
mod rate;
mod stream;

use crate::config::LinkKind;
use crate::owner::Passed;
use capture::Capture;
use packets::Packets;
use rate::{Rate, Way};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
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

/// A frame of the guest's.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'l> {
    /// That.
    pub bytes: &'l [u8],
    /// Its transport's checksum is left for us to make: it has been on no cable.
    pub is_unsummed: bool,
}

/// A link.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    /// What the guest was sent, and what it has sent.
    passed: (Passed, Passed),
    rate: Option<Rate>,
    capture: Option<Capture>,
}

/// How frames pass.
#[derive(Debug)]
enum Socket {
    /// To our own VMM.
    Packets(Packets),
    /// To QEMU.
    Stream(Stream),
}

impl Link {
    /// A link by this socket, of so many bytes a second each way at most.
    pub fn new(kind: LinkKind, socket: OwnedFd, bytes_per_second: Option<u64>) -> Self {
        let socket = match kind {
            LinkKind::Packets => Socket::Packets(Packets::new(socket)),
            LinkKind::Stream => Socket::Stream(Stream::new(socket)),
        };
        let rate = bytes_per_second.map(|rate| Rate::new(rate, Instant::now()));
        Self { socket, passed: Default::default(), rate, capture: None }
    }

    /// Writes all that passes to a file.
    pub fn capture(&mut self, file: OwnedFd) {
        self.capture = Some(Capture::new(file));
    }

    /// The socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Packets(link) => link.socket.as_fd(),
            Socket::Stream(link) => link.socket.as_fd(),
        }
    }

    /// What has passed: to the guest, and from it.
    pub fn passed(&self) -> (Passed, Passed) {
        self.passed
    }

    /// Whether it takes an [`Offload`].
    pub fn offloads(&self) -> bool {
        matches!(self.socket, Socket::Packets(_))
    }

    /// Whether nothing waits to be sent.
    pub fn has_room(&self) -> bool {
        match &self.socket {
            Socket::Packets(link) => link.waiting.is_empty(),
            Socket::Stream(link) => link.waiting.is_empty(),
        }
    }

    /// How long nothing may pass, because too much has.
    pub fn rest(&mut self, now: Instant) -> Option<Duration> {
        self.rate.as_mut()?.wait(now)
    }

    /// Sends a frame, `header` and `payload`; what does not fit waits.
    pub fn send(&mut self, header: &[u8], payload: &[u8], offload: Option<Offload>) {
        self.passed.0.add(header.len() + payload.len());
        if let Some(rate) = &mut self.rate {
            rate.count(Way::In, header.len() + payload.len());
        }
        if let Some(capture) = &mut self.capture {
            capture.add([header, payload]);
        }
        match &mut self.socket {
            Socket::Packets(link) => link.send(header, payload, offload),
            Socket::Stream(link) => link.send(header, payload),
        }
    }

    /// Sends what waits, as far as it fits.
    pub fn flush(&mut self) {
        match &mut self.socket {
            Socket::Packets(link) => link.flush(),
            Socket::Stream(link) => link.flush(),
        }
    }

    /// Takes the next frame, which `frame` then holds; `None` where none is there.
    ///
    /// # Errors
    /// Where the guest's end is gone, or speaks something else.
    pub fn receive<'l>(&mut self, frame: &'l mut Frame) -> io::Result<Option<Heard<'l>>> {
        let received = match &mut self.socket {
            Socket::Packets(link) => link.receive(frame),
            Socket::Stream(link) => link.receive(frame),
        }?;
        if let Some(Heard { bytes, .. }) = received {
            self.passed.1.add(bytes.len());
            if let Some(rate) = &mut self.rate {
                rate.count(Way::Out, bytes.len());
            }
            if let Some(capture) = &mut self.capture {
                capture.add([bytes, &[]]);
            }
        }
        Ok(received)
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
