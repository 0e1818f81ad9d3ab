#![allow(clippy::cast_possible_truncation, reason = "small numbers of a test")]

use super::extents::{DiskError, Extents};
use super::request::{Limits, Parsed, Range, Request, Status};
use super::worker::{THREADS, Work, Workers};
use super::{Block, SECTOR_BYTES};
use crate::config::{DiskConfig, FdSlot, FileExtent};
use crate::threads::{Crew, ThreadKind, Threads};
use crate::virtio::buffers::{Buffers, Slices};
use crate::virtio::test_driver::{Buffer, Driver, memory};
use crate::virtio::{Activation, DeviceState, Memory, VirtioDevice};
use proptest::prelude::*;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress, GuestMemory};

const HEADER: u64 = 0x8000;
const STATUS: u64 = 0x9000;
const DATA: u64 = 0x1_0000;

pub(super) fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn extent(file: u32, offset: u64, length: u64) -> FileExtent {
    FileExtent { file: FdSlot(file), offset, length }
}

fn config(extents: Vec<FileExtent>, writable: bool) -> DiskConfig {
    DiskConfig { serial: "layers".into(), extents, writable, more: None }
}

/// A disk with its driver: one chain at a time.
struct Rig {
    disk: Block,
    driver: Driver,
    memory: Memory,
}

impl Rig {
    fn new(config: &DiskConfig, files: Vec<OwnedFd>) -> Self {
        let memory = memory(4 << 20);
        let driver = Driver::new(&memory, 0, 256);
        let mut disk = Block::new(config, &files, Threads::unconfined()).unwrap();
        let queues = vec![driver.queue()];
        disk.activate(Activation { memory: memory.clone(), queues, features: 0 }).unwrap();
        Self { disk, driver, memory }
    }

    fn header(&self, kind: u32, sector: u64) {
        self.memory.write_obj(kind, GuestAddress(HEADER)).unwrap();
        self.memory.write_obj(sector, GuestAddress(HEADER + 8)).unwrap();
    }

    /// One request with one data buffer; gives its status and what the device says it wrote.
    fn request(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> (u8, u32) {
        self.header(kind, sector);
        self.memory.write_obj(0xffu8, GuestAddress(STATUS)).unwrap();
        let mut buffers = vec![(HEADER, 16, false)];
        buffers.extend_from_slice(data);
        buffers.push((STATUS, 1, true));
        self.driver.add(&buffers);
        let (_, written) = self.driver.wait_used();
        (self.memory.read_obj(GuestAddress(STATUS)).unwrap(), written)
    }

    fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }
}

fn writable_rig(bytes: &[u8]) -> (Rig, File) {
    let file = file_of(bytes);
    let config = config(vec![extent(0, 0, bytes.len() as u64)], true);
    let rig = Rig::new(&config, vec![file.try_clone().unwrap().into()]);
    (rig, file)
}

#[test]
fn a_read_crosses_from_one_file_to_the_next() {
    let first: Vec<u8> = (0..8192u32).map(|i| i as u8).collect();
    let second = vec![9u8; 8192];
    let files = vec![file_of(&first).into(), file_of(&second).into()];
    let config = config(vec![extent(0, 4096, 4096), extent(1, 0, 4096)], false);
    let mut rig = Rig::new(&config, files);
    let (status, written) = rig.request(0, 7, &[(DATA, 512, true), (DATA + 512, 512, true)]);
    assert_eq!((status, written), (0, 1025));
    assert_eq!(rig.bytes(DATA, 512), first[7680..]);
    assert_eq!(rig.bytes(DATA + 512, 512), second[..512]);
}

#[test]
fn a_write_crosses_from_one_file_to_the_next_and_is_flushed() {
    let files = [file_of(&[0; 4096]), file_of(&[0; 8192])];
    let copies = files.iter().map(|file| file.try_clone().unwrap().into()).collect();
    let mut rig = Rig::new(&config(vec![extent(0, 0, 4096), extent(1, 4096, 4096)], true), copies);
    rig.memory.write_slice(&[7; 1024], GuestAddress(DATA)).unwrap();
    assert_eq!(rig.request(1, 7, &[(DATA, 1024, false)]), (0, 1));
    assert_eq!(rig.request(4, 0, &[]), (0, 1));
    for (mut file, places) in files.iter().zip([3584..4096, 4096..4608]) {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).unwrap();
        assert!(bytes.iter().enumerate().all(|(at, it)| (*it == 7) == places.contains(&at)));
    }
}

#[test]
fn what_is_written_is_in_the_file_and_read_again() {
    let (mut rig, mut file) = writable_rig(&[0; 16384]);
    rig.memory.write_slice(&[0xab; 1024], GuestAddress(DATA)).unwrap();
    assert_eq!(rig.request(1, 3, &[(DATA, 1024, false)]), (0, 1));
    assert_eq!(rig.request(4, 0, &[]), (0, 1));
    assert_eq!(rig.request(0, 4, &[(DATA + 4096, 512, true)]), (0, 513));
    assert_eq!(rig.bytes(DATA + 4096, 512), [0xab; 512]);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let ours: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, b)| **b != 0).map(|(i, _)| i).collect();
    assert_eq!((ours.first(), ours.last(), ours.len()), (Some(&1536), Some(&2559), 1024));
}

#[test]
fn a_read_only_disk_says_so_and_refuses_what_writes() {
    let files = vec![file_of(&[5; 4096]).into()];
    let mut rig = Rig::new(&config(vec![extent(0, 0, 4096)], false), files);
    assert_ne!(rig.disk.features() & 1 << 5, 0, "VIRTIO_BLK_F_RO");
    assert_eq!(rig.disk.features() & (1 << 13 | 1 << 14), 0, "no discard, no write-zeroes");
    assert_eq!(rig.request(1, 0, &[(DATA, 512, false)]), (1, 1));
    assert_eq!(rig.request(11, 0, &[(DATA, 16, false)]), (1, 1));
    assert_eq!(rig.request(13, 0, &[(DATA, 16, false)]), (1, 1));
    assert_eq!(rig.request(4, 0, &[]), (0, 1));
}

#[test]
fn the_serial_number_is_told_and_cut_to_the_buffer() {
    let files = vec![file_of(&[0; 4096]).into()];
    let mut rig = Rig::new(&config(vec![extent(0, 0, 4096)], false), files);
    assert_eq!(rig.request(8, 0, &[(DATA, 20, true)]), (0, 21));
    assert_eq!(rig.bytes(DATA, 20), *b"layers\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(rig.request(8, 0, &[(DATA, 3, true)]), (0, 4));
}

#[test]
fn what_lies_outside_or_is_no_whole_sector_is_an_error() {
    let (mut rig, _file) = writable_rig(&[1; 8192]);
    for (kind, sector, length) in [
        (0, 16, 512),
        (0, 15, 1024),
        (0, u64::MAX, 512),
        (0, 1 << 55, 512),
        (0, 0, 100),
        (0, 0, 513),
    ] {
        assert_eq!(rig.request(kind, sector, &[(DATA, length, true)]).0, 1, "{sector} {length}");
        assert_eq!(rig.request(1, sector, &[(DATA, length, false)]).0, 1, "{sector} {length}");
    }
    assert_eq!(rig.request(99, 0, &[]).0, 2, "an unknown type");
    assert_eq!(rig.request(0, 0, &[(DATA, 512, false)]).0, 1, "a read into what the device reads");
    assert_eq!(rig.request(1, 0, &[(DATA, 512, true)]).0, 1, "a write from what the device writes");
}

fn range(rig: &Rig, index: u64, sector: u64, sectors: u32, flags: u32) {
    let at = DATA + 16 * index;
    rig.memory.write_obj(sector, GuestAddress(at)).unwrap();
    rig.memory.write_obj(sectors, GuestAddress(at + 8)).unwrap();
    rig.memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
}

#[test]
fn discarded_and_zeroed_ranges_read_as_zero() {
    let (mut rig, file) = writable_rig(&vec![7; 1 << 20]);
    let blocks = || std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
    let before = blocks();
    range(&rig, 0, 0, 1024, 0);
    assert_eq!(rig.request(11, 0, &[(DATA, 16, false)]).0, 0);
    assert!(blocks() + 900 < before, "no space was given back");
    for (sector, flags) in [(1100, 0), (1200, 1)] {
        range(&rig, 0, sector, 2, flags);
        assert_eq!(rig.request(13, 0, &[(DATA, 16, false)]).0, 0);
        assert_eq!(rig.request(0, sector - 1, &[(DATA + 4096, 2048, true)]).0, 0);
        let bytes = rig.bytes(DATA + 4096, 2048);
        assert!(
            bytes[..512] == [7; 512] && bytes[512..1536] == [0; 1024] && bytes[1536..] == [7; 512]
        );
    }
    range(&rig, 0, 2047, 2, 0);
    assert_eq!(rig.request(11, 0, &[(DATA, 16, false)]).0, 1, "beyond the end");
    range(&rig, 0, 0, 1, 1);
    assert_eq!(rig.request(11, 0, &[(DATA, 16, false)]).0, 2, "a discard has no flags");
    assert_eq!(rig.request(11, 0, &[(DATA, 15, false)]).0, 1, "no whole range");
    (0..32).for_each(|index| range(&rig, index, 0, 1, 0));
    assert_eq!(rig.request(11, 0, &[(DATA, 32 * 16, false)]).0, 0);
    assert_eq!(rig.request(11, 0, &[(DATA, 33 * 16, false)]).0, 1, "too many ranges");
    assert_eq!(rig.request(13, 0, &[(DATA, 2 * 16, false)]).0, 1, "more than one to zero");
}

/// Where the host cannot zero a range at once, each byte is written, and a reset waits for it.
#[test]
fn one_request_zeroes_no_more_than_its_limit() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 30).unwrap();
    let mut rig = Rig::new(&config(vec![extent(0, 0, 1 << 30)], true), vec![file.into()]);
    let told =
        |at: usize| u32::from_le_bytes(*rig.disk.config_space()[at..].first_chunk().unwrap());
    let (sectors, ranges) = (told(48), told(52));
    assert!(u64::from(sectors) * u64::from(ranges) * SECTOR_BYTES <= 64 << 20);
    for (length, status) in [(sectors, 0), (sectors + 1, 1)] {
        range(&rig, 0, 0, length, 1);
        assert_eq!(rig.request(13, 0, &[(DATA, 16, false)]).0, status, "{length} sectors");
    }
}

/// Requests of which none waits for the one before; gives their heads. Even ones read sector 0.
fn many(driver: &mut Driver, count: u64, odd_kind: u32) -> Vec<u16> {
    let memory = driver.memory.clone();
    let buffers = |index| {
        let header = 0x10_0000 + 16 * index;
        let kind = if index % 2 == 0 { 0 } else { odd_kind };
        memory.write_obj(kind, GuestAddress(header)).unwrap();
        memory.write_obj(0u64, GuestAddress(header + 8)).unwrap();
        let mut buffers = vec![(header, 16, false)];
        if kind == 0 {
            buffers.push((0x20_0000 + 512 * index, 512, true));
        }
        buffers.push((0x18_0000 + index, 1, true));
        buffers
    };
    (0..count).map(|index| driver.add(&buffers(index))).collect()
}

#[test]
fn requests_of_several_threads_are_each_answered_once() {
    let (mut rig, _file) = writable_rig(&[6; 64 << 10]);
    let mut heads = many(&mut rig.driver, 60, 4);
    let mut used: Vec<u16> = heads.iter().map(|_| rig.driver.wait_used().0).collect();
    used.sort_unstable();
    heads.sort_unstable();
    assert_eq!(used, heads);
    assert_eq!(rig.bytes(0x18_0000, 60), [0; 60], "statuses");
    assert_eq!(rig.bytes(0x20_0000 + 58 * 512, 512), [6; 512]);
    many(&mut rig.driver, 60, 0);
    let queues = rig.disk.reset();
    let queue = &queues[0].queue;
    assert_eq!(queue.next_avail(), queue.next_used(), "a request is half done");
}

#[test]
fn threads_are_called_only_where_there_is_work_for_them() {
    let memory = memory(4 << 20);
    let mut driver = Driver::new(&memory, 0, 256);
    let config = config(vec![extent(0, 0, 8192)], true);
    let disk = Extents::open(&config, &[file_of(&[1; 8192]).into()]).unwrap();
    let work = Work { disk: disk.into(), serial: [0; 20], writable: true, memory: memory.clone() };
    let crew = Crew::start(Threads::unconfined(), ThreadKind::Block, THREADS).unwrap();
    let workers = Workers::start(work, driver.queue(), crew.tasks()).unwrap();
    for _ in 0..3 {
        many(&mut driver, 1, 0);
        driver.wait_used();
    }
    assert_eq!(workers.thread_count(), 1, "one request after the other");
    many(&mut driver, 2, 4);
    (0..2).for_each(|_| _ = driver.wait_used());
    assert_eq!(workers.thread_count(), 2, "somebody hears the driver while the host flushes");
    for _ in 0..20 {
        many(&mut driver, 60, 4);
        (0..60).for_each(|_| _ = driver.wait_used());
    }
    assert!((2..=4).contains(&workers.thread_count()), "{}", workers.thread_count());
    let queue = workers.stop().expect("every thread has ended").queue;
    assert_eq!((queue.next_avail(), queue.next_used()), (1205, 1205));
}

#[test]
fn a_file_that_became_shorter_is_an_error_not_an_end() {
    let (mut rig, file) = writable_rig(&[1; 8192]);
    file.set_len(4096).unwrap();
    assert_eq!(rig.request(0, 7, &[(DATA, 512, true)]).0, 0);
    assert_eq!(rig.request(0, 7, &[(DATA, 1024, true)]).0, 1);
}

#[test]
fn malformed_chains_come_back_and_the_disk_goes_on() {
    let (mut rig, _file) = writable_rig(&[1; 8192]);
    rig.header(0, 0);
    let malformed: &[&[Buffer]] = &[
        &[(HEADER, 16, false)],
        &[(STATUS, 1, true)],
        &[(HEADER, 15, false), (STATUS, 1, true)],
        &[(HEADER, 16, false), (0xffff_ffff_0000, 512, true), (STATUS, 1, true)],
        &[(HEADER, 16, false), ((4 << 20) - 8, 512, true), (STATUS, 1, true)],
        &[(HEADER, 16, false), (u64::MAX - 4, 512, true), (STATUS, 1, true)],
        &[(STATUS, 1, true), (HEADER, 16, false)],
        &[(HEADER, 0, false), (STATUS, 0, true)],
    ];
    for buffers in malformed {
        rig.driver.add(buffers);
        let (_, written) = rig.driver.wait_used();
        assert!(written <= 1, "{buffers:x?}: {written}");
    }
    assert_eq!(rig.request(0, 0, &[(DATA, 512, true)]), (0, 513));
    // A header in crumbs is as good as one in a piece.
    rig.header(0, 1);
    let crumbs: Vec<Buffer> = (0..16).map(|i| (HEADER + i, 1, false)).collect();
    let rest = [(DATA, 500, true), (DATA + 500, 13, true)];
    rig.driver.add(&[crumbs.as_slice(), rest.as_slice()].concat());
    assert_eq!(rig.driver.wait_used().1, 513);
}

#[test]
fn a_chain_in_a_circle_and_a_ring_that_lies_do_no_harm() {
    let (mut rig, _file) = writable_rig(&[1; 8192]);
    rig.driver.descriptor(200, HEADER, 16, 1, 201);
    rig.driver.descriptor(201, HEADER, 16, 1, 200);
    rig.driver.publish(200);
    std::thread::sleep(std::time::Duration::from_millis(50));
    rig.driver.set_available_index(5000);
    rig.driver.kick.write(1).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let queues = rig.disk.reset();
    assert_eq!(queues.len(), 1, "the thread ended and gave its queue back");
}

#[test]
fn a_reset_gives_the_queue_back_and_it_goes_on_where_it_was() {
    let (mut rig, _file) = writable_rig(&[3; 8192]);
    assert_eq!(rig.request(0, 0, &[(DATA, 512, true)]), (0, 513));
    let queues = rig.disk.reset();
    assert_eq!(rig.disk.save(), DeviceState::Block { bytes: 8192, writable: true });
    assert!(rig.disk.reset().is_empty(), "a second reset has nothing to give");
    rig.disk.activate(Activation { memory: rig.memory.clone(), queues, features: 0 }).unwrap();
    assert_eq!(rig.request(0, 8, &[(DATA + 512, 512, true)]), (0, 513));
    assert_eq!(rig.bytes(DATA, 1024), [3; 1024]);
}

#[test]
fn configurations_that_fit_no_file_are_refused() {
    let files = || vec![OwnedFd::from(file_of(&[0; 8192]))];
    let open = |config: DiskConfig| Extents::open(&config, &files()).map(|_| ());
    assert!(matches!(open(config(vec![], false)), Err(DiskError::Empty { .. })));
    let two = vec![extent(0, 0, 4096), extent(0, 4096, 4096)];
    assert!(open(config(two, false)).is_ok());
    assert!(matches!(open(config(vec![extent(1, 0, 4096)], false)), Err(DiskError::NoFile { .. })));
    for (offset, length) in [(0, 0), (0, 100), (4096, 8192), (u64::MAX, 4096), (8192, 4096)] {
        let refused = open(config(vec![extent(0, offset, length)], false));
        assert!(matches!(refused, Err(DiskError::Bounds { .. })), "{offset} {length}");
    }
    for serial in ["", "two words", "123456789012345678901", "naïve"] {
        let named = DiskConfig { serial: serial.into(), ..config(vec![extent(0, 0, 4096)], false) };
        assert!(matches!(open(named), Err(DiskError::Serial(_))), "{serial}");
    }
}

/// Reads a request of a disk of 16 sectors out of a chain: header, data, status.
fn parse(memory: &Memory, kind: u32, sector: u64, data: Buffer) -> Result<(), Status> {
    memory.write_obj(kind, GuestAddress(HEADER)).unwrap();
    memory.write_obj(sector, GuestAddress(HEADER + 8)).unwrap();
    let mut driver = Driver::new(memory, 0, 16);
    memory.write_obj(0u16, GuestAddress(driver.available_ring() + 2)).unwrap();
    driver.add(&[(HEADER, 16, false), data, (STATUS, 1, true)]);
    let mut chain = driver.queue().take(memory).unwrap();
    let buffers = Buffers::of_chain(memory, &mut chain).unwrap();
    let limits = Limits { length: 8192, writable: true };
    Parsed::read(buffers, limits).unwrap().request.map(|_| ())
}

#[test]
fn the_last_sector_is_the_last() {
    let memory = memory(1 << 20);
    for (kind, writes) in [(0, true), (1, false)] {
        let at = |sector, length| parse(&memory, kind, sector, (DATA, length, writes));
        assert_eq!(at(15, 512), Ok(()));
        assert_eq!(at(0, 8192), Ok(()));
        assert_eq!(at(16, 512), Err(Status::IoError));
        assert_eq!(at(15, 1024), Err(Status::IoError));
        assert_eq!(at(0, 8704), Err(Status::IoError));
    }
    let range = |kind, sector: u64, sectors: u32| {
        memory.write_obj(sector, GuestAddress(DATA)).unwrap();
        memory.write_obj(u64::from(sectors), GuestAddress(DATA + 8)).unwrap();
        parse(&memory, kind, 0, (DATA, 16, false))
    };
    for kind in [11, 13] {
        assert_eq!(range(kind, 15, 1), Ok(()));
        assert_eq!(range(kind, 0, 16), Ok(()));
        assert_eq!(range(kind, 16, 1), Err(Status::IoError));
        assert_eq!(range(kind, 15, 2), Err(Status::IoError));
        assert_eq!(range(kind, 3, 0), Err(Status::IoError));
        assert_eq!(range(kind, u64::MAX / 512, 1), Err(Status::IoError));
    }
}

fn slices(memory: &Memory, address: u64, length: usize) -> Slices<'_> {
    let mut slices = Slices::default();
    slices.push(memory.get_slice(GuestAddress(address), length).unwrap());
    slices
}

#[derive(Debug, Clone)]
enum Operation {
    Read,
    Write(u8),
    Discard,
    Zero(bool),
}

fn operations() -> impl Strategy<Value = Vec<(Operation, u64, u64)>> {
    let operation = prop_oneof![
        Just(Operation::Read),
        any::<u8>().prop_map(Operation::Write),
        Just(Operation::Discard),
        any::<bool>().prop_map(Operation::Zero),
    ];
    prop::collection::vec((operation, 0u64..34, 1u64..12), 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn extents_behave_as_one_array(lengths in prop::collection::vec(1u64..4, 1..4), steps in operations()) {
        let total: u64 = lengths.iter().map(|l| l * 4096).sum();
        let file = file_of(&vec![0x55; (total + 4096) as usize]);
        let mut next = 4096;
        let extents = lengths.iter().map(|length| {
            let here = extent(0, next, length * 4096);
            next += length * 4096;
            here
        }).collect();
        let disk = Extents::open(&config(extents, false), &[file.into()]).unwrap();
        let memory = memory(1 << 20);
        let mut model = vec![0x55u8; total as usize];
        for (operation, sector, sectors) in steps {
            let (at, length) = (sector * SECTOR_BYTES, sectors * SECTOR_BYTES);
            let inside = at + length <= total;
            let result = match operation {
                Operation::Read => disk.read(at, slices(&memory, 0, length as usize)),
                Operation::Write(byte) => {
                    memory.write_slice(&vec![byte; length as usize], GuestAddress(0)).unwrap();
                    disk.write(at, slices(&memory, 0, length as usize))
                }
                Operation::Discard => disk.discard(at, length),
                Operation::Zero(unmap) => disk.write_zeroes(at, length, unmap),
            };
            prop_assert_eq!(result.is_ok(), inside);
            if !inside { continue }
            let range = at as usize..(at + length) as usize;
            match operation {
                Operation::Read => {
                    let mut bytes = vec![0; length as usize];
                    memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
                    prop_assert_eq!(&bytes, &model[range]);
                }
                Operation::Write(byte) => model[range].fill(byte),
                Operation::Discard | Operation::Zero(_) => model[range].fill(0),
            }
        }
    }

    #[test]
    fn whatever_a_chain_says_a_request_lies_within_the_disk(
        header in prop::collection::vec(any::<u8>(), 0..40),
        kind in prop_oneof![Just(0u32), Just(1), Just(11), Just(13), any::<u32>()],
        sector in prop_oneof![0u64..20, any::<u64>()],
        buffers in prop::collection::vec((0u64..0x2_0000, 0u32..2048, any::<bool>()), 0..8),
    ) {
        let memory = memory(0x1_8000);
        memory.write_slice(&header, GuestAddress(HEADER)).unwrap();
        memory.write_obj(kind, GuestAddress(HEADER)).unwrap();
        memory.write_obj(sector, GuestAddress(HEADER + 8)).unwrap();
        let mut driver = Driver::new(&memory, 0, 16);
        let mut all = vec![(HEADER, 16, false)];
        all.extend(buffers);
        driver.add(&all);
        let mut chain = driver.queue().take(&memory).unwrap();
        let limits = Limits { length: 8192, writable: true };
        let parsed = Buffers::of_chain(&memory, &mut chain).ok().and_then(|b| Parsed::read(b, limits));
        let Some(Parsed { request, status }) = parsed else { return Ok(()) };
        prop_assert_eq!(status.len(), 1);
        let inside = |position: u64, length: u64| position + length <= 8192 && length.is_multiple_of(512);
        match request {
            Ok(Request::Read { position, to: data } | Request::Write { position, from: data }) => {
                prop_assert!(inside(position, data.len() as u64));
            }
            Ok(Request::Discard(ranges) | Request::WriteZeroes(ranges)) => {
                for Range { position, length, .. } in ranges {
                    prop_assert!(length > 0 && inside(position, length));
                }
            }
            Ok(Request::Flush | Request::GetId(_)) | Err(Status::IoError | Status::Unsupported) => {}
            Err(Status::Ok) => prop_assert!(false, "refused with success"),
        }
    }
}
