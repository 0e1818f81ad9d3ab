//! What a guest may do, as functions from bytes: for fuzzing alone, with the feature of that name.
//!
//! Owns: the way from bytes to guest memory, rings and registers. Never does: start a thread, so that the
//! same bytes always take the same way; but for [`driver`], to which the devices' own threads belong.

#![allow(clippy::expect_used, reason = "what is checked here fails by a panic")]

use crate::config::{DiskConfig, FdSlot, FileExtent};
use crate::hostile::{self, DEVICES, Machine};
use crate::kernel::{Source, load_kernel};
use crate::memory;
use crate::virtio::block::{Extents, Limits, Parsed, Work};
use crate::virtio::buffers::Buffers;
use crate::virtio::net;
use crate::virtio::queue::queue_of;
use crate::virtio::stop::Stop;
use crate::virtio::vsock::{Offers, Queues, Worker};
use crate::virtio::{
    ActivateError, Activation, DeviceId, DeviceState, Interrupt, Memory, MmioTransport, QueueState,
    VirtQueue, VirtioDevice,
};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const MEMORY_BYTES: usize = 64 << 10;
const KERNEL_MEMORY_BYTES: u64 = 8 << 20;
const DISK_BYTES: u64 = 64 << 10;
const QUEUE_SIZE: u16 = 16;
/// Where each queue's rings begin: the first descriptors of memory.
const RING_BYTES: u64 = 0x200;
/// A ring cannot be served for ever, whatever its driver writes meanwhile: here nobody writes.
const CHAINS_MAX: usize = 256;
const PORT: u32 = 1024;

fn file_with(bytes: &[u8]) -> OwnedFd {
    let file = memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a file in memory");
    rustix::io::write(&file, bytes).expect("memory takes them");
    file
}

/// Guest memory, all zeroes. There is one of each size: its address range is never given back.
fn cleared(memory: &'static OnceLock<Memory>, bytes: u64) -> Memory {
    let memory = memory.get_or_init(|| memory::create(bytes).expect("some memory"));
    crate::sys::discard(memory);
    Arc::clone(memory)
}

/// Guest memory that begins with these bytes.
fn memory_with(bytes: &[u8]) -> Memory {
    static MEMORY: OnceLock<Memory> = OnceLock::new();
    let memory = cleared(&MEMORY, MEMORY_BYTES as u64);
    let most = bytes.len().min(MEMORY_BYTES);
    memory.write_slice(&bytes[..most], GuestAddress(0)).expect("it is that long");
    memory
}

fn queue(memory: &Memory, number: u64) -> VirtQueue {
    let base = number * RING_BYTES;
    let state = QueueState {
        size: QUEUE_SIZE,
        ready: true,
        descriptor_table: base,
        available_ring: base + 0x100,
        used_ring: base + 0x140,
        ..QueueState::default()
    };
    let event = || EventFd::new(EFD_NONBLOCK).expect("an eventfd");
    let queue = queue_of(state, QUEUE_SIZE, true, memory).expect("it lies in memory");
    VirtQueue { queue, notify: event().into(), interrupt: Interrupt::call(event()) }
}

/// A disk's ring: every chain that the driver has made available.
pub fn disk_ring(bytes: &[u8]) {
    let memory = memory_with(bytes);
    let file = file_with(&[]);
    rustix::fs::ftruncate(&file, DISK_BYTES).expect("a file in memory");
    let extent = FileExtent { file: FdSlot(0), offset: 0, length: DISK_BYTES };
    let config =
        DiskConfig { serial: "fuzz".to_owned(), extents: vec![extent], writable: true, more: None };
    let disk = Arc::new(Extents::open(&config, &[file]).expect("a sound disk"));
    let work = Work { disk, serial: [b's'; 20], writable: true, memory: memory.clone() };
    let mut queue = queue(&memory, 0);
    for _ in 0..CHAINS_MAX {
        let Some(mut chain) = queue.take(&memory) else { return };
        if let Ok(buffers) = Buffers::of_chain(&memory, &mut chain)
            && let Some(Parsed { request, status }) =
                Parsed::read(buffers, Limits { length: DISK_BYTES, writable: true })
        {
            let result = request.map_or_else(|refused| refused, |it| work.perform(it).0);
            status.write(&[result as u8]);
        }
        queue.give_back(&memory, chain.head_index(), 1);
        queue.interrupt_if_wanted(&memory);
    }
}

/// The socket device's rings, with one host end to connect to, which speaks and listens.
pub fn vsock_ring(bytes: &[u8]) {
    let memory = memory_with(bytes);
    let queues = (0..3).map(|number| queue(&memory, number)).collect();
    let queues = Queues::of(queues).expect("three queues");
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a socket pair");
    rustix::io::write(&ours, b"a word from outside").expect("a socket takes it");
    let offers = Offers::new();
    offers.offer(PORT, theirs).expect("the first offer");
    let stop = Arc::new(Stop::new().expect("an eventfd"));
    let mut worker = Worker::new(memory, queues, offers, stop).expect("an epoll instance");
    let mut heard = [0; 4096];
    for _ in 0..4 {
        worker.round();
        // Where the host is gone or says nothing more, there is nothing to be read.
        let _ = rustix::io::read(&ours, &mut heard);
    }
}

/// The network device's rings, with packets of every size for them, and somebody who hears what they send.
pub fn net_ring(bytes: &[u8]) {
    let memory = memory_with(bytes);
    let queues = net::Queues { receive: queue(&memory, 0), transmit: queue(&memory, 1) };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket pair");
    for length in [26, 60, 3000, 60_000] {
        rustix::io::write(&ours, &vec![0; length]).expect("a socket takes it");
    }
    // A driver that takes packets in pieces, or one that does not.
    let features = if bytes.len().is_multiple_of(2) { u64::MAX } else { 0 };
    let stop = Arc::new(Stop::new().expect("an eventfd"));
    let worker = net::Worker::new(memory, queues, features, Arc::new(theirs), stop);
    let mut worker = worker.expect("an epoll instance");
    let mut heard = vec![0; 1 << 17];
    for _ in 0..4 {
        worker.round();
        while let Ok(length) = rustix::io::read(&ours, heard.as_mut_slice()) {
            assert!(net::PACKET_BYTES.contains(&length), "{length} bytes are no packet");
        }
    }
}

/// A kernel that a user names.
pub fn kernel(bytes: &[u8]) {
    static MEMORY: OnceLock<Memory> = OnceLock::new();
    let memory = cleared(&MEMORY, KERNEL_MEMORY_BYTES);
    let file = file_with(bytes);
    let extent = FileExtent { file: FdSlot(0), offset: 0, length: bytes.len() as u64 };
    let source = Source { file: file.as_fd(), extent };
    if let Ok(kernel) = load_kernel(&memory, source, KERNEL_MEMORY_BYTES) {
        assert!(kernel.entry < kernel.end && kernel.end <= KERNEL_MEMORY_BYTES, "{kernel:?}");
    }
}

/// A driver of all devices of a machine at once, with their threads: whatever it does, the next that is
/// honest finds them well.
pub fn driver(bytes: &[u8]) {
    static MEMORY: OnceLock<Memory> = OnceLock::new();
    let mut machine = Machine::new(cleared(&MEMORY, Machine::MEMORY_BYTES));
    (0..DEVICES).for_each(|device| machine.start(device));
    hostile::operations::perform(&mut machine, bytes);
    machine.is_well();
}

/// What QEMU, or who has taken it over, says of a device on its connection.
pub fn vhost_user(bytes: &[u8]) {
    hostile::frontend::speak(bytes);
}

/// A device that only keeps its queues.
#[derive(Debug, Default)]
struct Keeper(Vec<VirtQueue>);

impl VirtioDevice for Keeper {
    fn id(&self) -> DeviceId {
        DeviceId::Entropy
    }
    fn features(&self) -> u64 {
        5
    }
    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE, 2 * QUEUE_SIZE]
    }
    fn config_space(&self) -> &[u8] {
        &[1, 2, 3]
    }
    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        self.0 = activation.queues;
        Ok(())
    }
    fn reset(&mut self) -> Vec<VirtQueue> {
        std::mem::take(&mut self.0)
    }
    fn save(&self) -> DeviceState {
        DeviceState::Entropy
    }
}

/// A device's window: three bytes are an offset and the value written there, as most registers take
/// small numbers; then its state, of which a second device is made.
pub fn registers(bytes: &[u8]) {
    let memory = memory_with(&[]);
    let make = || MmioTransport::new(Box::<Keeper>::default(), memory.clone()).expect("eventfds");
    let mut transport = make();
    for step in bytes.as_chunks::<3>().0 {
        let at = u64::from(step[0]) * 2;
        let value = u32::from(u16::from_le_bytes([step[1], step[2]]));
        transport.write(at, &value.to_le_bytes());
        transport.read(at, &mut [0; 4]);
        transport.read(at, &mut [0; 8]);
    }
    let state = transport.save();
    let mut again = make();
    again.restore(&state).expect("a device's own state");
    assert_eq!(again.save(), state, "a device made again is what it was");
}
