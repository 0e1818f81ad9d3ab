//! Serves a machine's devices to QEMU where there is no usable KVM, and shared directories to whoever runs the machine.
//!
//! Owns: one thread for each device's connection, and the question whether the guest panicked, which
//! only its memory can answer. Starts no QEMU and opens nothing.

use crate::config::{Descriptors, FdSlot, VhostUserConfig};
use crate::threads::{Crew, ThreadKind, Threads, Working};
use crate::virtio::VirtioDevice;
use crate::virtio::block::{Block, DiskError};
use crate::virtio::file_system::{FileSystem, Responder};
use crate::virtio::vhost_user::{ConnectionEnd, serve_device};
use crate::virtio::vsock::{EventQueue, Offers, Vsock};
use crate::vm_exit::{PANIC_MARK, RESET_FLAG_ADDRESS};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};

/// The arguments that give QEMU 7.2 the machine these devices are for, without memory, kernel and
/// devices. With them go, for `MIB` of memory and each connection's descriptor `FD` in QEMU:
///
/// ```text
///   -m MIB -object memory-backend-memfd,id=mem,size=MIBM,share=on
///   -kernel VMLINUX -initrd INITRAMFS -append '… QEMU_CMDLINE'
///   -chardev socket,id=c0,fd=FD  -device vhost-user-blk,chardev=c0
///   -chardev socket,id=c1,fd=FD  -device vhost-user-vsock-device,chardev=c1
/// ```
///
/// The memory's file must be sealed against shrinking, as that object's is by default. The guest's
/// CID comes from the device, not from an argument. The PIT stays, because TCG has no other clock
/// that a kernel can measure the rest by: without it, every timer of the guest hangs.
pub const QEMU_MACHINE: &str = "-M microvm,acpi=off,pit=on,pic=on,rtc=off,isa-serial=on,\
    memory-backend=mem -accel tcg -cpu max,svm=off -global virtio-mmio.force-legacy=false \
    -nodefaults -no-user-config -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4";

/// Words the kernel's command line needs on that machine. Its local APIC timer would be measured,
/// found to be too uneven and switched off, which takes a third of the boot. Per-CPU memory is as in our VMM.
pub const QEMU_CMDLINE: &str = "tsc=reliable no_timer_check noapictimer percpu_alloc=page";

/// Why devices cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A disk cannot be made.
    #[error("cannot serve a disk")]
    Disk(#[from] DiskError),
    /// A connection's slot points at no open socket.
    #[error("slot {0} has no open socket")]
    NoSocket(u32),
    /// A connection's descriptor could not be taken.
    #[error("cannot take the socket of slot {slot}")]
    Socket {
        /// The slot.
        slot: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// Which.
        name: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Devices being served.
#[derive(Debug)]
pub struct VhostUserDevices {
    threads: Threads,
    connections: Vec<Working<ConnectionEnd>>,
    /// Connections that have ended, their devices with them.
    ended: Vec<ConnectionEnd>,
    _crew: Crew,
}

/// What is known once QEMU has closed every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VhostUserEnd {
    /// Whether the guest kernel's panic mark stands in memory: [`PANIC_MARK`] at [`RESET_FLAG_ADDRESS`].
    /// QEMU shares its memory when the guest's first driver is ready. A kernel that panics before that
    /// leaves a mark nobody can read, and is told as one that reset the machine.
    pub panicked: bool,
    /// What broke connections that QEMU did not simply close.
    pub errors: Vec<String>,
}

/// Serves the devices of `config` on the sockets it names; `offers` is what the guest may connect to.
///
/// # Errors
/// Any [`ServeError`]; threads that were started then end with their connections.
pub fn serve(
    config: &VhostUserConfig,
    descriptors: Descriptors,
    offers: Offers,
    threads: Threads,
) -> Result<VhostUserDevices, ServeError> {
    let mut devices: Vec<(Box<dyn VirtioDevice>, UnixStream)> = Vec::new();
    for (disk, slot) in &config.disks {
        let block = Block::new(disk, &descriptors, threads)?;
        devices.push((Box::new(block), socket(&descriptors, *slot)?));
    }
    let not_started =
        |kind: ThreadKind| move |source| ServeError::Thread { name: kind.name(), source };
    let vsock = Vsock::new(offers, EventQueue::Frontend, threads);
    let vsock = vsock.map_err(not_started(ThreadKind::Vsock))?;
    devices.push((Box::new(vsock), socket(&descriptors, config.vsock)?));
    // The connections have descriptors of their own; one left open here would hide their end.
    drop(descriptors);
    let kind = ThreadKind::Connection;
    let crew = Crew::start(threads, kind, devices.len()).map_err(not_started(kind))?;
    let serve = |(device, connection)| crew.tasks().hand(|| serve_device(device, connection));
    let connections = devices.into_iter().map(serve).collect();
    Ok(VhostUserDevices { threads, connections, ended: Vec::new(), _crew: crew })
}

impl VhostUserDevices {
    /// Waits until QEMU has closed every connection. The calling thread is confined, too
    /// ([`ThreadKind::Main`]).
    pub fn wait(&mut self) -> VhostUserEnd {
        self.threads.confine(ThreadKind::Main);
        let mut end = VhostUserEnd { panicked: false, errors: Vec::new() };
        for connection in self.connections.drain(..) {
            match connection.join() {
                Some(ended) => {
                    let mark = ended.memory.as_ref().and_then(|memory| {
                        memory.read_obj::<u16>(GuestAddress(RESET_FLAG_ADDRESS)).ok()
                    });
                    end.panicked |= mark == Some(PANIC_MARK);
                    end.errors.extend(ended.error.as_ref().map(ToString::to_string));
                    self.ended.push(ended);
                }
                None => end.errors.push("a thread that served a device panicked".to_owned()),
            }
        }
        end
    }
}

/// Serves a file system of this name on a connection, until that ends. The calling thread is confined, too
/// ([`ThreadKind::Connection`]).
///
/// # Errors
/// Where there is no thread for it.
pub fn serve_file_system(
    tag: &str,
    responder: Arc<dyn Responder>,
    connection: UnixStream,
    threads: Threads,
) -> Result<ConnectionEnd, ServeError> {
    let name = ThreadKind::FileSystem.name();
    let device = FileSystem::new(tag, responder, threads);
    let device = device.map_err(|source| ServeError::Thread { name, source })?;
    threads.confine(ThreadKind::Connection);
    Ok(serve_device(Box::new(device), connection))
}

fn socket(descriptors: &[OwnedFd], slot: FdSlot) -> Result<UnixStream, ServeError> {
    let socket = slot.of(descriptors).ok_or(ServeError::NoSocket(slot.0))?;
    let socket = socket.try_clone();
    socket.map(UnixStream::from).map_err(|source| ServeError::Socket { slot: slot.0, source })
}
