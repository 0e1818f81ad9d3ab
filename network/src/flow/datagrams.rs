//! Datagrams, or echoes: whatever comes for the one end goes to the other, or is lost.

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sendto};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// How datagrams go outside.
#[derive(Debug)]
pub enum Way {
    /// By a socket of their own, which knows its peer.
    Own(OwnedFd),
    /// By that of a published port, of this number, to which the first one came.
    Published(usize),
}

/// Datagrams of a flow.
#[derive(Debug)]
pub struct Datagrams {
    /// How they go outside.
    pub way: Way,
    /// Whoever is there.
    pub peer: SocketAddr,
}

impl Datagrams {
    /// Sends one outside, by the flow's own socket or by this one. What does not go at once is lost.
    ///
    /// # Errors
    /// What is told of an earlier one.
    pub fn send(&self, bytes: &[u8], published: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = match (&self.way, published) {
            (Way::Own(socket), _) => send(socket, bytes, flags),
            (Way::Published(_), Some(socket)) => sendto(socket, bytes, flags, &self.peer),
            (Way::Published(_), None) => Ok(0),
        };
        sent.map(drop)
    }

    /// Takes one that has come by the flow's own socket: how long it is.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] where none has, and what is told of an earlier one.
    pub fn receive(&self, into: &mut [u8]) -> Result<usize, Errno> {
        match &self.way {
            Way::Own(socket) => recv(socket, into, RecvFlags::DONTWAIT).map(|(count, _)| count),
            Way::Published(_) => Err(Errno::AGAIN),
        }
    }
}
