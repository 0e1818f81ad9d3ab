//! How a device interrupts its driver, whatever carries it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use vmm_sys_util::eventfd::EventFd;

/// The bit of InterruptStatus that says a used ring has moved (VirtIO 1.2 §4.2.2).
pub const USED_RING_BIT: u32 = 1;
/// The bit of InterruptStatus that says the config space has changed.
pub const CONFIG_BIT: u32 = 2;

/// One line to the driver: an eventfd, and with MMIO the InterruptStatus register beside it.
#[derive(Debug, Clone)]
pub struct Interrupt {
    event: Arc<EventFd>,
    status: Option<Arc<AtomicU32>>,
}

impl Interrupt {
    /// An interrupt that MMIO carries: the register, then the eventfd that KVM turns into an edge.
    pub fn mmio(event: Arc<EventFd>, status: Arc<AtomicU32>) -> Self {
        Self { event, status: Some(status) }
    }

    /// An interrupt that vhost-user carries: the queue's call eventfd, nothing else.
    pub fn call(event: EventFd) -> Self {
        Self { event: Arc::new(event), status: None }
    }

    /// Tells the driver that a used ring has moved.
    pub fn used_ring(&self) {
        self.raise(USED_RING_BIT);
    }

    /// Tells the driver that the config space has changed.
    pub fn config_changed(&self) {
        self.raise(CONFIG_BIT);
    }

    fn raise(&self, bit: u32) {
        if let Some(status) = &self.status {
            status.fetch_or(bit, Ordering::SeqCst);
        }
        // An eventfd's write fails only when its counter is full, and then the edge is pending anyway.
        let _ = self.event.write(1);
    }
}
