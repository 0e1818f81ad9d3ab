//! The whole device: queues in memory on one side, a socket of packets on the other.

#![allow(clippy::cast_possible_truncation, reason = "lengths of packets, and bytes of patterns")]

use super::worker::{Queues, Worker};
use super::*;
use crate::threads::Threads;
use crate::virtio::stop::Stop;
use crate::virtio::test_driver::{Buffer, Driver, memory};
use crate::virtio::{Activation, DeviceState, Memory, VirtQueue, VirtioDevice};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const QUEUE_BYTES: u64 = 0x4000;
const SENT: u64 = 0x10_0000;
const BUFFERS: u64 = 0x20_0000;
const BUFFER_BYTES: u64 = 0x1000;
/// What Linux gives at first: a frame of the usual size.
const USUAL: u32 = 1530;
const LONGEST: usize = *PACKET_BYTES.end();
const ALL: u64 = feature::GUEST_CSUM | feature::GUEST_TSO4 | feature::MRG_RXBUF;

fn packet(number: u8, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8 ^ number).collect();
    bytes[..HEADER_BYTES].fill(0);
    bytes[10] = 1;
    bytes
}

fn link() -> (OwnedFd, OwnedFd) {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    set_socket_timeout(&ours, Timeout::Recv, Some(Duration::from_secs(5))).unwrap();
    (ours, theirs)
}

/// A guest's driver, and who is at the other end of its link.
struct Guest {
    device: Net,
    memory: Memory,
    features: u64,
    rx: Driver,
    tx: Driver,
    peer: OwnedFd,
    rx_address: HashMap<u16, u64>,
    posted: u64,
    said: u64,
}

impl Guest {
    fn new(features: u64) -> Self {
        let memory = memory(8 << 20);
        let (peer, connection) = link();
        let mut guest = Self {
            device: Net::new(MAC, 65520, connection, Threads::unconfined()).unwrap(),
            features,
            rx: Driver::new(&memory, 0, QUEUE_SIZE),
            tx: Driver::new(&memory, QUEUE_BYTES, QUEUE_SIZE),
            memory,
            peer,
            rx_address: HashMap::new(),
            posted: 0,
            said: 0,
        };
        guest.activate(vec![guest.rx.queue(), guest.tx.queue()]);
        guest
    }

    fn activate(&mut self, queues: Vec<VirtQueue>) {
        let (memory, features) = (self.memory.clone(), self.features);
        self.device.activate(Activation { memory, queues, features }).unwrap();
    }

    /// Gives so many buffers of a length.
    fn post(&mut self, count: usize, length: u32) {
        for _ in 0..count {
            let address = BUFFERS + self.posted % 512 * BUFFER_BYTES;
            self.posted += 1;
            let head = self.rx.add(&[(address, length, true)]);
            self.rx_address.insert(head, address);
        }
    }

    /// Sends a packet in pieces, as Linux does: header, head of the frame, the rest.
    fn say(&mut self, bytes: &[u8]) {
        // Those that wait for the link stand beside each other.
        let begin = SENT + self.said % 60 * 0x4000;
        self.said += 1;
        self.memory.write_slice(bytes, GuestAddress(begin)).unwrap();
        let pieces = [(0, 12), (12, 14), (26, bytes.len() as u32 - 26)];
        let pieces = pieces.map(|(at, length)| (begin + at, length, false));
        self.tx.add(&pieces);
    }

    /// The next packet, of which all buffers are there at once; and how many they were.
    fn hear(&mut self) -> (Vec<u8>, usize) {
        let mut used = vec![self.rx.wait_used()];
        let first = self.rx_address[&used[0].0];
        let count: u16 = self.memory.read_obj(GuestAddress(first + 10)).unwrap();
        used.extend((1..count).map(|_| self.rx.take_used().expect("half a packet")));
        let mut packet = Vec::new();
        for (head, written) in used {
            let mut bytes = vec![0; written as usize];
            self.memory.read_slice(&mut bytes, GuestAddress(self.rx_address[&head])).unwrap();
            packet.extend(bytes);
        }
        packet[10..12].copy_from_slice(&[1, 0]);
        (packet, count.into())
    }

    fn is_told_nothing(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(self.rx.take_used(), None);
    }

    fn tell(&self, bytes: &[u8]) {
        assert_eq!(send(&self.peer, bytes, SendFlags::DONTWAIT), Ok(bytes.len()));
    }

    fn told(&self) -> Vec<u8> {
        let mut bytes = vec![0; 2 * LONGEST];
        let (_, length) = recv(&self.peer, bytes.as_mut_slice(), RecvFlags::empty()).unwrap();
        bytes.truncate(length);
        bytes
    }
}

#[test]
fn packets_pass_both_ways_as_they_are() {
    let mut guest = Guest::new(ALL);
    guest.post(2, USUAL);
    for (number, length) in [(1, 26), (2, 100), (3, 1526), (4, LONGEST)] {
        guest.say(&packet(number, length));
        assert_eq!(guest.told(), packet(number, length));
        assert_eq!(guest.tx.wait_used().1, 0);
    }
    for (number, length) in [(1, 26), (2, 100)] {
        guest.tell(&packet(number, length));
        assert_eq!(guest.hear(), (packet(number, length), 1));
    }
    let mut offloaded = packet(3, 1000);
    offloaded[..10].copy_from_slice(&[1, 1, 66, 0, 180, 5, 34, 0, 16, 0]);
    guest.say(&offloaded);
    assert_eq!(guest.told(), offloaded);
    guest.post(1, USUAL);
    guest.tell(&offloaded);
    assert_eq!(guest.hear(), (offloaded, 1));
}

#[test]
fn a_packet_takes_as_many_buffers_as_it_needs() {
    let mut guest = Guest::new(ALL);
    guest.post(200, USUAL);
    for (number, length, count) in [(1, LONGEST, 43), (2, 100, 1), (3, 1530, 1), (4, 1531, 2)] {
        guest.tell(&packet(number, length));
        assert_eq!(guest.hear(), (packet(number, length), count));
    }
}

/// A driver that looks at the ring all the time, and takes the first buffer for a promise of the others.
#[test]
fn a_driver_sees_a_whole_packet_or_none_of_it() {
    let mut guest = Guest::new(ALL);
    let done = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let (memory, done) = (guest.memory.clone(), Arc::clone(&done));
        let index = GuestAddress(guest.rx.used_ring() + 2);
        move || {
            while !done.load(Ordering::Relaxed) {
                let index: u16 = memory.load(index, Ordering::Acquire).unwrap();
                assert_eq!(index % 64, 0, "half a packet");
            }
        }
    });
    for number in 0..200 {
        guest.post(64, 64);
        guest.tell(&packet(number, 64 * 64));
        assert_eq!(guest.hear().1, 64);
    }
    done.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
}

#[test]
fn a_driver_that_merges_nothing_is_given_one_chain_for_a_packet() {
    let mut guest = Guest::new(0);
    guest.post(3, USUAL);
    guest.tell(&packet(1, 1531));
    guest.tell(&packet(2, 1530));
    assert_eq!(guest.hear(), (packet(2, 1530), 1));
    guest.tell(&packet(3, 60));
    assert_eq!(guest.hear(), (packet(3, 60), 1));
}

#[test]
fn a_link_that_is_full_holds_the_guest_back_and_loses_nothing() {
    let mut guest = Guest::new(ALL);
    (0..60).for_each(|number| guest.say(&packet(number, 10_000)));
    std::thread::sleep(Duration::from_millis(50));
    let taken = std::iter::from_fn(|| guest.tx.take_used()).count();
    assert!((1..60).contains(&taken), "{taken} packets went to a peer that reads none");
    for number in 0..60 {
        assert!(guest.told() == packet(number, 10_000), "{number}");
    }
    (taken..60).for_each(|_| _ = guest.tx.wait_used());
    guest.say(&packet(99, 50));
    assert_eq!(guest.told(), packet(99, 50), "a packet comes twice");
}

#[test]
fn what_the_guest_has_no_room_for_waits_outside() {
    let mut guest = Guest::new(ALL);
    let mut sent = 0;
    while send(&guest.peer, &packet(sent, 3000), SendFlags::DONTWAIT) != Err(Errno::AGAIN) {
        sent += 1;
        assert!(sent < 250, "nobody holds the outside back");
    }
    guest.is_told_nothing();
    // Half of what the first needs: it waits for the rest.
    guest.post(1, USUAL);
    guest.is_told_nothing();
    for number in 0..sent {
        guest.post(if number == 0 { 1 } else { 2 }, USUAL);
        assert_eq!(guest.hear(), (packet(number, 3000), 2));
    }
}

/// The same, where the driver says after which notification it wants to be heard.
#[test]
fn a_driver_that_gives_buffers_one_by_one_is_heard() {
    let mut guest = Guest::new(ALL);
    let queues = guest.device.reset().into_iter().map(|mut queue| {
        queue.queue.set_event_idx(true);
        queue
    });
    let queues = queues.collect();
    guest.activate(queues);
    guest.tell(&packet(1, 4000));
    std::thread::sleep(Duration::from_millis(20));
    for given in 1..=3u16 {
        guest.post(1, USUAL);
        // The device says so at the end of the used ring.
        let event = GuestAddress(guest.rx.used_ring() + 4 + 8 * u64::from(QUEUE_SIZE));
        let wanted =
            |guest: &Guest| guest.memory.load::<u16>(event, Ordering::Acquire).unwrap() == given;
        for _ in 0..1000 {
            if given == 3 || wanted(&guest) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(given == 3 || wanted(&guest), "nobody listens for what comes behind {given}");
    }
    assert_eq!(guest.hear(), (packet(1, 4000), 3));
}

#[test]
fn what_fits_into_no_ring_is_dropped() {
    let mut guest = Guest::new(ALL);
    guest.post(usize::from(QUEUE_SIZE), 40);
    guest.tell(&packet(1, 40 * usize::from(QUEUE_SIZE) + 1));
    // There would be enough, but no call takes more stretches.
    guest.tell(&packet(2, 40 * 128 + 1));
    guest.tell(&packet(3, 40 * 128));
    assert_eq!(guest.hear(), (packet(3, 40 * 128), 128));
}

#[test]
fn a_packet_that_the_driver_would_not_understand_is_dropped() {
    let mut guest = Guest::new(feature::MRG_RXBUF);
    guest.post(8, USUAL);
    let with = |flags, segmentation| {
        let mut bytes = packet(0, 100);
        bytes[..2].copy_from_slice(&[flags, segmentation]);
        bytes
    };
    for dropped in [with(1, 0), with(1, 1), with(0, 4), vec![0; 25], vec![1], vec![0; LONGEST + 1]]
    {
        guest.tell(&dropped);
    }
    guest.tell(&with(2, 0));
    assert_eq!(guest.hear(), (with(0, 0), 1), "of checksums it knows nothing");
}

#[test]
fn chains_that_are_no_packets_are_given_back_and_not_sent() {
    let mut guest = Guest::new(ALL);
    let length = LONGEST as u32 + 1;
    let strangers: [Vec<Buffer>; 7] = [
        vec![(SENT, 12, false)],
        vec![(SENT, 12, false), (SENT, 13, false)],
        vec![(SENT, length, false)],
        vec![(SENT, 100, false); 129],
        vec![(SENT, 100, true)],
        vec![(u64::MAX - 99, 100, false)],
        vec![(SENT, u32::MAX, false)],
    ];
    for chain in strangers {
        guest.tx.add(&chain);
        assert_eq!(guest.tx.wait_used().1, 0);
    }
    guest.say(&packet(1, 26));
    assert_eq!(guest.told(), packet(1, 26));
}

#[test]
fn buffers_that_are_none_come_back_and_the_next_are_filled() {
    let mut guest = Guest::new(ALL);
    guest.rx.add(&[(BUFFERS, 50, true)]);
    for chain in [(BUFFERS, 100, false), (u64::MAX - 9, 100, true)] {
        guest.rx.add(&[chain]);
    }
    guest.tell(&packet(1, 100));
    (0..3).for_each(|_| assert_eq!(guest.rx.wait_used().1, 0));
    guest.post(1, 100);
    assert_eq!(guest.hear(), (packet(1, 100), 1));
}

#[test]
fn a_link_that_is_gone_takes_what_is_sent_and_keeps_nobody_busy() {
    for is_spoken_to in [true, false] {
        let memory = memory(1 << 20);
        let (peer, connection) = link();
        let (rx, mut tx) = (Driver::new(&memory, 0, 8), Driver::new(&memory, QUEUE_BYTES, 8));
        let queues = Queues { receive: rx.queue(), transmit: tx.queue() };
        let stop = Arc::new(Stop::new().unwrap());
        let mut worker = Worker::new(memory, queues, ALL, Arc::new(connection), stop).unwrap();
        if is_spoken_to {
            send(&peer, &packet(1, 100), SendFlags::empty()).unwrap();
        }
        assert!(!worker.round(), "it does not wait for buffers");
        drop(peer);
        assert!(!worker.round(), "it does not wait for the driver");
        for _ in 0..3 {
            tx.add(&[(SENT / 2, 100, false)]);
            assert!(!worker.round(), "it does not wait for the driver");
            assert_eq!(tx.take_used().map(|(_, written)| written), Some(0));
        }
    }
}

/// What was not sent is sent when the device is active again, once.
#[test]
fn a_reset_gives_the_queues_back_where_they_were() {
    let mut guest = Guest::new(ALL);
    for _ in 0..80 {
        guest.say(&packet(5, 10_000));
    }
    std::thread::sleep(Duration::from_millis(50));
    guest.tell(&packet(6, 3000));
    guest.post(1, USUAL);
    let queues = guest.device.reset();
    let places: Vec<_> =
        queues.iter().map(|it| (it.queue.next_avail(), it.queue.next_used())).collect();
    assert_eq!(places[0], (0, 0), "a buffer is held");
    assert_eq!(places[1].0, places[1].1, "a chain is held");
    assert!((1..80).contains(&places[1].0), "{places:?}");
    assert_eq!(guest.device.reset().len(), 0);
    guest.activate(queues);
    (0..80).for_each(|number| assert_eq!(guest.told(), packet(5, 10_000), "{number}"));
    (0..80).for_each(|_| assert_eq!(guest.tx.wait_used().1, 0));
    guest.post(1, USUAL);
    assert_eq!(guest.hear(), (packet(6, 3000), 2));
    assert_eq!(recv(&guest.peer, &mut [0; 9], RecvFlags::DONTWAIT).unwrap_err(), Errno::AGAIN);
}

#[test]
fn an_interrupt_comes_if_any_of_what_was_given_back_together_was_waited_for() {
    let memory = memory(1 << 20);
    let driver = Driver::new(&memory, 0, 8);
    let mut queue = driver.queue();
    queue.queue.set_event_idx(true);
    queue.queue.set_next_used(u16::MAX - 1);
    let word = GuestAddress(driver.available_ring() + 4 + 2 * 8);
    for (event, is_wanted) in [(u16::MAX - 2, false), (u16::MAX - 1, true), (0, true), (1, false)] {
        memory.write_obj(event, word).unwrap();
        queue.queue.set_next_used(u16::MAX - 1);
        queue.give_back_together(&memory, &[(1, 10), (2, 20), (3, 30)]);
        queue.interrupt_if_wanted_since(&memory, u16::MAX - 1);
        assert_eq!(driver.call.read().is_ok(), is_wanted, "{event}");
    }
    assert_eq!(queue.queue.next_used(), 1);
    let entry =
        |slot: u64| memory.read_obj::<[u32; 2]>(GuestAddress(driver.used_ring() + 4 + 8 * slot));
    assert_eq!([6, 7, 0].map(|slot| entry(slot).unwrap()), [[1, 10], [2, 20], [3, 30]]);
}

#[test]
fn a_driver_is_told_what_the_device_is() {
    let (_peer, connection) = link();
    let mut device = Net::new(MAC, 1500, connection, Threads::unconfined()).unwrap();
    assert_eq!(device.config_space(), [2, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0xdc, 5]);
    assert_eq!(device.features(), 0x99ab);
    assert_eq!(device.save(), DeviceState::Net { mac: MAC, mtu: 1500 });
    let activation = Activation { memory: memory(1 << 20), queues: Vec::new(), features: 0 };
    assert!(device.activate(activation).is_err());
}
