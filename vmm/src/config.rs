//! What a microVM is, as plain data. Live objects are built from it once, in [`crate::boot`].
//!
//! A configuration opens nothing: what it stands on was opened by whoever made it, and comes beside
//! it as a table of open files ([`Descriptors`]) that [`FdSlot`]s point into.

use crate::arch::layout;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

/// An index into the table of open files handed over with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FdSlot(pub u32);

impl FdSlot {
    /// The open file it points at, if that came.
    pub(crate) fn of(self, descriptors: &[OwnedFd]) -> Option<&OwnedFd> {
        descriptors.get(usize::try_from(self.0).ok()?)
    }
}

/// The open files that came with a configuration; [`FdSlot`]s are indices into it.
pub type Descriptors = Vec<OwnedFd>;

/// A stretch of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileExtent {
    /// The file.
    pub file: FdSlot,
    /// Where the stretch begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// One microVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmConfig {
    /// `/dev/kvm`, open for reading and writing.
    pub kvm: FdSlot,
    /// Guest memory, in MiB: 64 or more.
    pub memory_mib: u32,
    /// Virtual CPUs: 1 to 32.
    pub vcpus: u8,
    /// The uncompressed ELF kernel (vmlinux).
    pub kernel: FileExtent,
    /// The initramfs.
    pub initramfs: FileExtent,
    /// Words added at the end of the kernel's command line.
    pub cmdline: Vec<String>,
    /// The disks, in the order the guest finds them.
    pub disks: Vec<DiskConfig>,
    /// Shared directories: the socket at whose other end they are served. Guest memory is a file then, which the
    /// other process maps too.
    pub shares: Option<Shares>,
    /// The network device; `None` leaves the guest without one.
    pub network: Option<NetworkDevice>,
    /// The serial port; `None` leaves the guest without a serial port.
    pub console: Option<Console>,
}

/// A file system that another process serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// The name by which the guest finds it: at most 36 bytes.
    pub tag: String,
    /// The socket, over which vhost-user is spoken.
    pub connection: FdSlot,
}

/// A network device, and what it is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDevice {
    /// Its hardware address: one of a single device.
    pub mac: [u8; 6],
    /// The largest packet on its link, in bytes, without the frame around it: 68 or more.
    pub mtu: u16,
    /// A connected socket of packets (`SOCK_SEQPACKET`). Each is a `virtio_net_hdr_v1` (12 bytes, VirtIO 1.2 §5.1.6)
    /// and an Ethernet frame, both ways.
    pub connection: FdSlot,
}

/// The serial port: what it is for, and where its output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// How much of what the kernel says is heard.
    pub heard: Heard,
    /// Where it is written. What it does not take at once is lost.
    pub file: FdSlot,
}

/// How much of what the guest kernel says is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heard {
    /// All, from its first moment; the guest has a serial port.
    Everything,
    /// What it says as it dies; its drivers see no serial port, and its boot costs no more.
    LastWords,
}

impl Heard {
    /// The words that the kernel's command line needs for it.
    pub const fn cmdline(self) -> &'static str {
        match self {
            Self::Everything => layout::CMDLINE_SERIAL,
            Self::LastWords => layout::CMDLINE_LAST_WORDS,
        }
    }
}

/// One virtio-blk disk: file stretches, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskConfig {
    /// The serial number the guest sees: at most 20 bytes of ASCII.
    pub serial: String,
    /// What it consists of, in order; each length is a multiple of 4096.
    pub extents: Vec<FileExtent>,
    /// Whether the guest may write to it.
    pub writable: bool,
    /// The [line](crate::virtio::line) by which more files come, each one more extent behind the last, as long as its
    /// number says. The disk is as long as any may become then; what is not there yet cannot be read.
    pub more: Option<FdSlot>,
}

/// The devices served to QEMU over vhost-user where there is no usable KVM: one connected socket each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VhostUserConfig {
    /// Each disk, with the socket on which QEMU speaks vhost-user for it.
    pub disks: Vec<(DiskConfig, FdSlot)>,
    /// The socket on which QEMU speaks vhost-user for the vsock device.
    pub vsock: FdSlot,
}
