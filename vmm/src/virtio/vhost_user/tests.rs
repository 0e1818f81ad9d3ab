use super::backend::Backend;
use super::shared_memory::{ShareError, SharedMemory};
use crate::config::{DiskConfig, FdSlot, FileExtent, VhostUserConfig};
use crate::threads::Threads;
use crate::vhost_user_devices::{VhostUserDevices, serve};
use crate::virtio::block::Block;
use crate::virtio::test_driver::Driver;
use crate::virtio::vsock::{EventQueue, Offers, Vsock};
use crate::virtio::{Memory, VirtioDevice};
use crate::vm_exit::{PANIC_MARK, RESET_FLAG_ADDRESS};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserMemoryRegion, VhostUserProtocolFeatures,
};
use vhost::vhost_user::{Frontend, VhostUserBackendReqHandlerMut, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const MIB: u64 = 1 << 20;
/// Where QEMU says it has guest memory.
const USER: u64 = 0x7f00_0000_0000;
const FIVE_SECONDS: Duration = Duration::from_secs(5);

fn memfd(bytes: u64, seals: SealFlags) -> File {
    let file = memfd_create("memory", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&file, bytes).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file.into()
}

fn sealed(bytes: u64) -> File {
    memfd(bytes, SealFlags::SHRINK)
}

fn region(guest: u64, size: u64, user: u64, offset: u64) -> VhostUserMemoryRegion {
    VhostUserMemoryRegion::new(guest, size, user, offset)
}

#[test]
fn user_addresses_become_guest_addresses_region_by_region() {
    let regions = [region(4 * MIB, MIB, USER + 4 * MIB, MIB), region(0, MIB, USER, 0)];
    let files = vec![sealed(2 * MIB), sealed(MIB)];
    let shared = SharedMemory::map(&regions, files).unwrap();
    let at = |user| shared.guest_address(user).map(|address| address.0);
    assert_eq!(at(USER), Some(0));
    assert_eq!(at(USER + MIB - 1), Some(MIB - 1));
    assert_eq!(at(USER + MIB), None);
    assert_eq!(at(USER + 4 * MIB + 5), Some(4 * MIB + 5));
    assert_eq!((at(USER - 1), at(0), at(u64::MAX)), (None, None, None));
    shared.memory().write_obj(7u32, GuestAddress(4 * MIB)).unwrap();
}

#[test]
fn memory_that_could_vanish_or_does_not_fit_is_refused() {
    let map = |regions: &[VhostUserMemoryRegion], files| SharedMemory::map(regions, files).err();
    let whole = region(0, MIB, USER, 0);
    let unsealed = vec![memfd(MIB, SealFlags::GROW)];
    assert!(matches!(map(&[whole], unsealed), Some(ShareError::NotSealed)));
    let ordinary = vec![tempfile::tempfile().unwrap()];
    assert!(matches!(map(&[whole], ordinary), Some(ShareError::NotSealed)));
    let beyond = region(0, MIB, USER, 4096);
    assert!(matches!(map(&[beyond], vec![sealed(MIB)]), Some(ShareError::OutsideFile { .. })));
    let huge = region(0, 1 << 50, USER, 0);
    assert!(matches!(map(&[huge], vec![sealed(MIB)]), Some(ShareError::TooLarge)));
    let overlap = [whole, region(MIB - 4096, MIB, USER + MIB, 0)];
    let two = || vec![sealed(MIB), sealed(MIB)];
    assert!(matches!(map(&overlap, two()), Some(ShareError::Layout(_))));
    assert!(matches!(map(&[whole], two()), Some(ShareError::Count { .. })));
    let many = vec![whole; 33];
    let files = many.iter().map(|_| sealed(MIB)).collect();
    assert!(matches!(map(&many, files), Some(ShareError::Count { .. })));
    let crooked = region(0, MIB, USER, 1);
    assert!(matches!(map(&[crooked], vec![sealed(2 * MIB)]), Some(ShareError::Map(_))));
}

fn vsock_backend() -> Backend {
    Backend::new(Box::new(
        Vsock::new(Offers::new(), EventQueue::Frontend, Threads::unconfined()).unwrap(),
    ))
}

fn event_file() -> File {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap().into()
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut backend = vsock_backend();
    assert!(backend.set_features(1 << 63).is_err(), "a feature that was not offered");
    assert_eq!(backend.get_queue_num().unwrap(), 2);
    for index in [2, 255] {
        assert!(backend.set_vring_kick(index, Some(event_file())).is_err());
        assert!(backend.set_vring_call(index, Some(event_file())).is_err());
        assert!(backend.get_vring_base(u32::from(index)).is_err());
        assert!(backend.set_vring_enable(u32::from(index), true).is_err());
    }
    for size in [0, 3, 2048, 1 << 16, u32::MAX] {
        assert!(backend.set_vring_num(0, size).is_err(), "{size}");
    }
    assert!(backend.set_vring_base(0, 1 << 16).is_err());
    assert!(backend.set_vring_kick(0, None).is_err());
    let config = backend.get_config(4, 8, VhostUserConfigFlags::empty()).unwrap();
    assert_eq!(config, [0; 8], "what lies beyond the config space is zero");
}

#[test]
fn rings_outside_of_memory_do_not_become_active() {
    for (descriptors, available, used) in [
        (USER + 2 * MIB, USER + 0x4000, USER + 0x5000),
        (USER, USER + MIB - 16, USER + 0x5000),
        (USER, USER + 0x4000, USER - 4096),
        (USER + 8, USER + 0x4000, USER + 0x5000),
    ] {
        let mut backend = vsock_backend();
        backend.set_features(1 << 32).unwrap();
        backend.set_mem_table(&[region(0, MIB, USER, 0)], vec![sealed(MIB)]).unwrap();
        let flags = vhost::vhost_user::message::VhostUserVringAddrFlags::empty;
        for index in 0..2 {
            backend.set_vring_num(index, 256).unwrap();
            backend.set_vring_addr(index, flags(), descriptors, used, available, 0).unwrap();
        }
        backend.set_vring_kick(0, Some(event_file())).unwrap();
        assert!(backend.set_vring_kick(1, Some(event_file())).is_err(), "{descriptors:x}");
    }
}

/// QEMU's part, played by a frontend from the same library, over memory that it shares.
struct Machine {
    memory: Memory,
    file: File,
    devices: VhostUserDevices,
    disk: Frontend,
    _vsock: UnixStream,
}

impl Machine {
    fn new() -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0x11; 8192]).unwrap();
        let (disk, disk_end) = UnixStream::pair().unwrap();
        let (vsock, vsock_end) = UnixStream::pair().unwrap();
        let descriptors: Vec<OwnedFd> = vec![file.into(), disk_end.into(), vsock_end.into()];
        let extents = vec![FileExtent { file: FdSlot(0), offset: 0, length: 8192 }];
        let config = DiskConfig { serial: "disk".into(), extents, writable: true, more: None };
        let config = VhostUserConfig { disks: vec![(config, FdSlot(1))], vsock: FdSlot(2) };
        let devices = serve(&config, descriptors, Offers::new(), Threads::unconfined()).unwrap();
        let file = sealed(4 * MIB);
        let whole = region(0, 4 * MIB, USER, 0);
        let shared = SharedMemory::map(&[whole], vec![file.try_clone().unwrap()]).unwrap();
        let memory = shared.memory().clone();
        Self { memory, file, devices, disk: Frontend::from_stream(disk, 1), _vsock: vsock }
    }

    /// As QEMU does it for a driver that is ready.
    fn start(&mut self, driver: &Driver, base: u16) {
        let disk = &mut self.disk;
        disk.set_owner().unwrap();
        let features = disk.get_features().unwrap();
        // Without EVENT_IDX, so that every request ends in an interrupt.
        disk.set_features(features & !(1 << 29)).unwrap();
        disk.get_protocol_features().unwrap();
        disk.set_protocol_features(VhostUserProtocolFeatures::CONFIG).unwrap();
        let (_, config) = disk.get_config(0, 60, VhostUserConfigFlags::empty(), &[0; 60]).unwrap();
        assert_eq!(config[..8], 16u64.to_le_bytes(), "capacity in sectors");
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: 4 * MIB,
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        };
        disk.set_mem_table(&[region]).unwrap();
        self.start_ring(driver, base);
    }

    fn start_ring(&mut self, driver: &Driver, base: u16) {
        let disk = &mut self.disk;
        disk.set_vring_num(0, 1024).unwrap();
        disk.set_vring_base(0, base).unwrap();
        let addresses = VringConfigData {
            queue_max_size: 1024,
            queue_size: 1024,
            flags: 0,
            desc_table_addr: USER,
            used_ring_addr: USER + driver.used_ring(),
            avail_ring_addr: USER + driver.available_ring(),
            log_addr: None,
        };
        disk.set_vring_addr(0, &addresses).unwrap();
        disk.set_vring_kick(0, &driver.kick).unwrap();
        disk.set_vring_enable(0, true).unwrap();
        // QEMU gives the way to the guest last.
        disk.set_vring_call(0, &driver.call).unwrap();
    }

    fn read(&self, driver: &mut Driver, sector: u64) -> (u32, u8) {
        self.memory.write_obj(0u32, GuestAddress(0x10_0000)).unwrap();
        self.memory.write_obj(sector, GuestAddress(0x10_0008)).unwrap();
        let buffers = [(0x10_0000, 16, false), (0x11_0000, 512, true), (0x12_0000, 1, true)];
        driver.add(&buffers);
        let (_, written) = driver.wait_used();
        (written, self.memory.read_obj(GuestAddress(0x11_0000)).unwrap())
    }
}

#[test]
fn a_disk_is_served_stopped_and_started_again() {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine.memory, 0, 1024);
    machine.start(&driver, 0);
    assert_eq!(machine.read(&mut driver, 3), (513, 0x11));
    assert_eq!(machine.read(&mut driver, 4), (513, 0x11));
    assert_eq!(machine.disk.get_vring_base(0).unwrap(), 2);
    machine.start_ring(&driver, 2);
    assert_eq!(machine.read(&mut driver, 5), (513, 0x11));
    let Machine { mut devices, disk, _vsock, .. } = machine;
    drop((disk, _vsock));
    let end = devices.wait();
    assert!(!end.panicked && end.errors.is_empty(), "{end:?}");
}

#[test]
fn the_interrupts_go_where_qemu_last_said() {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine.memory, 0, 1024);
    machine.start(&driver, 0);
    assert_eq!(machine.read(&mut driver, 0).0, 513);
    driver.call = EventFd::new(EFD_NONBLOCK).unwrap();
    machine.disk.set_vring_call(0, &driver.call).unwrap();
    assert!(driver.wait_interrupt(FIVE_SECONDS), "once at once, for what was raised meanwhile");
    driver.add(&[(0x10_0000, 16, false), (0x11_0000, 512, true), (0x12_0000, 1, true)]);
    assert!(driver.wait_interrupt(FIVE_SECONDS), "no interrupt");
    assert_eq!(machine.disk.get_vring_base(0).unwrap(), 2);
}

#[test]
fn the_panic_mark_is_read_after_the_end() {
    let mut machine = Machine::new();
    let driver = Driver::new(&machine.memory, 0, 1024);
    machine.start(&driver, 0);
    machine.memory.write_obj(PANIC_MARK, GuestAddress(RESET_FLAG_ADDRESS)).unwrap();
    let Machine { mut devices, disk, _vsock, .. } = machine;
    drop((disk, _vsock));
    assert!(devices.wait().panicked);
}

#[test]
fn a_connection_that_speaks_nonsense_ends_alone() {
    let (mut qemu, ours) = UnixStream::pair().unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(4096).unwrap();
    let extents = vec![FileExtent { file: FdSlot(0), offset: 0, length: 4096 }];
    let config = DiskConfig { serial: "d".into(), extents, writable: false, more: None };
    let block: Box<dyn VirtioDevice> =
        Box::new(Block::new(&config, &[file.into()], Threads::unconfined()).unwrap());
    qemu.write_all(&[0xff; 64]).unwrap();
    let end = super::serve_device(block, ours);
    assert!(end.error.is_some() && end.memory.is_none());
}
