//! A connection of TCP: its two streams, and the socket that they lead to outside.

use super::Key;
use crate::link::Link;
use crate::outside;
use crate::packet::Emit;
use crate::tcp::{Connection, Inside, Limits, Outside, State};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use smoltcp::wire::TcpRepr;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// The most bytes of a stream that are kept here in one direction.
const WINDOW: usize = 512 << 10;
/// The most bytes that may stand for several segments: all that fits a packet, whatever its headers.
const MOST_SEGMENTS: usize = 65535 - 40 - 60;
/// How often a silent guest is asked whether it is there.
const MOST_PROBES: u32 = 9;

/// A connection, and its socket while that is needed.
#[derive(Debug)]
pub struct Streams {
    /// The guest's side.
    pub connection: Connection,
    /// How often the guest has been asked, and has said nothing.
    pub probes: u32,
    /// Whoever is outside has come to the guest.
    pub is_called: bool,
    outside: Option<outside::Stream>,
}

/// The way of segments to the guest.
#[derive(Debug)]
pub struct TcpToGuest<'l> {
    /// The link.
    pub link: &'l mut Link,
    /// Whose segments.
    pub key: Key,
}

impl Inside for TcpToGuest<'_> {
    fn has_room(&self) -> bool {
        self.link.has_room()
    }

    fn segment(&mut self, segment: &TcpRepr<'_>, mss: usize) {
        Emit { link: self.link }.tcp(self.key.other, self.key.guest, segment, mss);
    }
}

/// Nobody outside any more.
struct Gone;

impl Outside for Gone {
    fn read(&mut self, _: &mut Vec<u8>, _: usize) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn end(&mut self) {}
}

/// What a connection may take on this link, whose packets are so long.
pub fn limits(link: &Link, mtu: u16, is_ipv6: bool) -> Limits {
    let headers = if is_ipv6 { 60 } else { 40 };
    let most = if link.offloads() { MOST_SEGMENTS } else { 0 };
    Limits { window: WINDOW, mss: mtu.saturating_sub(headers), most }
}

impl Streams {
    /// A connection with this socket.
    pub fn new(connection: Connection, socket: outside::Stream) -> Self {
        let is_called = connection.state() == State::Called;
        Self { connection, probes: 0, is_called, outside: Some(socket) }
    }

    /// The socket.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.outside.as_ref().map(|outside| outside.socket().as_fd())
    }

    /// What came from outside, where that is kept to be looked at.
    pub fn what_came(&mut self) -> Option<&mut Vec<u8>> {
        self.outside.as_mut()?.what_came()
    }

    /// The socket, to be used for another connection.
    pub fn into_socket(self) -> Option<outside::Stream> {
        self.outside
    }

    /// Ends what is outside as it ended inside.
    pub fn close(self) {
        if let (State::Reset, Some(outside)) = (self.connection.state(), &self.outside) {
            outside.reset();
        }
    }

    /// Takes in a segment. What comes of it, [`Streams::settle`] says.
    pub fn hear(&mut self, segment: &TcpRepr<'_>, now: Instant, inside: &mut TcpToGuest<'_>) {
        self.probes = 0;
        let mut gone = Gone;
        let outside: &mut dyn Outside = match &mut self.outside {
            Some(outside) => outside,
            None => &mut gone,
        };
        self.connection.hear(segment, outside, now, inside);
    }

    /// Takes in what is told of the socket. The error for which a connection that was asked for does not come about.
    ///
    /// # Errors
    /// That.
    pub fn told(
        &mut self,
        events: EventFlags,
        now: Instant,
        inside: &mut TcpToGuest<'_>,
    ) -> Result<(), Errno> {
        let Some(outside) = &mut self.outside else { return Ok(()) };
        outside.told(events);
        let is_answer = events.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP);
        if self.connection.state() == State::Asked && is_answer {
            socket_error(outside.socket())??;
            self.connection.answered(now, inside);
        }
        Ok(())
    }

    /// Moves what can be moved. Whether more could be if the link had room.
    pub fn settle(&mut self, now: Instant, inside: &mut TcpToGuest<'_>) -> bool {
        let Some(outside) = &mut self.outside else { return false };
        let is_held_up = self.connection.settle(outside, now, inside);
        if matches!(self.connection.state(), State::Lingering | State::Over) {
            // Both sides have ended, and nobody outside needs to be spoken to.
            self.outside = None;
        }
        is_held_up
    }

    /// Whether the guest was called, and wanted nothing of it.
    pub fn was_not_answered(&self) -> bool {
        self.is_called && self.connection.state() == State::Reset && self.connection.is_opening()
    }

    /// What is to be done when an alarm rings: whether the guest has been silent for long is for the caller to say.
    pub fn remind(&mut self, is_silent: bool, now: Instant, inside: &mut TcpToGuest<'_>) {
        self.connection.remind(now, inside);
        if is_silent && self.probes < MOST_PROBES {
            self.probes += 1;
            self.connection.probe(inside);
        } else if is_silent {
            self.connection.refuse(inside);
        }
    }
}
