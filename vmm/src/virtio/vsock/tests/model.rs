//! The table against a model: whatever sides do in whatever order, each byte arrives once and in order,
//! nothing more is kept than was promised, and ends arrive after the last byte.

use super::muxer::{packet, slices};
use super::pipe::{Pipes, SharedEnd};
use crate::virtio::Memory;
use crate::virtio::test_driver::memory;
use crate::virtio::vsock::RECEIVE_BUFFER_BYTES;
use crate::virtio::vsock::connection::Readiness;
use crate::virtio::vsock::muxer::Muxer;
use crate::virtio::vsock::packet::{FromGuest, Operation, ToGuest};
use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};

#[derive(Debug, Clone)]
enum Step {
    GuestSends(usize),
    GuestReads(usize),
    GuestTakes(usize),
    GuestEnds,
    HostSends(usize),
    HostReads(usize),
    HostEnds,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1usize..70_000).prop_map(Step::GuestSends),
        6 => (1usize..5_000).prop_map(Step::GuestReads),
        4 => (1usize..50_000).prop_map(Step::GuestTakes),
        1 => Just(Step::GuestEnds),
        6 => (1usize..50_000).prop_map(Step::HostSends),
        6 => (1usize..90_000).prop_map(Step::HostReads),
        1 => Just(Step::HostEnds),
    ];
    prop::collection::vec(step, 1..80)
}

/// An honest guest with one connection, and the host beyond it.
struct World {
    muxer: Muxer<Pipes>,
    memory: Memory,
    id: u64,
    end: SharedEnd,
    guest_buffer: u32,
    /// What the guest has sent, and what of it the device says the host has taken.
    guest_sent: u32,
    guest_acknowledged: u32,
    guest_ended: bool,
    guest_heard_end: bool,
    guest_heard_reset: bool,
    /// Bytes the guest got, and how many of them its process took.
    got: Vec<u8>,
    taken: u32,
    host_sent: u32,
    host_got: Vec<u8>,
}

/// The byte at a place of either stream.
fn byte(place: u32) -> u8 {
    (place.wrapping_mul(2_654_435_761) >> 24) as u8
}

fn sequence(from: u32, count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| byte(from + i)).collect()
}

impl World {
    fn new(capacity: usize, guest_buffer: u32) -> Self {
        let pipes = Pipes { capacity, ..Pipes::default() };
        let ends = pipes.ends.clone();
        let (mut muxer, memory) = (Muxer::new(pipes), memory(1 << 20));
        let request = FromGuest { buffer_bytes: guest_buffer, ..packet(Operation::Request) };
        muxer.hear(&request, Some(slices(&memory, 0)));
        let (id, end) = ends.borrow().values().next().unwrap().clone();
        Self {
            muxer,
            memory,
            id,
            end,
            guest_buffer,
            guest_sent: 0,
            guest_acknowledged: 0,
            guest_ended: false,
            guest_heard_end: false,
            guest_heard_reset: false,
            got: Vec::new(),
            taken: 0,
            host_sent: 0,
            host_got: Vec::new(),
        }
    }

    fn guest_packet(&self, operation: Operation) -> FromGuest {
        FromGuest { buffer_bytes: self.guest_buffer, forwarded: self.taken, ..packet(operation) }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::GuestSends(count) => self.guest_sends(count),
            Step::GuestReads(room) => self.guest_reads(room),
            Step::GuestTakes(count) => {
                let held = self.got.len() - self.taken as usize;
                self.taken += count.min(held) as u32;
                self.hear(self.guest_packet(Operation::CreditUpdate), 0);
            }
            Step::GuestEnds => {
                self.guest_ended = true;
                self.hear(FromGuest { flags: 2, ..self.guest_packet(Operation::Shutdown) }, 0);
            }
            Step::HostSends(count) => {
                if !self.end.borrow().host_ended {
                    let bytes = sequence(self.host_sent, count);
                    self.end.borrow_mut().to_guest.extend(bytes);
                    self.host_sent += count as u32;
                    self.event();
                }
            }
            Step::HostReads(count) => {
                let mut end = self.end.borrow_mut();
                let count = count.min(end.from_guest.len());
                self.host_got.extend(end.from_guest.drain(..count));
                drop(end);
                self.event();
            }
            Step::HostEnds => {
                self.end.borrow_mut().host_ended = true;
                self.event();
            }
        }
    }

    fn guest_credit(&self) -> usize {
        (RECEIVE_BUFFER_BYTES - (self.guest_sent - self.guest_acknowledged)) as usize
    }

    fn guest_sends(&mut self, count: usize) {
        let count = count.min(self.guest_credit());
        if !self.guest_ended && count > 0 {
            let bytes = sequence(self.guest_sent, count);
            self.memory.write_slice(&bytes, GuestAddress(0)).unwrap();
            self.guest_sent += count as u32;
            let length = count as u32;
            self.hear(FromGuest { length, ..self.guest_packet(Operation::ReadWrite) }, count);
        }
    }

    fn guest_reads(&mut self, room: usize) {
        let Some(packet) = self.muxer.speak(&slices(&self.memory, room)) else { return };
        let ToGuest { operation, length, flags, forwarded, .. } = packet;
        assert!(!self.guest_heard_reset, "{operation:?} after a RST");
        match operation {
            Operation::ReadWrite => {
                assert!(!self.guest_heard_end, "bytes after the end");
                let mut bytes = vec![0; length as usize];
                self.memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
                self.got.extend(bytes);
                let held = self.got.len() - self.taken as usize;
                assert!(held <= self.guest_buffer as usize, "more than the guest has room for");
            }
            Operation::Shutdown => {
                assert_eq!(flags, 2);
                self.guest_heard_end = true;
            }
            Operation::Reset => {
                self.guest_heard_end = true;
                self.guest_heard_reset = true;
            }
            _ => {}
        }
        self.guest_acknowledged = forwarded;
        assert!(self.guest_acknowledged <= self.guest_sent);
    }

    fn hear(&mut self, header: FromGuest, length: usize) {
        if !self.guest_heard_reset {
            self.muxer.hear(&header, Some(slices(&self.memory, length)));
        }
    }

    fn event(&mut self) {
        let both = Readiness { readable: true, writable: true, hung_up: false };
        self.muxer.host_event(self.id, both);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_byte_arrives_once_and_in_order(
        capacity in 1usize..100_000,
        guest_buffer in 1u32..100_000,
        steps in steps(),
    ) {
        let mut world = World::new(capacity, guest_buffer);
        for step in steps {
            world.step(step);
            prop_assert!(world.muxer.kept_bytes() <= RECEIVE_BUFFER_BYTES as usize);
        }
        // Then both sides take all there is, and end.
        world.step(Step::GuestEnds);
        world.step(Step::HostEnds);
        let mut rounds = 0;
        while !world.guest_heard_reset {
            world.step(Step::HostReads(usize::MAX));
            world.step(Step::GuestReads(4096));
            world.step(Step::GuestTakes(usize::MAX));
            rounds += 1;
            prop_assert!(rounds < 2_000_000, "it does not come to an end");
        }
        world.step(Step::HostReads(usize::MAX));
        prop_assert_eq!(world.got.len(), world.host_sent as usize);
        prop_assert_eq!(world.host_got.len(), world.guest_sent as usize);
        prop_assert!(world.got == sequence(0, world.host_sent as usize));
        prop_assert!(world.host_got == sequence(0, world.guest_sent as usize));
        prop_assert!(world.end.borrow().guest_ended);
        prop_assert_eq!(world.muxer.kept_bytes(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_sender_that_waits_for_credit_never_waits_for_ever(capacity in 2_000usize..400_000, chunk in 1usize..70_000) {
        let mut world = World::new(capacity, 65536);
        for _ in 0..40 {
            let before = world.guest_sent;
            // It sends a chunk whole or not at all.
            if world.guest_credit() >= chunk {
                world.step(Step::GuestSends(chunk));
            } else {
                // Out of credit: once the host has read all, the device must have said so by itself.
                for _ in 0..RECEIVE_BUFFER_BYTES as usize / capacity + 2 {
                    world.step(Step::HostReads(usize::MAX));
                }
                world.step(Step::GuestReads(4096));
                world.step(Step::GuestReads(4096));
                prop_assert!(world.guest_credit() >= chunk, "no credit came");
                world.step(Step::GuestSends(chunk));
                prop_assert_eq!(world.guest_sent - before, chunk as u32);
            }
        }
    }
}
