//! The host side of a connection: what the muxer asks of it, and a Unix stream socket that does it.

use crate::virtio::buffers::Slices;
use crate::virtio::sys;
use rustix::event::epoll;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A byte stream that never waits: where it would, it fails with `WouldBlock`.
pub trait Stream {
    /// Fills guest memory; 0 is the end of the stream. `to` is not empty.
    fn receive(&mut self, to: &Slices<'_>) -> io::Result<usize>;
    /// Takes bytes from guest memory.
    fn send(&mut self, from: &Slices<'_>) -> io::Result<usize>;
    /// Takes bytes that were kept.
    fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Says that no more bytes will be sent.
    fn end_sending(&mut self);
    /// Says that no more bytes will be received.
    fn end_receiving(&mut self);
}

/// Where the muxer gets streams from.
pub trait Host {
    /// Its streams.
    type Stream: Stream;
    /// The stream that was offered for `port`; `id` names the connection in its events.
    fn connect(&mut self, port: u32, id: u64) -> Option<Self::Stream>;
}

/// A Unix stream socket, watched for edges by an epoll instance for as long as it lives.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    epoll: Arc<OwnedFd>,
}

impl Socket {
    /// Watches a socket; its events carry `token`.
    ///
    /// # Errors
    /// Where the epoll instance refuses it.
    pub fn watch(socket: OwnedFd, epoll: &Arc<OwnedFd>, token: u64) -> io::Result<Self> {
        use epoll::EventFlags as Flags;
        let flags = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET;
        epoll::add(&**epoll, &socket, epoll::EventData::new_u64(token), flags)?;
        Ok(Self { socket, epoll: Arc::clone(epoll) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Closing is not enough where another process shares the socket's open file.
        let _ = epoll::delete(&*self.epoll, &self.socket);
    }
}

impl Stream for Socket {
    fn receive(&mut self, to: &Slices<'_>) -> io::Result<usize> {
        sys::receive(self.socket.as_fd(), to)
    }

    fn send(&mut self, from: &Slices<'_>) -> io::Result<usize> {
        sys::send(self.socket.as_fd(), from)
    }

    fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // By the same system call as all the rest: each kind less is one that nobody can misuse.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let (bytes, mut nothing) = ([IoSlice::new(bytes)], SendAncillaryBuffer::default());
        Ok(rustix::net::sendmsg(&self.socket, &bytes, &mut nothing, flags)?)
    }

    fn end_sending(&mut self) {
        // Fails only where the other side is gone, which its events tell anyway.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    fn end_receiving(&mut self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Read);
    }
}
