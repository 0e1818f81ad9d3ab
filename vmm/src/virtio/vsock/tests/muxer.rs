//! Single rules of the protocol, each by itself.

use super::pipe::{Pipes, SharedEnd};
use crate::virtio::Memory;
use crate::virtio::buffers::Slices;
use crate::virtio::test_driver::memory;
use crate::virtio::vsock::connection::Readiness;
use crate::virtio::vsock::muxer::Muxer;
use crate::virtio::vsock::packet::{FromGuest, Key, Operation, TYPE_STREAM, ToGuest};
use crate::virtio::vsock::{MAX_CONNECTIONS, RECEIVE_BUFFER_BYTES};
use vm_memory::{Bytes, GuestAddress, GuestMemory};

const PORT: u32 = 7;
const KEY: Key = Key { guest_port: 1000, host_port: PORT };

pub fn packet(operation: Operation) -> FromGuest {
    FromGuest {
        addressed: true,
        key: KEY,
        length: 0,
        kind: TYPE_STREAM,
        operation: operation as u16,
        flags: 0,
        buffer_bytes: 64 * 1024,
        forwarded: 0,
    }
}

pub fn slices(memory: &Memory, length: usize) -> Slices<'_> {
    let mut slices = Slices::default();
    slices.push(memory.get_slice(GuestAddress(0), length).unwrap());
    slices
}

struct Rig {
    muxer: Muxer<Pipes>,
    memory: Memory,
    ends: std::rc::Rc<std::cell::RefCell<std::collections::HashMap<u32, (u64, SharedEnd)>>>,
}

impl Rig {
    fn new(capacity: usize) -> Self {
        let pipes = Pipes { capacity, ..Pipes::default() };
        let ends = pipes.ends.clone();
        Self { muxer: Muxer::new(pipes), memory: memory(1 << 20), ends }
    }

    fn connected(capacity: usize) -> Self {
        let mut rig = Self::new(capacity);
        rig.hear(packet(Operation::Request));
        assert_eq!(rig.speak().unwrap().operation, Operation::Response);
        rig
    }

    fn hear(&mut self, header: FromGuest) {
        let payload = slices(&self.memory, header.length as usize);
        self.muxer.hear(&header, Some(payload));
    }

    fn send(&mut self, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(0)).unwrap();
        self.hear(FromGuest { length: bytes.len() as u32, ..packet(Operation::ReadWrite) });
    }

    fn speak(&mut self) -> Option<ToGuest> {
        self.muxer.speak(&slices(&self.memory, 4096))
    }

    fn end(&self) -> SharedEnd {
        self.ends.borrow()[&PORT].1.clone()
    }

    fn event(&mut self, readiness: Readiness) {
        let id = self.ends.borrow()[&PORT].0;
        self.muxer.host_event(id, readiness);
    }
}

const READABLE: Readiness = Readiness { readable: true, writable: false, hung_up: false };
const WRITABLE: Readiness = Readiness { readable: false, writable: true, hung_up: false };
const HUNG_UP: Readiness = Readiness { readable: true, writable: true, hung_up: true };

#[test]
fn a_port_nobody_offered_is_refused() {
    let mut rig = Rig::new(10);
    let key = Key { host_port: 0, ..KEY };
    rig.hear(FromGuest { key, ..packet(Operation::Request) });
    assert_eq!(rig.speak(), Some(ToGuest::reset(key)));
    assert_eq!(rig.speak(), None);
}

#[test]
fn a_device_that_stops_takes_no_offer() {
    let mut rig = Rig::new(10);
    rig.muxer.close_to_new();
    rig.hear(packet(Operation::Request));
    assert_eq!(rig.speak(), Some(ToGuest::reset(KEY)));
    assert!(rig.ends.borrow().is_empty(), "the offer was taken");
}

#[test]
fn packets_of_no_connection_are_reset_and_resets_are_not() {
    let mut rig = Rig::new(10);
    for operation in [Operation::ReadWrite, Operation::Shutdown, Operation::CreditUpdate] {
        rig.hear(packet(operation));
        assert_eq!(rig.speak().unwrap().operation, Operation::Reset);
    }
    rig.hear(FromGuest { kind: 2, ..packet(Operation::Request) });
    assert_eq!(rig.speak().unwrap().operation, Operation::Reset, "no seqpacket");
    rig.hear(packet(Operation::Reset));
    rig.hear(FromGuest { addressed: false, ..packet(Operation::Request) });
    assert_eq!(rig.speak(), None);
}

#[test]
fn the_guests_half_close_comes_after_its_last_byte() {
    let mut rig = Rig::connected(4);
    rig.send(b"abcdefgh");
    rig.hear(FromGuest { flags: 2, ..packet(Operation::Shutdown) });
    assert!(!rig.end().borrow().guest_ended, "bytes are still kept");
    rig.end().borrow_mut().from_guest.clear();
    rig.event(WRITABLE);
    assert_eq!(rig.end().borrow().from_guest, b"efgh");
    assert!(rig.end().borrow().guest_ended);
    rig.end().borrow_mut().to_guest.extend(b"answer");
    rig.event(READABLE);
    let packet = rig.speak().unwrap();
    assert_eq!((packet.operation, packet.length), (Operation::ReadWrite, 6));
    rig.end().borrow_mut().host_ended = true;
    rig.event(READABLE);
    assert_eq!(rig.speak().unwrap().operation, Operation::Reset, "both directions ended");
    assert_eq!(rig.speak(), None);
}

#[test]
fn the_hosts_end_of_file_leaves_the_other_direction_open() {
    let mut rig = Rig::connected(100);
    rig.end().borrow_mut().to_guest.extend(b"last");
    rig.end().borrow_mut().host_ended = true;
    rig.event(READABLE);
    assert_eq!(rig.speak().unwrap().operation, Operation::ReadWrite);
    let shutdown = rig.speak().unwrap();
    assert_eq!((shutdown.operation, shutdown.flags), (Operation::Shutdown, 2));
    rig.send(b"more");
    assert_eq!(rig.end().borrow().from_guest, b"more");
    rig.hear(FromGuest { flags: 2, ..packet(Operation::Shutdown) });
    assert_eq!(rig.speak().unwrap().operation, Operation::Reset);
}

#[test]
fn a_host_that_reads_no_more_is_told_at_once() {
    let mut rig = Rig::connected(4);
    rig.send(b"abcdefgh");
    rig.end().borrow_mut().host_deaf = true;
    rig.event(WRITABLE);
    let shutdown = rig.speak().unwrap();
    assert_eq!((shutdown.operation, shutdown.flags), (Operation::Shutdown, 1));
    for _ in 0..10 {
        rig.send(&[0; 100_000]);
        while rig.speak().is_some() {}
    }
    rig.end().borrow_mut().to_guest.extend(b"still");
    rig.event(READABLE);
    assert_eq!(rig.speak().unwrap().length, 5, "the other direction is open");
}

#[test]
fn a_host_that_hung_up_ends_both_directions_after_its_last_bytes() {
    let mut rig = Rig::connected(4);
    rig.send(b"abcdefgh");
    rig.end().borrow_mut().to_guest.extend(b"bye");
    rig.end().borrow_mut().host_ended = true;
    rig.end().borrow_mut().host_deaf = true;
    rig.event(HUNG_UP);
    let said: Vec<_> = std::iter::from_fn(|| rig.speak()).map(|p| (p.operation, p.flags)).collect();
    let expected = [(Operation::Shutdown, 1), (Operation::ReadWrite, 0), (Operation::Shutdown, 3)];
    assert_eq!(said, expected);
    rig.hear(packet(Operation::Reset));
    rig.hear(packet(Operation::Request));
    assert_eq!(rig.speak().unwrap().operation, Operation::Response, "the name is free again");
}

#[test]
fn a_guest_that_closes_is_answered_when_its_bytes_are_through() {
    let mut rig = Rig::connected(4);
    rig.send(b"abcdefgh");
    rig.hear(FromGuest { flags: 3, ..packet(Operation::Shutdown) });
    assert!(rig.end().borrow().guest_deaf);
    assert_eq!(rig.speak(), None, "bytes are still kept");
    rig.end().borrow_mut().from_guest.clear();
    rig.event(WRITABLE);
    assert_eq!(rig.speak().unwrap().operation, Operation::Reset);
}

#[test]
fn what_a_guest_sent_before_its_reset_still_arrives() {
    let mut rig = Rig::connected(4);
    rig.send(b"abcdefgh");
    rig.hear(packet(Operation::Reset));
    assert_eq!(rig.muxer.kept_bytes(), 4);
    rig.end().borrow_mut().from_guest.clear();
    rig.event(WRITABLE);
    assert_eq!(rig.end().borrow().from_guest, b"efgh");
    assert_eq!(rig.muxer.kept_bytes(), 0);
}

#[test]
fn a_guest_beyond_its_credit_is_reset() {
    let mut rig = Rig::connected(10);
    let most = RECEIVE_BUFFER_BYTES as usize + 10;
    rig.send(&vec![1; most - 10]);
    rig.send(&[1; 10]);
    assert_eq!(rig.speak(), None);
    rig.send(&[1]);
    assert_eq!(rig.speak(), Some(ToGuest::reset(KEY)));
    assert_eq!(rig.muxer.kept_bytes(), most - 10, "what came within credit stays");
}

#[test]
fn packets_that_break_the_protocol_end_the_connection() {
    for operation in [Operation::Request, Operation::Response] {
        let mut rig = Rig::connected(10);
        rig.hear(packet(operation));
        assert_eq!(rig.speak(), Some(ToGuest::reset(KEY)));
    }
    let mut rig = Rig::connected(10);
    rig.muxer.hear(&packet(Operation::ReadWrite), None);
    assert_eq!(rig.speak(), Some(ToGuest::reset(KEY)), "shorter than it says");
    let mut rig = Rig::connected(10);
    rig.hear(FromGuest { operation: 99, ..packet(Operation::Request) });
    assert_eq!(rig.speak(), Some(ToGuest::reset(KEY)));
    let mut rig = Rig::connected(10);
    rig.hear(FromGuest { flags: 2, ..packet(Operation::Shutdown) });
    rig.send(b"after the end");
    assert_eq!(rig.speak(), Some(ToGuest::reset(KEY)));
}

#[test]
fn without_credit_the_host_waits_and_credit_is_asked_for_once() {
    let mut rig = Rig::connected(10);
    rig.hear(FromGuest { buffer_bytes: 3, ..packet(Operation::CreditUpdate) });
    rig.end().borrow_mut().to_guest.extend(b"abcdef");
    rig.event(READABLE);
    assert_eq!(rig.speak().unwrap().length, 3);
    assert_eq!(rig.speak().unwrap().operation, Operation::CreditRequest);
    assert_eq!(rig.speak(), None);
    // A count from the future is nonsense, and gives nothing.
    rig.hear(FromGuest { buffer_bytes: 3, forwarded: 9, ..packet(Operation::CreditUpdate) });
    assert_eq!(rig.speak(), None);
    rig.hear(FromGuest { buffer_bytes: 3, forwarded: 2, ..packet(Operation::CreditUpdate) });
    assert_eq!(rig.speak().unwrap().length, 2);
}

#[test]
fn a_credit_request_is_answered() {
    let mut rig = Rig::connected(100);
    rig.send(b"twelve bytes");
    assert_eq!(rig.speak(), None, "not worth a packet");
    rig.hear(packet(Operation::CreditRequest));
    let update = rig.speak().unwrap();
    assert_eq!((update.operation, update.forwarded), (Operation::CreditUpdate, 12));
}

#[test]
fn a_buffer_with_no_room_for_bytes_is_no_end_of_file() {
    let mut rig = Rig::connected(100);
    rig.end().borrow_mut().to_guest.extend(b"abc");
    rig.event(READABLE);
    assert_eq!(rig.muxer.speak(&Slices::default()), None);
    assert_eq!(rig.speak().unwrap().length, 3);
}

#[test]
fn resets_and_connections_are_bounded() {
    let mut rig = Rig::new(10);
    let mut heard = 0;
    while rig.muxer.can_hear() {
        rig.hear(packet(Operation::ReadWrite));
        heard += 1;
    }
    assert_eq!(heard, 256);
    while rig.speak().is_some() {}
    for guest_port in 0..MAX_CONNECTIONS as u32 {
        let key = Key { guest_port, host_port: 9 };
        rig.hear(FromGuest { key, ..packet(Operation::Request) });
        assert_eq!(rig.speak().unwrap().operation, Operation::Response);
    }
    rig.hear(packet(Operation::Request));
    assert_eq!(rig.speak().unwrap().operation, Operation::Reset);
}
