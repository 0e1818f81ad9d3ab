//! The devices of a machine, assembled as for one that boots, and both sides around them: a guest's memory and
//! vCPUs, and the host's files and sockets.
//!
//! ```text
//!   vCPU: write, read ─▶ Bus ─▶ MmioTransport ─▶ disk of layers │ writable disk │ vsock │ entropy │ net
//!   memory: a Driver for each queue, honest or not               files           hosts           peer
//! ```

use crate::arch::layout::device_slot;
use crate::boot;
use crate::bus::Bus;
use crate::config::{DiskConfig, FdSlot, FileExtent, NetworkDevice};
use crate::threads::{ThreadKind, Threads};
use crate::virtio::test_driver::{Buffer, Driver};
use crate::virtio::vsock::Offers;
use crate::virtio::{Memory, MmioTransport, VirtioDevice, offset};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

/// The disk of layers, the writable disk, vsock, entropy, net.
pub(crate) const DEVICES: u8 = 5;
pub(super) const LAYERS: u8 = 0;
pub(super) const UPPER: u8 = 1;
pub(super) const VSOCK: u8 = 2;
pub(super) const ENTROPY: u8 = 3;
pub(super) const NET: u8 = 4;

/// Each queue: its device, its index there, its size.
pub(super) const QUEUES: [(u8, u32, u16); 8] = [
    (LAYERS, 0, 256),
    (UPPER, 0, 256),
    (VSOCK, 0, 256),
    (VSOCK, 1, 256),
    (VSOCK, 2, 256),
    (ENTROPY, 0, 64),
    (NET, 0, 256),
    (NET, 1, 256),
];
const RECEIVE: usize = 2;
const TRANSMIT: usize = 3;
const RANDOM: usize = 5;
const FRAMES_IN: usize = 6;
const FRAMES_OUT: usize = 7;

const QUEUE_BYTES: u64 = 0x2000;
/// The honest driver's rings begin at 0 and end here.
pub(super) const RINGS_END: u64 = QUEUE_BYTES * QUEUES.len() as u64;
const HEADER: u64 = 0x1_0000;
const STATUS: u64 = 0x1_0100;
const DATA: u64 = 0x1_1000;
const PACKET: u64 = 0x1_3000;
const RECEIVED: u64 = 0x1_4000;
/// The honest driver names nothing from here on.
pub(super) const HONEST_END: u64 = 0x1_8000;

/// Both files are longer than the disks made of them: their neighbours are nobody's to touch.
const FILE_BYTES: usize = 48 << 10;
const LAYERS_EXTENTS: [(u64, u64); 2] = [(4096, 4096), (12 << 10, 16 << 10)];
const UPPER_EXTENT: (u64, u64) = (8 << 10, 32 << 10);
const SECTOR_BYTES: usize = 512;
const VERSION_1: u32 = 1;
/// What the honest driver accepts of the network device: packets in several buffers.
pub(super) const MERGES: u32 = 1 << 15;
const FRAME_BYTES: u32 = 2500;
/// A port of the host's that the honest driver connects to.
const HONEST_PORT: u32 = 9;
pub(super) const PACKET_HEADER_BYTES: u32 = 44;

/// How often a thread that serves a device has panicked: its crew bears that, and no test may.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A machine's devices.
pub(crate) struct Machine {
    /// Guest memory.
    pub memory: Memory,
    /// The driver's side of each of [`QUEUES`].
    pub drivers: Vec<Driver>,
    /// The other ends of the guest's connections, and of offers for some.
    pub hosts: Vec<UnixStream>,
    /// Who is at the other end of the network; `None` once they are gone.
    pub peer: Option<OwnedFd>,
    /// The device's end of it.
    connection: OwnedFd,
    /// What the guest may connect to.
    pub offers: Offers,
    notify: Vec<EventFd>,
    lines: Vec<EventFd>,
    layers: File,
    upper: File,
    bus: Bus,
}

/// Where the honest driver has the rings of a queue.
pub(super) fn rings_of(queue: usize) -> Range<u64> {
    let base = QUEUE_BYTES * queue as u64;
    base..base + QUEUE_BYTES
}

/// The byte at a place of a file of ours.
fn byte_at(place: usize) -> u8 {
    (place % 251) as u8
}

fn file() -> File {
    let mut file = File::from(memfd_create("disk", MemfdFlags::CLOEXEC).expect("a file in memory"));
    let bytes: Vec<u8> = (0..FILE_BYTES).map(byte_at).collect();
    file.write_all(&bytes).expect("memory takes them");
    file
}

fn disk(file: u32, extents: &[(u64, u64)], writable: bool) -> DiskConfig {
    let extent = |&(offset, length)| FileExtent { file: FdSlot(file), offset, length };
    let extents = extents.iter().map(extent).collect();
    DiskConfig { serial: format!("disk{file}"), extents, writable, more: None }
}

fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let kinds =
                [ThreadKind::Block, ThreadKind::Vsock, ThreadKind::Entropy, ThreadKind::Net];
            let thread = std::thread::current();
            if kinds.iter().any(|kind| thread.name() == Some(kind.name())) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
}

impl Machine {
    /// How much memory it has.
    pub const MEMORY_BYTES: u64 = 256 << 10;

    /// A machine that has just been made, over memory of zeroes.
    pub fn new(memory: Memory) -> Self {
        count_panics();
        let (layers, upper) = (file(), file());
        let disks = [disk(0, &LAYERS_EXTENTS, false), disk(1, &[UPPER_EXTENT], true)];
        let files = [&layers, &upper];
        let files = files.map(|file| OwnedFd::from(file.try_clone().expect("a descriptor")));
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (peer, connection) = pair.expect("a socket pair");
        let ours = connection.try_clone().expect("a descriptor");
        let files: Vec<OwnedFd> = files.into_iter().chain([ours]).collect();
        let network = NetworkDevice { mac: [2; 6], mtu: 1500, connection: FdSlot(2) };
        let (offers, threads) = (Offers::new(), Threads::unconfined());
        let devices = boot::devices(&disks, &files, offers.clone(), threads);
        let mut devices: Vec<Box<dyn VirtioDevice>> = devices.expect("sound devices");
        devices.push(Box::new(boot::network(&network, &files, threads).expect("a sound link")));
        let transport = |device| MmioTransport::new(device, memory.clone()).expect("eventfds");
        let transports: Vec<_> = devices.into_iter().map(transport).collect();
        let clone = |event: &EventFd| event.try_clone().expect("a descriptor");
        let notify = transports.iter().flat_map(MmioTransport::notify_events);
        let notify = notify.map(|event| clone(event)).collect();
        let lines = transports.iter().map(|transport| clone(transport.line())).collect();
        let bus = Bus::new(memory.clone(), transports, None);
        let (drivers, hosts, peer) = (Vec::new(), Vec::new(), Some(peer));
        let mut machine = Self {
            memory,
            drivers,
            hosts,
            peer,
            connection,
            offers,
            notify,
            lines,
            layers,
            upper,
            bus,
        };
        machine.drivers = (0..QUEUES.len()).map(|queue| machine.driver(queue)).collect();
        machine
    }

    /// A driver that knows nothing of what was, its events those that KVM would have.
    fn driver(&self, queue: usize) -> Driver {
        let (device, _, size) = QUEUES[queue];
        let mut driver = Driver::new(&self.memory, rings_of(queue).start, size);
        driver.kick = self.notify[queue].try_clone().expect("a descriptor");
        driver.call = self.lines[usize::from(device)].try_clone().expect("a descriptor");
        driver
    }

    /// A vCPU writes to a device's window.
    pub fn write(&mut self, device: u8, at: u64, data: &[u8]) {
        if device == VSOCK && at == offset::STATUS && data == [0; 4] {
            // A device that is reset waits for hosts that are slow: these are gone.
            self.hosts.clear();
        }
        self.bus.write(device_slot(device).address + at, data);
    }

    /// A vCPU reads from it.
    pub fn read(&self, device: u8, at: u64, data: &mut [u8]) {
        self.bus.read(device_slot(device).address + at, data);
    }

    /// Writes a register.
    pub fn set(&mut self, device: u8, register: u64, value: u32) {
        self.write(device, register, &value.to_le_bytes());
    }

    /// Reads a register.
    pub fn get(&self, device: u8, register: u64) -> u32 {
        let mut word = [0; 4];
        self.read(device, register, &mut word);
        u32::from_le_bytes(word)
    }

    /// Notifies a queue as a vCPU does where KVM does not listen.
    pub fn notify(&mut self, device: u8, queue: u32) {
        self.set(device, offset::QUEUE_NOTIFY, queue);
    }

    /// Resets a device: it says that it is.
    pub fn reset(&mut self, device: u8) {
        self.set(device, offset::STATUS, 0);
        assert_eq!(self.get(device, offset::STATUS), 0, "device {device} is not reset");
    }

    /// Sets a device up as the specification says, from its reset to its readiness.
    pub fn start(&mut self, device: u8) {
        self.start_with(device, if device == NET { MERGES } else { 0 });
    }

    /// The same, by a driver that accepts these of the lower features.
    pub fn start_with(&mut self, device: u8, accepted: u32) {
        self.set(device, offset::STATUS, 3);
        for (half, features) in [(0, accepted), (1, VERSION_1)] {
            self.set(device, offset::DRIVER_FEATURES_SELECT, half);
            self.set(device, offset::DRIVER_FEATURES, features);
        }
        self.set(device, offset::STATUS, 11);
        for (queue, (owner, index, size)) in QUEUES.into_iter().enumerate() {
            if owner == device {
                let base = rings_of(queue).start;
                let zeroes = [0u8; QUEUE_BYTES as usize];
                self.memory.write_slice(&zeroes, GuestAddress(base)).expect("it is memory");
                self.drivers[queue] = self.driver(queue);
                self.place(device, index, u32::from(size), base, queue);
            }
        }
        self.set(device, offset::STATUS, 15);
    }

    fn place(&mut self, device: u8, index: u32, size: u32, base: u64, queue: usize) {
        let driver = &self.drivers[queue];
        let (available, used) = (driver.available_ring(), driver.used_ring());
        self.set(device, offset::QUEUE_SELECT, index);
        self.set(device, offset::QUEUE_SIZE, size);
        for (register, address) in [
            (offset::QUEUE_DESCRIPTORS, base),
            (offset::QUEUE_DRIVER, available),
            (offset::QUEUE_DEVICE, used),
        ] {
            self.set(device, register, address as u32);
            self.set(device, register + 4, (address >> 32) as u32);
        }
        self.set(device, offset::QUEUE_READY, 1);
    }

    /// All of guest memory.
    pub fn bytes(&self) -> Vec<u8> {
        self.data(0, Self::MEMORY_BYTES as usize)
    }

    fn data(&self, address: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).expect("it is memory");
        bytes
    }

    /// Has an honest driver reset each device and use it: it does what it is for, and touches no more
    /// memory than it was given. No neighbour of a disk has changed, nor any layer.
    pub fn is_well(&mut self) {
        (0..DEVICES).for_each(|device| self.reset(device));
        // What was on its way both ways is no longer.
        self.peer.iter().chain([&self.connection]).for_each(|end| _ = drain_packets(end));
        let before = self.bytes();
        for device in 0..DEVICES {
            self.start(device);
            assert_eq!(self.get(device, offset::STATUS), 15, "device {device} does not start");
        }
        self.reads_layers();
        self.writes_upper();
        self.connects();
        self.draws_random_bytes();
        self.sends_a_frame();
        self.receives_a_frame();
        let after = self.bytes();
        for part in [RINGS_END as usize..HEADER as usize, HONEST_END as usize..before.len()] {
            assert!(before[part.clone()] == after[part], "memory that nobody named has changed");
        }
        (0..DEVICES).for_each(|device| self.reset(device));
        self.has_whole_files();
        assert_eq!(PANICS.load(Ordering::SeqCst), 0, "a device's thread has panicked");
    }

    /// One request; gives its status.
    fn asks_disk(&mut self, device: u8, kind: u32, sector: u64, data: Buffer) -> u8 {
        self.memory.write_obj(kind, GuestAddress(HEADER)).expect("memory");
        self.memory.write_obj(sector, GuestAddress(HEADER + 8)).expect("memory");
        self.memory.write_obj(0xffu8, GuestAddress(STATUS)).expect("memory");
        let driver = &mut self.drivers[usize::from(device)];
        driver.add(&[(HEADER, 16, false), data, (STATUS, 1, true)]);
        driver.wait_used();
        self.memory.read_obj(GuestAddress(STATUS)).expect("memory")
    }

    /// A sector on the border of two stretches; and no write.
    fn reads_layers(&mut self) {
        let status = self.asks_disk(LAYERS, 0, 7, (DATA, 1024, true));
        let found = self.data(DATA, 1024);
        let places = (8192 - SECTOR_BYTES..8192).chain(12 << 10..(12 << 10) + SECTOR_BYTES);
        let wanted: Vec<u8> = places.map(byte_at).collect();
        assert!((status, found) == (0, wanted), "layers are read as something else");
        assert_eq!(self.asks_disk(LAYERS, 1, 0, (DATA, 512, false)), 1, "layers are written to");
    }

    fn writes_upper(&mut self) {
        self.memory.write_slice(&[0xc3; SECTOR_BYTES], GuestAddress(DATA)).expect("memory");
        assert_eq!(self.asks_disk(UPPER, 1, 63, (DATA, 512, false)), 0, "a write fails");
        assert_eq!(self.asks_disk(UPPER, 0, 63, (DATA + 512, 512, true)), 0, "a read fails");
        let found = self.data(DATA + 512, SECTOR_BYTES);
        assert!(found == [0xc3; SECTOR_BYTES], "what was written is read as something else");
        assert_eq!(self.asks_disk(UPPER, 1, 64, (DATA, 512, false)), 1, "a write beyond the end");
    }

    fn connects(&mut self) {
        self.offers.withdraw(HONEST_PORT);
        let host = self.offer(HONEST_PORT);
        let header = packet([1000, HONEST_PORT], 0, 1, [0, 1 << 16, 0]);
        self.memory.write_slice(&header, GuestAddress(PACKET)).expect("memory");
        self.drivers[RECEIVE].add(&[(RECEIVED, 4096, true)]);
        self.drivers[TRANSMIT].add(&[(PACKET, PACKET_HEADER_BYTES, false)]);
        self.drivers[TRANSMIT].wait_used();
        assert_eq!(self.drivers[RECEIVE].wait_used().1, PACKET_HEADER_BYTES, "a bare header");
        let operation: u16 = self.memory.read_obj(GuestAddress(RECEIVED + 30)).expect("memory");
        assert_eq!(operation, 2, "the connection is not accepted");
        drop(host);
    }

    fn draws_random_bytes(&mut self) {
        self.drivers[RANDOM].add(&[(DATA, 64, true)]);
        assert_eq!(self.drivers[RANDOM].wait_used().1, 64, "random bytes are missing");
    }

    /// What it sends comes out as it is; where nobody is there any more it is lost.
    fn sends_a_frame(&mut self) {
        let packet = packet_of(0x3e);
        self.memory.write_slice(&packet, GuestAddress(DATA)).expect("memory");
        self.drivers[FRAMES_OUT].add(&[(DATA, 12, false), (DATA + 12, FRAME_BYTES, false)]);
        self.drivers[FRAMES_OUT].wait_used();
        if let Some(peer) = &self.peer {
            assert!(drain_packets(peer) == [packet], "a frame does not come out as it is");
        }
    }

    /// What it is sent comes in, in as many buffers as it needs.
    fn receives_a_frame(&mut self) {
        let Some(peer) = &self.peer else { return };
        let packet = packet_of(0x5f);
        let driver = &mut self.drivers[FRAMES_IN];
        for buffer in [RECEIVED, RECEIVED + 2048] {
            driver.add(&[(buffer, 2048, true)]);
        }
        send(peer, &packet, SendFlags::NOSIGNAL).expect("it takes one");
        let written = [driver.wait_used().1, driver.wait_used().1];
        assert_eq!(written, [2048, 12 + FRAME_BYTES - 2048], "a frame comes in otherwise");
        let found = self.data(RECEIVED, packet.len());
        assert!(found[..10] == packet[..10] && found[12..] == packet[12..], "another frame came");
        assert_eq!(found[10..12], [2, 0], "its buffers are not counted");
    }

    /// The network says something of a length, unless it is gone or has said too much.
    pub fn speaks(&self, length: usize) {
        let mut packet = vec![0xe7; length];
        packet.iter_mut().take(12).for_each(|byte| *byte = 0);
        let _ = self.peer.as_ref().map(|peer| send(peer, &packet, SendFlags::NOSIGNAL));
    }

    /// Offers the guest a connection; gives the host's end.
    pub fn offer(&self, port: u32) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        ours.set_nonblocking(true).expect("a socket of ours");
        // Where too many wait it is closed, which is an end like any other.
        let _ = self.offers.offer(port, theirs.into());
        ours
    }

    fn has_whole_files(&self) {
        let changed = |file: &File| {
            let mut bytes = vec![0; FILE_BYTES];
            file.read_exact_at(&mut bytes, 0).expect("it is that long");
            (0..FILE_BYTES).filter(move |place| bytes[*place] != byte_at(*place))
        };
        assert_eq!(changed(&self.layers).next(), None, "a layer has changed");
        let (first, length) = UPPER_EXTENT;
        let inside = first..first + length;
        let outside = changed(&self.upper).find(|place| !inside.contains(&(*place as u64)));
        assert_eq!(outside, None, "a neighbour of the disk has changed");
        let length = self.upper.metadata().expect("a file of ours").len();
        assert_eq!(length, FILE_BYTES as u64, "the disk's file has another length");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // So that no device waits for them.
        self.hosts.clear();
    }
}

/// A packet's header: guest's and host's port, length, operation; flags, room and how much was taken.
pub(super) fn packet(ports: [u32; 2], length: u32, operation: u16, rest: [u32; 3]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend([3u64, 2].map(u64::to_le_bytes).concat());
    header.extend(ports.map(u32::to_le_bytes).concat());
    header.extend(length.to_le_bytes());
    header.extend([1, operation].map(u16::to_le_bytes).concat());
    header.extend(rest.map(u32::to_le_bytes).concat());
    header
}

/// Reads what a host has been sent, so that it may be sent more.
pub(super) fn drain(host: &mut UnixStream) {
    let mut bytes = [0; 4096];
    while host.read(&mut bytes).is_ok_and(|count| count > 0) {}
}

/// A packet of the network: an empty header, and a frame of one byte again and again.
fn packet_of(byte: u8) -> Vec<u8> {
    let mut packet = vec![byte; 12 + FRAME_BYTES as usize];
    packet[..12].fill(0);
    packet
}

/// Reads what one end of the network has been sent.
pub(super) fn drain_packets(end: &OwnedFd) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut bytes = vec![0; 1 << 17];
    while let Ok((_, length)) = recv(end, bytes.as_mut_slice(), RecvFlags::DONTWAIT)
        && length > 0
    {
        packets.push(bytes[..length].to_vec());
    }
    packets
}
