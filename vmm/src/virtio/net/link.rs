//! The device's end of the link: a connected socket of packets, and what is known of it.
//!
//! Owns: what the socket is watched for. Never does: wait, or keep a packet.
//!
//! ```text
//!         sent ─▶ EAGAIN: full, watched until it takes more
//!   open ◀──────────────────────────────────────────────────┘
//!     └── nobody at the other end ─▶ gone, for good: not watched any more
//! ```

use super::HEADER_BYTES;
use crate::virtio::buffers::Slices;
use crate::virtio::sys;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open { is_empty: bool, is_full: bool },
    Gone,
}

/// A packet that has not been received yet.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// Its first bytes: zeroes where it is shorter.
    pub header: [u8; HEADER_BYTES],
    /// How long it is, with its header.
    pub length: usize,
}

/// What became of a packet that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It is sent, or lost: nobody needs its buffers any more.
    Done,
    /// There is no room for it now.
    Later,
}

/// A socket of packets.
#[derive(Debug)]
pub struct Link {
    socket: Arc<OwnedFd>,
    epoll: Arc<OwnedFd>,
    token: u64,
    state: State,
}

impl Link {
    /// Has an epoll instance watch a socket, its events under `token`.
    ///
    /// # Errors
    /// Where it cannot be watched.
    pub fn watch(socket: Arc<OwnedFd>, epoll: &Arc<OwnedFd>, token: u64) -> io::Result<Self> {
        epoll::add(&**epoll, &*socket, EventData::new_u64(token), EventFlags::IN | EventFlags::ET)?;
        let state = State::Open { is_empty: false, is_full: false };
        Ok(Self { socket, epoll: Arc::clone(epoll), token, state })
    }

    /// Takes in an event of the socket.
    pub fn heard(&mut self, flags: EventFlags) {
        const ENDS: EventFlags = EventFlags::HUP.union(EventFlags::ERR);
        let State::Open { is_empty, is_full } = self.state else { return };
        let takes = flags.intersects(EventFlags::OUT | ENDS);
        let has = flags.intersects(EventFlags::IN | ENDS);
        self.state = State::Open { is_empty: is_empty && !has, is_full: is_full && !takes };
        if is_full && takes {
            self.watch_for(EventFlags::IN);
        }
    }

    /// Whether it may have a packet.
    pub fn has_packets(&self) -> bool {
        matches!(self.state, State::Open { is_empty: false, .. })
    }

    /// Whether it may take a packet. One that is gone takes all of them, and they are lost.
    pub fn takes_packets(&self) -> bool {
        !matches!(self.state, State::Open { is_full: true, .. })
    }

    /// Sends a packet, unless nobody is there.
    pub fn send(&mut self, packet: &Slices<'_>) -> Sent {
        let State::Open { is_empty, .. } = self.state else { return Sent::Done };
        let Err(error) = sys::send(self.socket.as_fd(), packet) else { return Sent::Done };
        match error.kind() {
            ErrorKind::WouldBlock => {
                self.state = State::Open { is_empty, is_full: true };
                // Only while it is full: each packet that is read at the other end would be an event.
                self.watch_for(EventFlags::IN | EventFlags::OUT);
                Sent::Later
            }
            ErrorKind::Interrupted => Sent::Later,
            ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::NotConnected => {
                self.lose();
                Sent::Done
            }
            // No memory for it, or it is longer than the socket is: one packet is lost.
            _ => Sent::Done,
        }
    }

    /// Looks at the next packet.
    pub fn peek(&mut self) -> Option<Waiting> {
        let State::Open { is_full, .. } = self.state else { return None };
        let mut header = [0; HEADER_BYTES];
        let mut no_files = RecvAncillaryBuffer::default();
        let flags = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
        let into = &mut [IoSliceMut::new(&mut header)];
        match recvmsg(&*self.socket, into, &mut no_files, flags).map(|message| message.bytes) {
            // A packet of no length is none: it is the end.
            Ok(0) => self.lose(),
            Ok(length) => return Some(Waiting { header, length }),
            Err(Errno::AGAIN) => self.state = State::Open { is_empty: true, is_full },
            Err(Errno::INTR | Errno::NOMEM | Errno::NOBUFS) => {}
            Err(_) => self.lose(),
        }
        None
    }

    /// Receives the packet that was looked at; what there is no room for is lost.
    ///
    /// # Errors
    /// The kernel's.
    pub fn receive(&mut self, room: &Slices<'_>) -> io::Result<usize> {
        sys::receive(self.socket.as_fd(), room)
    }

    /// Drops the packet that was looked at.
    pub fn discard(&mut self) {
        // Where it fails the packet is looked at again.
        let _ = self.receive(&Slices::default());
    }

    fn watch_for(&self, flags: EventFlags) {
        let data = EventData::new_u64(self.token);
        // It is watched, so it can be watched for something else.
        let _ = epoll::modify(&*self.epoll, &*self.socket, data, flags | EventFlags::ET);
    }

    fn lose(&mut self) {
        self.state = State::Gone;
        let _ = epoll::delete(&*self.epoll, &*self.socket);
    }
}
