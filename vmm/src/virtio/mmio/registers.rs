//! The register file of a virtio-mmio device, version 2 (VirtIO 1.2 §4.2.2), as a pure state machine:
//! a write changes registers and says what is to be done; it never does it.
//!
//! ```text
//!         FEATURES_OK, only if the features make sense      DRIVER_OK
//!  reset ─────────────────────────────────────────▶ negotiated ──────▶ Effect::Activate
//!    ▲   queues are set up before DRIVER_OK and fixed after it            │
//!    └───────────────────── status := 0 (Effect::Reset) ──────────────────┘
//! ```

use crate::virtio::QueueState;
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
const VENDOR: u32 = u32::from_le_bytes(*b"coff");
/// What an absent shared memory region's length and address read as.
const NO_SHARED_MEMORY: u32 = !0;

/// Status bits (VirtIO 1.2 §2.1).
pub(crate) mod status {
    /// The driver accepted the features.
    pub(crate) const FEATURES_OK: u32 = 8;
    /// The driver is ready.
    pub(crate) const DRIVER_OK: u32 = 4;
    /// The device cannot go on.
    pub(crate) const NEEDS_RESET: u32 = 64;
    /// All that a driver may set.
    pub(crate) const DRIVERS: u32 = 1 | 2 | DRIVER_OK | FEATURES_OK | 128;
}

/// Where each register is.
pub(crate) mod offset {
    #![allow(missing_docs)]
    pub(crate) const MAGIC: u64 = 0x000;
    pub(crate) const VERSION: u64 = 0x004;
    pub(crate) const DEVICE_ID: u64 = 0x008;
    pub(crate) const VENDOR_ID: u64 = 0x00c;
    pub(crate) const DEVICE_FEATURES: u64 = 0x010;
    pub(crate) const DEVICE_FEATURES_SELECT: u64 = 0x014;
    pub(crate) const DRIVER_FEATURES: u64 = 0x020;
    pub(crate) const DRIVER_FEATURES_SELECT: u64 = 0x024;
    pub(crate) const QUEUE_SELECT: u64 = 0x030;
    pub(crate) const QUEUE_SIZE_MAX: u64 = 0x034;
    pub(crate) const QUEUE_SIZE: u64 = 0x038;
    pub(crate) const QUEUE_READY: u64 = 0x044;
    pub(crate) const QUEUE_NOTIFY: u64 = 0x050;
    pub(crate) const INTERRUPT_STATUS: u64 = 0x060;
    pub(crate) const INTERRUPT_ACK: u64 = 0x064;
    pub(crate) const STATUS: u64 = 0x070;
    pub(crate) const QUEUE_DESCRIPTORS: u64 = 0x080;
    pub(crate) const QUEUE_DRIVER: u64 = 0x090;
    pub(crate) const QUEUE_DEVICE: u64 = 0x0a0;
    pub(crate) const SHARED_MEMORY: std::ops::RangeInclusive<u64> = 0x0b0..=0x0bc;
    pub(crate) const CONFIG: u64 = 0x100;
}

/// What a write asks the transport to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// The driver is ready: hand the queues over.
    Activate,
    /// The driver reset the device; the registers are as when new.
    Reset,
    /// The driver notified this queue.
    Notify(u32),
    /// The driver has seen these interrupt bits.
    Acknowledge(u32),
}

/// What a device offers: fixed for its life.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    /// The device's type.
    pub id: u32,
    /// The device's features with the transport's.
    pub features: u64,
    /// The largest size of each queue.
    pub queue_sizes: Vec<u16>,
}

/// The features that the transport adds to a device's.
pub(crate) const TRANSPORT_FEATURES: u64 =
    (1 << VIRTIO_F_VERSION_1) | (1 << VIRTIO_RING_F_EVENT_IDX);

/// The registers a driver can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) status: u32,
    pub(crate) device_features_select: u32,
    pub(crate) driver_features_select: u32,
    pub(crate) driver_features: u64,
    pub(crate) queue_select: u32,
    pub(crate) queues: Vec<QueueState>,
}

impl Registers {
    /// As after a reset.
    pub(crate) fn new(offer: &Offer) -> Self {
        let queue = |size: &u16| QueueState { size: *size, ..QueueState::default() };
        Self {
            status: 0,
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: 0,
            queue_select: 0,
            queues: offer.queue_sizes.iter().map(queue).collect(),
        }
    }

    /// Whether the driver is ready and the device was not found wanting.
    pub(crate) fn is_driver_ok(&self) -> bool {
        self.status & status::DRIVER_OK != 0
    }

    /// Reads a register below the config space, but for the two that a device's threads write too: its
    /// status and InterruptStatus.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn read(&self, offer: &Offer, at: u64) -> u32 {
        match at {
            offset::MAGIC => MAGIC,
            offset::VERSION => VERSION,
            offset::DEVICE_ID => offer.id,
            offset::VENDOR_ID => VENDOR,
            offset::DEVICE_FEATURES => match self.device_features_select {
                0 => offer.features as u32,
                1 => (offer.features >> 32) as u32,
                _ => 0,
            },
            offset::QUEUE_SIZE_MAX => self
                .selected()
                .and_then(|queue| offer.queue_sizes.get(queue))
                .map_or(0, |size| u32::from(*size)),
            offset::QUEUE_READY => self
                .selected()
                .and_then(|queue| self.queues.get(queue))
                .map_or(0, |queue| u32::from(queue.ready)),
            at if offset::SHARED_MEMORY.contains(&at) => NO_SHARED_MEMORY,
            // ConfigGeneration too: the config spaces of our devices never change.
            _ => 0,
        }
    }

    /// Writes a register below the config space.
    pub(crate) fn write(&mut self, offer: &Offer, at: u64, value: u32) -> Effect {
        match at {
            offset::DEVICE_FEATURES_SELECT => self.device_features_select = value,
            offset::DRIVER_FEATURES_SELECT => self.driver_features_select = value,
            offset::DRIVER_FEATURES => self.write_features(value),
            offset::QUEUE_SELECT => self.queue_select = value,
            offset::QUEUE_NOTIFY => return Effect::Notify(value),
            offset::INTERRUPT_ACK => return Effect::Acknowledge(value),
            offset::STATUS => return self.write_status(offer, value),
            _ => self.write_queue(at, value),
        }
        Effect::None
    }

    fn write_features(&mut self, value: u32) {
        if self.status & (status::FEATURES_OK | status::DRIVER_OK) != 0 {
            return;
        }
        let shift = match self.driver_features_select {
            0 => 0,
            1 => 32,
            _ => return,
        };
        let mask = u64::from(u32::MAX) << shift;
        self.driver_features = (self.driver_features & !mask) | (u64::from(value) << shift);
    }

    fn write_status(&mut self, offer: &Offer, value: u32) -> Effect {
        if value == 0 {
            *self = Self::new(offer);
            return Effect::Reset;
        }
        // A driver sets bits; only a reset clears them.
        let mut added = value & status::DRIVERS & !self.status;
        if added & status::FEATURES_OK != 0 && !self.features_make_sense(offer) {
            added &= !status::FEATURES_OK;
        }
        if (self.status | added) & status::FEATURES_OK == 0 {
            added &= !status::DRIVER_OK;
        }
        self.status |= added;
        if added & status::DRIVER_OK != 0 { Effect::Activate } else { Effect::None }
    }

    fn features_make_sense(&self, offer: &Offer) -> bool {
        self.driver_features & !offer.features == 0
            && self.driver_features & (1 << VIRTIO_F_VERSION_1) != 0
    }

    #[allow(clippy::cast_possible_truncation)]
    fn write_queue(&mut self, at: u64, value: u32) {
        let fixed = self.is_driver_ok();
        let Some(queue) = self.selected().and_then(|index| self.queues.get_mut(index)) else {
            return;
        };
        if at == offset::QUEUE_READY && !fixed {
            queue.ready = value & 1 != 0;
        }
        if fixed || queue.ready {
            return;
        }
        match at {
            offset::QUEUE_SIZE => queue.size = value as u16,
            offset::QUEUE_DESCRIPTORS => set_low(&mut queue.descriptor_table, value),
            0x084 => set_high(&mut queue.descriptor_table, value),
            offset::QUEUE_DRIVER => set_low(&mut queue.available_ring, value),
            0x094 => set_high(&mut queue.available_ring, value),
            offset::QUEUE_DEVICE => set_low(&mut queue.used_ring, value),
            0x0a4 => set_high(&mut queue.used_ring, value),
            _ => {}
        }
    }

    fn selected(&self) -> Option<usize> {
        usize::try_from(self.queue_select).ok()
    }
}

fn set_low(register: &mut u64, value: u32) {
    *register = (*register & !u64::from(u32::MAX)) | u64::from(value);
}

fn set_high(register: &mut u64, value: u32) {
    *register = (*register & u64::from(u32::MAX)) | (u64::from(value) << 32);
}
