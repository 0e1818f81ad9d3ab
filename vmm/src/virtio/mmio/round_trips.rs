//! Each device given as plain data, and made again from it as another process would: a new device, behind
//! a new transport, over the same guest memory, with what its driver had negotiated and what was pending.

use super::registers::{offset, status};
use super::{MmioState, MmioTransport, RestoreError};
use crate::config::{DiskConfig, FdSlot, FileExtent};
use crate::threads::Threads;
use crate::virtio::block::Block;
use crate::virtio::interrupt::USED_RING_BIT;
use crate::virtio::test_driver::{Driver, memory};
use crate::virtio::vsock::{EventQueue, Offers, Vsock};
use crate::virtio::{Memory, VirtioDevice};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress};

const QUEUE_BYTES: u64 = 0x2000;
const VERSION_1: u64 = 1 << 32;
const EVENT_IDX: u64 = 1 << 29;

/// A transport, and the driver's side of each of its queues.
struct Machine {
    transport: MmioTransport,
    memory: Memory,
    queues: Vec<Driver>,
}

fn write(transport: &mut MmioTransport, at: u64, value: u64) {
    transport.write(at, &u32::try_from(value & 0xffff_ffff).unwrap().to_le_bytes());
}

fn read(transport: &MmioTransport, at: u64) -> u32 {
    let mut word = [0; 4];
    transport.read(at, &mut word);
    u32::from_le_bytes(word)
}

impl Machine {
    /// A machine whose driver is ready.
    fn new(device: impl VirtioDevice + 'static) -> Self {
        let memory = memory(1 << 20);
        let sizes = device.queue_sizes().to_vec();
        let mut transport = MmioTransport::new(Box::new(device), memory.clone()).unwrap();
        write(&mut transport, offset::STATUS, 3);
        for half in [0, 1] {
            write(&mut transport, offset::DRIVER_FEATURES_SELECT, half);
            let features = (VERSION_1 | EVENT_IDX) >> (32 * half);
            write(&mut transport, offset::DRIVER_FEATURES, features);
        }
        write(&mut transport, offset::STATUS, 11);
        let mut queues = Vec::new();
        for (index, size) in (0u64..).zip(sizes) {
            let base = index * QUEUE_BYTES;
            let driver = Driver::new(&memory, base, size);
            write(&mut transport, offset::QUEUE_SELECT, index);
            write(&mut transport, offset::QUEUE_SIZE, u64::from(size));
            write(&mut transport, offset::QUEUE_DESCRIPTORS, base);
            write(&mut transport, offset::QUEUE_DRIVER, driver.available_ring());
            write(&mut transport, offset::QUEUE_DEVICE, driver.used_ring());
            write(&mut transport, offset::QUEUE_READY, 1);
            queues.push(driver);
        }
        write(&mut transport, offset::STATUS, 15);
        assert_eq!(read(&transport, offset::STATUS), 15);
        let mut machine = Self { transport, memory, queues };
        machine.wire();
        machine
    }

    /// Joins the driver's kicks and interrupts to the transport's, as KVM does.
    fn wire(&mut self) {
        for (driver, notify) in self.queues.iter_mut().zip(self.transport.notify_events()) {
            driver.kick = notify.try_clone().unwrap();
            driver.call = self.transport.line().try_clone().unwrap();
        }
    }

    /// The state, through the bytes that would stand in a file.
    fn save(&mut self) -> MmioState {
        let bytes = serde_json::to_vec(&self.transport.save()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The same machine elsewhere.
    fn elsewhere(self, device: impl VirtioDevice + 'static, state: &MmioState) -> Self {
        let Self { transport, memory, queues } = self;
        drop(transport);
        let mut transport = MmioTransport::new(Box::new(device), memory.clone()).unwrap();
        transport.restore(state).unwrap();
        let mut machine = Self { transport, memory, queues };
        machine.wire();
        machine
    }

    fn interrupt_status(&self) -> u32 {
        read(&self.transport, offset::INTERRUPT_STATUS)
    }
}

const HEADER: u64 = 0x8_0000;
const DATA: u64 = 0x9_0000;
const STATUS: u64 = 0xa_0000;

fn disk(file: &File, length: u64, writable: bool) -> Block {
    let extents = vec![FileExtent { file: FdSlot(0), offset: 0, length }];
    let config = DiskConfig { serial: "disk".into(), extents, writable, more: None };
    Block::new(&config, &[file.try_clone().unwrap().into()], Threads::unconfined()).unwrap()
}

/// Makes a request available: a write of sector 5, or a read.
fn ask(machine: &mut Machine, kind: u32) {
    machine.memory.write_obj(kind, GuestAddress(HEADER)).unwrap();
    machine.memory.write_obj(5u64, GuestAddress(HEADER + 8)).unwrap();
    machine.memory.write_obj(0xffu8, GuestAddress(STATUS)).unwrap();
    machine.queues[0].add(&[(HEADER, 16, false), (DATA, 512, kind == 0), (STATUS, 1, true)]);
}

fn answer(machine: &mut Machine) -> u8 {
    machine.queues[0].wait_used();
    machine.memory.read_obj(GuestAddress(STATUS)).unwrap()
}

#[test]
fn a_disk_goes_on_elsewhere_with_its_interrupt_and_its_waiting_request() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(8192).unwrap();
    let mut machine = Machine::new(disk(&file, 8192, true));
    machine.memory.write_slice(&[0xab; 512], GuestAddress(DATA)).unwrap();
    ask(&mut machine, 1);
    assert!(machine.queues[0].wait_interrupt(Duration::from_secs(5)));
    machine.queues[0].take_used().unwrap();
    // The driver has not looked yet: the interrupt pends in its register, its edge is gone.
    let state = machine.save();
    assert_eq!((state.interrupts, state.driver_features), (USED_RING_BIT, VERSION_1 | EVENT_IDX));
    assert_eq!((state.queues[0].next_available, state.queues[0].next_used), (1, 1));
    let mut bytes = [0; 512];
    file.read_exact_at(&mut bytes, 5 * 512).unwrap();
    assert_eq!(bytes, [0xab; 512]);

    // Nobody serves the next request here: its device is saved and gone.
    write(&mut machine.transport, offset::STATUS, 0);
    machine.memory.write_slice(&[0; 512], GuestAddress(DATA)).unwrap();
    ask(&mut machine, 0);
    let mut machine = machine.elsewhere(disk(&file, 8192, true), &state);
    assert_eq!(read(&machine.transport, offset::STATUS), 15);
    assert_eq!(machine.interrupt_status() & USED_RING_BIT, USED_RING_BIT);
    assert!(machine.queues[0].wait_interrupt(Duration::from_secs(5)), "the pending interrupt");
    assert_eq!(answer(&mut machine), 0, "the request that waited");
    assert_eq!(machine.memory.read_obj::<[u8; 32]>(GuestAddress(DATA)).unwrap(), [0xab; 32]);

    // With EVENT_IDX the driver says from where on it wants to hear.
    machine.memory.write_slice(&[0xcd; 512], GuestAddress(DATA)).unwrap();
    let used_event = machine.queues[0].available_ring() + 4 + 2 * 256;
    machine.memory.write_obj(2u16, GuestAddress(used_event)).unwrap();
    let _ = machine.transport.line().read();
    ask(&mut machine, 1);
    assert!(machine.queues[0].wait_interrupt(Duration::from_secs(5)), "a new interrupt");
    assert_eq!(answer(&mut machine), 0);
    file.read_exact_at(&mut bytes, 5 * 512).unwrap();
    assert_eq!(bytes, [0xcd; 512]);
    assert_eq!(machine.save().queues[0].next_used, 3);
}

#[test]
fn an_interrupt_that_pends_is_raised_again_where_the_device_goes_on() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(8192).unwrap();
    let mut machine = Machine::new(disk(&file, 8192, true));
    let mut state = machine.save();
    for (interrupts, edges) in [(0, None), (USED_RING_BIT, Some(1))] {
        state.interrupts = interrupts;
        machine = machine.elsewhere(disk(&file, 8192, true), &state);
        assert_eq!(machine.transport.line().read().ok(), edges);
        assert_eq!(machine.save(), state);
    }
}

#[test]
fn a_disk_that_its_driver_would_not_know_again_is_refused() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(16384).unwrap();
    let state = Machine::new(disk(&file, 8192, true)).save();
    for (length, writable) in [(16384, true), (4096, true), (8192, false)] {
        let device = Box::new(disk(&file, length, writable));
        let refusal = MmioTransport::new(device, memory(1 << 20)).unwrap().restore(&state);
        assert!(matches!(refusal, Err(RestoreError::Device { .. })), "{length} {writable}");
    }
}

const PORT: u32 = 5;
const PACKET: u64 = 0x8_0000;
const RECEIVED: u64 = 0x9_0000;
const EVENT: u64 = 0xa_0000;
const HEADER_BYTES: u32 = 44;
const REQUEST: u16 = 1;
const RESPONSE: u16 = 2;

/// Asks for a connection from this port; gives what the device answers.
fn connect(machine: &mut Machine, guest_port: u32) -> u16 {
    let mut header = Vec::new();
    header.extend([3u64, 2].map(u64::to_le_bytes).concat());
    header.extend([guest_port, PORT, 0].map(u32::to_le_bytes).concat());
    header.extend([1, REQUEST].map(u16::to_le_bytes).concat());
    header.extend([0, 1 << 16, 0u32].map(u32::to_le_bytes).concat());
    machine.memory.write_slice(&header, GuestAddress(PACKET)).unwrap();
    machine.queues[0].add(&[(RECEIVED, 4096, true)]);
    machine.queues[1].add(&[(PACKET, HEADER_BYTES, false)]);
    machine.queues[1].wait_used();
    assert_eq!(machine.queues[0].wait_used().1, HEADER_BYTES);
    machine.memory.read_obj(GuestAddress(RECEIVED + 30)).unwrap()
}

fn offer(offers: &Offers) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    offers.offer(PORT, theirs.into()).unwrap();
    ours
}

#[test]
fn a_socket_device_goes_on_elsewhere_and_its_driver_hears_that_connections_are_gone() {
    let offers = Offers::new();
    let mut host = offer(&offers);
    let mut machine =
        Machine::new(Vsock::new(offers, EventQueue::Own, Threads::unconfined()).unwrap());
    assert_eq!(connect(&mut machine, 1000), RESPONSE);
    let state = machine.save();
    assert_eq!(host.read(&mut [0]).unwrap(), 0, "the host sees the end of its connection");
    write(&mut machine.transport, offset::STATUS, 0);

    machine.memory.write_obj(9u32, GuestAddress(EVENT)).unwrap();
    machine.queues[2].add(&[(EVENT, 4, true)]);
    let offers = Offers::new();
    let mut machine = machine.elsewhere(
        Vsock::new(offers.clone(), EventQueue::Own, Threads::unconfined()).unwrap(),
        &state,
    );
    assert_eq!(read(&machine.transport, offset::STATUS) & status::NEEDS_RESET, 0);
    assert_eq!(machine.queues[2].wait_used().1, 4);
    assert_eq!(machine.memory.read_obj::<u32>(GuestAddress(EVENT)).unwrap(), 0, "TRANSPORT_RESET");
    assert_eq!(machine.interrupt_status(), USED_RING_BIT);
    let _host = offer(&offers);
    assert_eq!(connect(&mut machine, 1001), RESPONSE);
}
