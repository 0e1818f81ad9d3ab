//! A host in memory: streams of bounded room whose other ends a test holds.

use crate::virtio::buffers::Slices;
use crate::virtio::vsock::stream::{Host, Stream};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;

/// The host's end of a stream, and what became of it.
#[derive(Debug, Default)]
pub struct End {
    /// Bytes from the guest that the host has not read.
    pub from_guest: VecDeque<u8>,
    /// How many of them fit.
    pub capacity: usize,
    /// Bytes for the guest that the device has not read.
    pub to_guest: VecDeque<u8>,
    /// The host sends no more.
    pub host_ended: bool,
    /// The host reads no more.
    pub host_deaf: bool,
    /// The device said that it sends no more.
    pub guest_ended: bool,
    /// The device said that it reads no more.
    pub guest_deaf: bool,
}

pub type SharedEnd = Rc<RefCell<End>>;

pub struct Pipe(pub SharedEnd);

impl Stream for Pipe {
    fn receive(&mut self, to: &Slices<'_>) -> io::Result<usize> {
        assert!(!to.is_empty(), "an empty read would look like the end");
        let mut end = self.0.borrow_mut();
        if end.to_guest.is_empty() {
            return if end.host_ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = end.to_guest.len().min(to.len());
        let bytes: Vec<u8> = end.to_guest.drain(..count).collect();
        Ok(to.write(&bytes))
    }

    fn send(&mut self, from: &Slices<'_>) -> io::Result<usize> {
        let mut bytes = VecDeque::new();
        from.append_to(&mut bytes);
        self.send_bytes(bytes.make_contiguous())
    }

    fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut end = self.0.borrow_mut();
        assert!(!end.guest_ended, "bytes after the end");
        if end.host_deaf {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(end.capacity - end.from_guest.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        end.from_guest.extend(&bytes[..count]);
        Ok(count)
    }

    fn end_sending(&mut self) {
        self.0.borrow_mut().guest_ended = true;
    }

    fn end_receiving(&mut self) {
        self.0.borrow_mut().guest_deaf = true;
    }
}

/// A host that gives every port a stream of this capacity, but for port 0.
#[derive(Default)]
pub struct Pipes {
    pub capacity: usize,
    pub ends: Rc<RefCell<HashMap<u32, (u64, SharedEnd)>>>,
}

impl Host for Pipes {
    type Stream = Pipe;

    fn connect(&mut self, port: u32, id: u64) -> Option<Pipe> {
        let end = End { capacity: self.capacity, ..End::default() };
        let end = Rc::new(RefCell::new(end));
        self.ends.borrow_mut().insert(port, (id, Rc::clone(&end)));
        (port != 0).then_some(Pipe(end))
    }
}
