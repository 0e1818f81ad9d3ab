//! From a configuration to a machine at its first instruction: the steps in order, nothing else.

use crate::arch::{self, ArchError, BootData, layout};
use crate::bus::Bus;
use crate::cmdline::{self, CmdlineError};
use crate::config::{Descriptors, DiskConfig, FdSlot, FileExtent, NetworkDevice, VmConfig};
use crate::kernel::{self, KernelError, LoadedKernel, Source};
use crate::kvm::{self, KvmError};
use crate::memory::{self, MemoryError};
use crate::serial::{self, SerialPort};
use crate::threads::{Crew, ThreadKind, Threads};
use crate::validate::{ConfigError, validate};
use crate::vcpu;
use crate::virtio::block::{Block, DiskError};
use crate::virtio::net::Net;
use crate::virtio::vhost_user::Remote;
use crate::virtio::vsock::{EventQueue, Offers, Vsock};
use crate::virtio::{self, Entropy, Memory, MmioTransport, VirtioDevice};
use crate::vm::Vm;
use kvm_ioctls::{IoEventAddress, Kvm, VmFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// The thread that reads kernel and initramfs while KVM makes the machine.
const LOADER: &str = "loader";

/// Why a machine did not boot.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The configuration makes no machine.
    #[error("this configuration cannot boot")]
    Config(#[from] ConfigError),
    /// KVM is not what we need.
    #[error("cannot make a virtual machine")]
    Kvm(#[from] KvmError),
    /// There is no guest memory.
    #[error("cannot give the machine memory")]
    Memory(#[from] MemoryError),
    /// The kernel or the initramfs cannot be loaded.
    #[error("cannot load what the machine boots")]
    Kernel(#[from] KernelError),
    /// There is no command line.
    #[error("cannot tell the kernel what it needs")]
    Cmdline(#[from] CmdlineError),
    /// The processors cannot be set up.
    #[error("cannot set the processors up")]
    Arch(#[from] ArchError),
    /// The signal that brings a vCPU out of the guest could not be set up.
    #[error("cannot set up the signal that stops vcpus")]
    Signal(#[source] io::Error),
    /// A thread could not be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// Which.
        name: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A descriptor is used up, or was not handed over.
    #[error("cannot keep the descriptor of {what}")]
    Descriptor {
        /// Whose.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nobody serves the shared directories.
    #[error("cannot reach whoever serves the shared directories")]
    Shares(#[source] vhost::Error),
    /// A disk's files are not what its configuration says.
    #[error("cannot make the disk {serial}")]
    Disk {
        /// Which.
        serial: String,
        /// Why not.
        #[source]
        source: DiskError,
    },
    /// A device has no way to be heard or to be told.
    #[error("kvm refused to wire {what}")]
    Wire {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: kvm_ioctls::Error,
    },
}

/// Makes a machine of its configuration and the open files that came with it. It runs nothing yet, but
/// all its threads are there. The guest may connect to what `offers` holds, then and later.
///
/// # Errors
/// [`BootError`]: nothing of the machine is left then.
pub fn boot(
    config: &VmConfig,
    descriptors: Descriptors,
    offers: Offers,
    threads: Threads,
) -> Result<Vm, BootError> {
    validate(config, &descriptors)?;
    let memory_bytes = u64::from(config.memory_mib) << 20;
    let low_memory_end = layout::low_memory_end(memory_bytes);

    // KVM makes a machine by waiting, loading is work: neither waits for the other.
    let memory = match config.shares {
        None => memory::create(memory_bytes)?,
        Some(_) => memory::create_shared(memory_bytes)?,
    };
    let (machine, loaded) = thread::scope(|scope| {
        let loading = thread::Builder::new()
            .name(LOADER.to_owned())
            .spawn_scoped(scope, || load(config, &descriptors, &memory, low_memory_end))
            .map_err(|source| BootError::Thread { name: LOADER, source });
        let machine = create(config, &descriptors);
        (
            machine,
            loading.and_then(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))),
        )
    });
    let (kvm, machine) = machine?;
    let (kernel, initramfs) = loaded?;
    memory::register(&machine, &memory)?;

    let mut devices = devices(&config.disks, &descriptors, offers, threads)?;
    if let Some(shares) = &config.shares {
        let connection = keep(&descriptors, shares.connection, "the shares")?;
        let remote = Remote::file_system(&shares.tag, connection.into());
        devices.push(Box::new(remote.map_err(BootError::Shares)?));
    }
    if let Some(config) = &config.network {
        devices.push(Box::new(network(config, &descriptors, threads)?));
    }
    let devices = attach(devices, &machine, &memory)?;
    let serial = attach_serial(config, &descriptors, &machine)?;
    let slots: Vec<_> = (0u8..).map(layout::device_slot).take(devices.len()).collect();
    let cmdline = cmdline::build(config.console.map(|it| it.heard), &slots, &config.cmdline)?;
    let data = BootData {
        cmdline: &cmdline,
        initramfs: (initramfs, config.initramfs.length),
        memory_bytes,
    };
    let lines: Vec<_> = serial
        .iter()
        .map(|_| layout::SERIAL_LINE)
        .chain(slots.iter().map(|slot| slot.line))
        .collect();
    arch::write_boot_data(&memory, config.vcpus, &lines, data)?;
    let vcpus = arch::create_vcpus(&kvm, &machine, config.vcpus, kernel.entry)?;
    vcpu::prepare_signal().map_err(BootError::Signal)?;
    let kind = ThreadKind::Vcpu;
    let crew = Crew::start(threads, kind, vcpus.len())
        .map_err(|source| BootError::Thread { name: kind.name(), source })?;
    let bus = Arc::new(Bus::new(memory, devices, serial));
    Ok(Vm { threads, crew, vcpus, machine, bus })
}

/// A machine with its interrupt controllers.
fn create(config: &VmConfig, descriptors: &Descriptors) -> Result<(Kvm, VmFd), BootError> {
    let kvm = kvm::open(keep(descriptors, config.kvm, "kvm")?)?;
    let machine = kvm::create_machine(&kvm, config.vcpus)?;
    arch::create_interrupts(&machine)?;
    Ok((kvm, machine))
}

/// The kernel, and the guest address of the initramfs.
fn load(
    config: &VmConfig,
    descriptors: &Descriptors,
    memory: &Memory,
    low_memory_end: u64,
) -> Result<(LoadedKernel, u64), BootError> {
    let source = |extent: FileExtent| {
        let file = lend(descriptors, extent.file, "a boot file")?;
        Ok::<_, BootError>(Source { file, extent })
    };
    let kernel = kernel::load_kernel(memory, source(config.kernel)?, low_memory_end)?;
    let initramfs = source(config.initramfs)?;
    let initramfs = kernel::load_initramfs(memory, initramfs, kernel.end, low_memory_end)?;
    Ok((kernel, initramfs))
}

/// The devices, in the order the guest finds them.
pub(crate) fn devices(
    disks: &[DiskConfig],
    descriptors: &Descriptors,
    offers: Offers,
    threads: Threads,
) -> Result<Vec<Box<dyn VirtioDevice>>, BootError> {
    let mut devices: Vec<Box<dyn VirtioDevice>> = Vec::new();
    for disk in disks {
        let block = Block::new(disk, descriptors, threads)
            .map_err(|source| BootError::Disk { serial: disk.serial.clone(), source })?;
        devices.push(Box::new(block));
    }
    let not_started =
        |kind: ThreadKind| move |source| BootError::Thread { name: kind.name(), source };
    let vsock = Vsock::new(offers, EventQueue::Own, threads);
    devices.push(Box::new(vsock.map_err(not_started(ThreadKind::Vsock))?));
    devices.push(Box::new(Entropy::new(threads).map_err(not_started(ThreadKind::Entropy))?));
    Ok(devices)
}

/// The network device.
pub(crate) fn network(
    config: &NetworkDevice,
    descriptors: &Descriptors,
    threads: Threads,
) -> Result<Net, BootError> {
    let connection = keep(descriptors, config.connection, "the network")?;
    Net::new(config.mac, config.mtu, connection, threads)
        .map_err(|source| BootError::Thread { name: ThreadKind::Net.name(), source })
}

/// Puts each device behind its window, its queues' notifications and its interrupt wired to KVM.
fn attach(
    devices: Vec<Box<dyn VirtioDevice>>,
    machine: &VmFd,
    memory: &Memory,
) -> Result<Vec<MmioTransport>, BootError> {
    let mut attached = Vec::with_capacity(devices.len());
    for (device, slot) in devices.into_iter().zip((0u8..).map(layout::device_slot)) {
        let transport = MmioTransport::new(device, memory.clone())
            .map_err(|source| BootError::Descriptor { what: "a device", source })?;
        let address = IoEventAddress::Mmio(slot.address + virtio::QUEUE_NOTIFY);
        for (queue, event) in (0u32..).zip(transport.notify_events()) {
            machine
                .register_ioevent(event, &address, queue)
                .map_err(|source| BootError::Wire { what: "a queue's notification", source })?;
        }
        machine
            .register_irqfd(transport.line(), slot.line.into())
            .map_err(|source| BootError::Wire { what: "a device's interrupt", source })?;
        attached.push(transport);
    }
    Ok(attached)
}

fn attach_serial(
    config: &VmConfig,
    descriptors: &Descriptors,
    machine: &VmFd,
) -> Result<Option<SerialPort>, BootError> {
    let Some(console) = config.console else { return Ok(None) };
    let log = keep(descriptors, console.file, "the console")?;
    let line = EventFd::new(EFD_NONBLOCK)
        .map_err(|source| BootError::Descriptor { what: "the serial port", source })?;
    machine
        .register_irqfd(&line, layout::SERIAL_LINE.into())
        .map_err(|source| BootError::Wire { what: "the serial port's interrupt", source })?;
    Ok(Some(serial::create(line, log)))
}

fn keep(descriptors: &Descriptors, slot: FdSlot, what: &'static str) -> Result<OwnedFd, BootError> {
    let descriptor = lend(descriptors, slot, what)?;
    descriptor.try_clone_to_owned().map_err(|source| BootError::Descriptor { what, source })
}

fn lend<'a>(
    descriptors: &'a Descriptors,
    slot: FdSlot,
    what: &'static str,
) -> Result<BorrowedFd<'a>, BootError> {
    slot.of(descriptors)
        .map(AsFd::as_fd)
        .ok_or(BootError::Descriptor { what, source: io::ErrorKind::NotFound.into() })
}
