//! The state of devices and queues as plain data, from which each is made again.

use serde::{Deserialize, Serialize};

/// What a device is besides its configuration and its queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceState {
    /// An entropy source has none.
    Entropy,
    /// A disk's bytes are its files': this is what its driver was told of them, and still believes.
    Block {
        /// How many bytes the disk has.
        bytes: u64,
        /// Whether the guest may write.
        writable: bool,
    },
    /// A file system's is with its files and with who serves it.
    FileSystem,
    /// A network device's: what its driver was told. Packets on their way are lost, as on any wire.
    Net {
        /// Its hardware address.
        mac: [u8; 6],
        /// The largest packet, in bytes.
        mtu: u16,
    },
    /// Connections do not outlive a save: the driver is told by a transport-reset event.
    Vsock,
}

/// One virtqueue's registers and positions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// The size the driver chose.
    pub size: u16,
    /// Whether the driver has made it ready.
    pub ready: bool,
    /// Guest address of the descriptor table.
    pub descriptor_table: u64,
    /// Guest address of the available ring.
    pub available_ring: u64,
    /// Guest address of the used ring.
    pub used_ring: u64,
    /// The next available entry to take.
    pub next_available: u16,
    /// The next used entry to fill.
    pub next_used: u16,
}

/// A device behind virtio-mmio, whole: its transport's registers, its queues, and its own state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MmioState {
    /// The status register.
    pub status: u32,
    /// Which half of the device's features is seen.
    pub device_features_select: u32,
    /// Which half of the driver's features is written.
    pub driver_features_select: u32,
    /// What the driver accepted.
    pub driver_features: u64,
    /// Which queue is seen.
    pub queue_select: u32,
    /// Every queue.
    pub queues: Vec<QueueState>,
    /// The InterruptStatus register.
    pub interrupts: u32,
    /// The device's own.
    pub device: DeviceState,
}
