//! What a virtio device is, whatever carries it (VirtIO 1.2 §2).
//!
//! Owns: the trait, and the queues as they are handed over. Never knows: registers, MMIO, vhost-user.
//!
//! ```text
//!            features acked, queues set up
//!   reset ──────────────────────────────────▶ DRIVER_OK ── activate(Activation) ──▶ active
//!     ▲                                                                               │
//!     └────────────────────────── reset(): threads joined, queues dropped ────────────┘
//! ```
//!
//! A transport owns the queues while the driver sets them up, moves them into the device at
//! [`VirtioDevice::activate`], and makes new ones after a reset. A device serves its queues on threads
//! of its own and gives every byte from guest memory the same distrust whatever the transport.

pub mod block;
pub(crate) mod buffers;
mod entropy;
pub mod file_system;
mod interrupt;
pub mod line;
mod mmio;
pub mod net;
pub(crate) mod queue;
mod service;
mod state;
pub(crate) mod stop;
mod sys;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "what is checked fails by a panic")]
pub(crate) mod test_driver;
pub mod vhost_user;
pub mod vsock;
mod wakeups;

pub use entropy::Entropy;
pub use interrupt::Interrupt;
pub(crate) use mmio::QUEUE_NOTIFY;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use mmio::offset;
#[cfg(test)]
pub(crate) use mmio::status;
pub use mmio::{MmioTransport, RestoreError};
pub use queue::Chain;
pub use state::{DeviceState, MmioState, QueueState};

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use virtio_queue::Queue;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

/// Guest memory, shared by the threads that serve the guest.
pub type Memory = Arc<GuestMemoryMmap<()>>;

/// A device's type number (VirtIO 1.2 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u32)]
pub enum DeviceId {
    /// Network device.
    Net = 1,
    /// Block device.
    Block = 2,
    /// Entropy source.
    Entropy = 4,
    /// Socket device.
    Vsock = 19,
    /// File system.
    FileSystem = 26,
}

/// One virtqueue with what belongs to it, as one owned value.
#[derive(Debug)]
pub struct VirtQueue {
    /// The queue, ready and valid.
    pub queue: Queue,
    /// Readable when the driver has notified the device.
    pub notify: Arc<EventFd>,
    /// How the device interrupts the driver.
    pub interrupt: Interrupt,
}

/// What a transport hands over when the driver is ready.
#[derive(Debug)]
pub struct Activation {
    /// Guest memory.
    pub memory: Memory,
    /// The queues, as many as the device has sizes.
    pub queues: Vec<VirtQueue>,
    /// The features that the driver accepted, the transport's among them.
    pub features: u64,
}

/// A device, seen from its transport.
pub trait VirtioDevice: Send + std::fmt::Debug {
    /// Its type.
    fn id(&self) -> DeviceId;

    /// The features it offers, without those of the transport or the ring (VIRTIO_F_VERSION_1 and
    /// VIRTIO_RING_F_EVENT_IDX are the transport's to offer).
    fn features(&self) -> u64;

    /// The largest size of each of its queues.
    fn queue_sizes(&self) -> &[u16];

    /// Its config space, whole. Reads beyond it give zeroes; drivers' writes are ignored.
    fn config_space(&self) -> &[u8];

    /// Takes the queues and begins to serve them.
    ///
    /// # Errors
    /// Where it cannot; the transport then sets DEVICE_NEEDS_RESET.
    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError>;

    /// Stops serving and gives back what it serves on, in order: afterwards it is as when new, but
    /// for state that outlives a reset (a disk's bytes). Does nothing on a device that is not active.
    fn reset(&mut self) -> Vec<VirtQueue>;

    /// Its own state as plain data. Only asked of a device that is not active: a transport that saves
    /// a running device resets it, keeps the queues it gets back, and activates it with them again.
    fn save(&self) -> DeviceState;
}

/// Why a device could not be activated.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// An event descriptor could not be made or watched.
    #[error("cannot watch the queues")]
    Watch(#[source] std::io::Error),
    /// The transport gave another number of queues than the device has.
    #[error("{got} queues were set up, the device has {expected}")]
    QueueCount {
        /// How many came.
        got: usize,
        /// How many it has.
        expected: usize,
    },
    /// The process that is to serve it was not to be told.
    #[error("cannot tell the process that serves the device")]
    Remote(#[source] vhost::Error),
}
