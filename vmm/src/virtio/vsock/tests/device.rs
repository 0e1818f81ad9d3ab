//! The whole device: queues in memory on one side, sockets on the other.

use crate::threads::Threads;
use crate::virtio::test_driver::{Driver, memory};
use crate::virtio::vsock::packet::{FromGuest, HEADER_BYTES, Operation};
use crate::virtio::vsock::{EventQueue, Offers, Vsock};
use crate::virtio::{Activation, DeviceState, Memory, VirtQueue, VirtioDevice};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress};

const QUEUE_BYTES: u64 = 0x4000;
const BUFFERS: u64 = 0x10_0000;
const BUFFER_BYTES: u64 = 0x1000;
const RX_BUFFERS: u64 = 64;

/// A guest's driver for a device with three queues.
struct Guest {
    device: Vsock,
    offers: Offers,
    memory: Memory,
    rx: Driver,
    tx: Driver,
    event: Driver,
    rx_address: HashMap<u16, u64>,
}

impl Guest {
    fn new() -> Self {
        let memory = memory(8 << 20);
        let queue = |index: u64| Driver::new(&memory, index * QUEUE_BYTES, 256);
        let offers = Offers::new();
        let mut guest = Self {
            device: Vsock::new(offers.clone(), EventQueue::Own, Threads::unconfined()).unwrap(),
            offers,
            rx: queue(0),
            tx: queue(1),
            event: queue(2),
            memory: memory.clone(),
            rx_address: HashMap::new(),
        };
        let queues = vec![guest.rx.queue(), guest.tx.queue(), guest.event.queue()];
        guest.activate(queues);
        for index in 0..RX_BUFFERS {
            guest.post(BUFFERS + index * BUFFER_BYTES);
        }
        guest
    }

    fn activate(&mut self, queues: Vec<VirtQueue>) {
        let activation = Activation { memory: self.memory.clone(), queues, features: 0 };
        self.device.activate(activation).unwrap();
    }

    fn post(&mut self, address: u64) {
        let head = self.rx.add(&[(address, BUFFER_BYTES as u32, true)]);
        self.rx_address.insert(head, address);
    }

    fn offer(&self, port: u32) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        self.offers.offer(port, theirs.into()).unwrap();
        ours
    }

    fn say(&mut self, port: u32, operation: Operation, flags: u32, bytes: &[u8]) {
        let at = 4 << 20;
        let mut header = Vec::new();
        header.extend(3u64.to_le_bytes());
        header.extend(2u64.to_le_bytes());
        for word in [1000 + port, port, bytes.len() as u32] {
            header.extend(word.to_le_bytes());
        }
        header.extend(1u16.to_le_bytes());
        header.extend((operation as u16).to_le_bytes());
        for word in [flags, 1 << 30, 0] {
            header.extend(word.to_le_bytes());
        }
        assert_eq!(header.len(), HEADER_BYTES);
        self.memory.write_slice(&header, GuestAddress(at)).unwrap();
        self.memory.write_slice(bytes, GuestAddress(at + 0x1000)).unwrap();
        // As Linux does for large packets: header, then data in more than one piece.
        let (half, length) = (bytes.len() as u32 / 2, bytes.len() as u32);
        let data = at + 0x1000;
        let header = (at, HEADER_BYTES as u32, false);
        let rest = [(data, half, false), (data + u64::from(half), length - half, false)];
        self.tx.add(&[&[header], rest.as_slice()].concat());
        self.tx.wait_used();
    }

    fn hear(&mut self) -> (Operation, u32, Vec<u8>) {
        let (head, written) = self.rx.wait_used();
        let address = self.rx_address[&head];
        let mut bytes = vec![0; written as usize];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        self.post(address);
        let header = FromGuest::decode(bytes.first_chunk().unwrap());
        assert_eq!(header.length as usize, bytes.len() - HEADER_BYTES);
        let operation = Operation::from_number(header.operation).unwrap();
        (operation, header.flags, bytes.split_off(HEADER_BYTES))
    }

    fn connect(&mut self, port: u32) {
        self.say(port, Operation::Request, 0, &[]);
        assert_eq!(self.hear().0, Operation::Response);
    }
}

#[test]
fn bytes_pass_both_ways_and_ends_are_told() {
    let mut guest = Guest::new();
    let mut host = guest.offer(5);
    guest.connect(5);
    guest.say(5, Operation::ReadWrite, 0, b"from the guest");
    let mut bytes = [0; 14];
    host.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"from the guest");
    host.write_all(b"from the host").unwrap();
    assert_eq!(guest.hear(), (Operation::ReadWrite, 0, b"from the host".to_vec()));
    host.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(guest.hear(), (Operation::Shutdown, 2, vec![]));
    guest.say(5, Operation::ReadWrite, 0, b"more");
    guest.say(5, Operation::Shutdown, 2, &[]);
    let mut rest = Vec::new();
    host.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"more");
    assert_eq!(guest.hear().0, Operation::Reset);
}

#[test]
fn an_offer_is_good_for_one_connection() {
    let mut guest = Guest::new();
    let _host = guest.offer(5);
    guest.connect(5);
    guest.say(6, Operation::Request, 0, &[]);
    assert_eq!(guest.hear().0, Operation::Reset);
    guest.say(5, Operation::Shutdown, 3, &[]);
    assert_eq!(guest.hear().0, Operation::Reset);
    guest.say(5, Operation::Request, 0, &[]);
    assert_eq!(guest.hear().0, Operation::Reset);
}

#[test]
fn a_host_that_closes_stops_the_guests_writer() {
    let mut guest = Guest::new();
    let host = guest.offer(5);
    guest.connect(5);
    guest.say(5, Operation::ReadWrite, 0, b"y\ny\n");
    drop(host);
    let flags = [guest.hear(), guest.hear()].map(|(operation, flags, _)| (operation, flags));
    assert_eq!(flags, [(Operation::Shutdown, 1), (Operation::Shutdown, 3)]);
}

#[test]
fn a_slow_host_holds_the_guest_back_and_loses_nothing() {
    let mut guest = Guest::new();
    let mut host = guest.offer(5);
    guest.connect(5);
    let (mut sent, mut acknowledged) = (0u32, 0u32);
    let mut blocked = false;
    while !blocked && sent < 4 << 20 {
        let room = 256 * 1024 - (sent - acknowledged);
        if room < 60_000 {
            // Nobody reads: no credit may come.
            std::thread::sleep(Duration::from_millis(50));
            blocked = guest.rx.take_used().is_none();
            continue;
        }
        let bytes: Vec<u8> = (sent..sent + 60_000).map(|i| (i % 251) as u8).collect();
        guest.say(5, Operation::ReadWrite, 0, &bytes);
        sent += 60_000;
        while let Some((head, written)) = guest.rx.take_used() {
            let address = guest.rx_address[&head];
            let mut header = [0; HEADER_BYTES];
            assert_eq!(written as usize, HEADER_BYTES);
            guest.memory.read_slice(&mut header, GuestAddress(address)).unwrap();
            acknowledged = FromGuest::decode(&header).forwarded;
            guest.post(address);
        }
    }
    assert!(blocked, "{sent} bytes went to a host that read none");
    guest.say(5, Operation::Shutdown, 2, &[]);
    let mut bytes = Vec::new();
    host.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), sent as usize);
    assert!(bytes.iter().enumerate().all(|(i, byte)| *byte == (i % 251) as u8));
}

#[test]
fn what_was_sent_before_a_reset_reaches_a_host_that_reads() {
    let mut guest = Guest::new();
    let mut host = guest.offer(5);
    guest.connect(5);
    let mut sent = 0;
    for _ in 0..7 {
        guest.say(5, Operation::ReadWrite, 0, &[7; 60_000]);
        sent += 60_000;
        if sent >= 240_000 {
            break;
        }
    }
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        let mut bytes = Vec::new();
        host.read_to_end(&mut bytes).unwrap();
        bytes.len()
    });
    assert_eq!(guest.device.reset().len(), 3);
    assert_eq!(reader.join().unwrap(), sent);
}

/// Events of a host that takes nothing do not make it wait any longer.
#[test]
fn a_host_that_writes_and_never_reads_is_given_up() {
    let mut guest = Guest::new();
    let mut host = guest.offer(5);
    guest.connect(5);
    for _ in 0..5 {
        // More than its socket takes: the rest is kept.
        guest.say(5, Operation::ReadWrite, 0, &[7; 52_000]);
    }
    let writer = std::thread::spawn(move || {
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_secs(12) && host.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let begin = std::time::Instant::now();
    assert_eq!(guest.device.reset().len(), 3);
    assert!(begin.elapsed() < Duration::from_secs(9), "{:?}", begin.elapsed());
    writer.join().unwrap();
}

#[test]
fn a_device_made_again_tells_the_driver_that_connections_are_gone() {
    let mut guest = Guest::new();
    guest.event.add(&[(0x8_0000, 4, true)]);
    let mut host = guest.offer(5);
    guest.connect(5);
    let queues = guest.device.reset();
    assert_eq!(guest.device.save(), DeviceState::Vsock);
    assert_eq!(host.read(&mut [0]).unwrap(), 0, "the host sees the end");
    guest.memory.write_obj(9u32, GuestAddress(0x8_0000)).unwrap();
    guest.device =
        Vsock::new(guest.offers.clone(), EventQueue::Own, Threads::unconfined()).unwrap();
    guest.activate(queues);
    assert_eq!(guest.event.wait_used().1, 4);
    assert_eq!(guest.memory.read_obj::<u32>(GuestAddress(0x8_0000)).unwrap(), 0);
    let _host = guest.offer(5);
    guest.connect(5);
}

#[test]
fn malformed_chains_come_back_and_the_device_goes_on() {
    let mut guest = Guest::new();
    for buffers in [
        vec![(0x20_0000, 10, false)],
        vec![(0x20_0000, 44, true)],
        vec![(u64::MAX - 10, 44, false)],
        vec![(0x20_0000, 44, false), (0xffff_ffff, 100, false)],
    ] {
        guest.tx.add(&buffers);
        assert_eq!(guest.tx.wait_used().1, 0);
    }
    let _host = guest.offer(5);
    guest.connect(5);
}

#[test]
fn the_driver_must_bring_as_many_queues_as_the_device_has() {
    let guest = Guest::new();
    let activation = |queues| Activation { memory: guest.memory.clone(), queues, features: 0 };
    let queues = || vec![guest.rx.queue(), guest.tx.queue()];
    let mut own = Vsock::new(Offers::new(), EventQueue::Own, Threads::unconfined()).unwrap();
    assert!(own.activate(activation(queues())).is_err());
    let mut frontends =
        Vsock::new(Offers::new(), EventQueue::Frontend, Threads::unconfined()).unwrap();
    assert_eq!(frontends.queue_sizes().len(), 2);
    assert!(frontends.activate(activation(queues())).is_ok());
}
