//! Datagrams, and echoes: what comes for the one end goes to the other, or is lost.

use crate::outside;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sendto};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// How datagrams go outside.
#[derive(Debug)]
pub enum Way {
    /// By a socket of their own, which knows its peer.
    Own(OwnedFd),
    /// By that of a published port, of this number.
    Published(u64),
}

/// Datagrams of a flow.
#[derive(Debug)]
pub struct Datagrams {
    way: Way,
    /// Whoever is there.
    peer: SocketAddr,
    /// Their socket cuts none that are longer than what gets there.
    uncut: bool,
}

impl Datagrams {
    /// Datagrams to and from this place.
    pub fn new(way: Way, peer: SocketAddr) -> Self {
        Self { way, peer, uncut: false }
    }

    /// How they go outside.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Sends one outside, by the flow's own socket or by this one. What does not go at once is lost. `uncut` says whether it
    /// may be cut, where that is known.
    ///
    /// # Errors
    /// What is told of an earlier one, and [`Errno::MSGSIZE`] of one that may not be cut.
    pub fn send(
        &mut self,
        bytes: &[u8],
        uncut: Option<bool>,
        published: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = match (&self.way, published) {
            (Way::Own(socket), _) => {
                if let Some(uncut) = uncut.filter(|uncut| *uncut != self.uncut) {
                    // Where it cannot be said, datagrams are cut, and get there.
                    let _ = outside::keep_whole(socket, self.peer, uncut);
                    self.uncut = uncut;
                }
                send(socket, bytes, flags)
            }
            (Way::Published(_), Some(socket)) => sendto(socket, bytes, flags, &self.peer),
            (Way::Published(_), None) => Ok(0),
        };
        sent.map(drop)
    }

    /// How long a packet may be that gets to their peer, where the kernel has learnt it.
    pub fn most(&self) -> Option<u16> {
        let Way::Own(socket) = &self.way else { return None };
        outside::path_mtu(socket, self.peer)
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
