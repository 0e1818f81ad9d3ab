//! TCP of a guest, ended here: whoever the guest speaks to is spoken to by a socket, and the two streams are passed on.
//!
//! Owns: sequence numbers, windows and what is sent again towards the guest (RFC 9293). Never does: open a socket, or keep
//! more of a stream than one window each way; an idle connection keeps none.

mod connection;
mod delayed_ack;
mod from_guest;
mod held;
mod to_guest;

pub use connection::{Connection, State};

use smoltcp::wire::TcpRepr;
use std::io;

/// What a guest bears that does not say (RFC 9293, 3.7.1).
const DEFAULT_MSS: usize = 536;
/// The most that is read from outside at a time.
pub const READ_BYTES: usize = 256 << 10;
/// By how much our windows are shifted.
const OUR_SCALE: u8 = 7;

/// Where segments for the guest go. Ports are whoever's it is to fill in.
pub trait Inside {
    /// Whether a segment with bytes is taken now; others always are.
    fn has_room(&self) -> bool;
    /// Takes a segment. Where it has more bytes than `mss` says, it stands for several.
    fn segment(&mut self, segment: &TcpRepr<'_>, mss: usize);
}

/// A socket outside that never waits: what it cannot do now is [`io::ErrorKind::WouldBlock`].
pub trait Outside {
    /// Takes bytes that have come, no more than `most`, at the end of `into`; 0 where no more will. It takes no memory for
    /// more than have come.
    ///
    /// # Errors
    /// Where none has come, or the connection is lost.
    fn read(&mut self, into: &mut Vec<u8>, most: usize) -> io::Result<usize>;
    /// Gives bytes.
    ///
    /// # Errors
    /// Where there is no room, or the connection is lost.
    fn write(&mut self, from: &[u8]) -> io::Result<usize>;
    /// Says that no more bytes follow.
    fn end(&mut self);
}

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of a stream that are kept, in each direction.
    pub window: usize,
    /// The most of them in a segment.
    pub mss: u16,
    /// The most of them in what stands for several; 0 where nothing may.
    pub most: usize,
}

#[cfg(test)]
mod tests;
