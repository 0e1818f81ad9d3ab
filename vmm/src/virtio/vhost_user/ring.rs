//! One ring as QEMU describes it, piece by piece, until a [`VirtQueue`] can be made of it.

use super::shared_memory::SharedMemory;
use crate::virtio::queue::queue_of;
use crate::virtio::{Interrupt, QueueState, VirtQueue, sys};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use virtio_queue::QueueT;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// The largest ring. QEMU's virtio-mmio offers this size to the driver, whatever the device's own is.
pub const MAX_RING_SIZE: u16 = 1024;

/// A ring's addresses, as QEMU has them mapped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Addresses {
    /// The descriptor table.
    pub descriptor_table: u64,
    /// The available ring.
    pub available_ring: u64,
    /// The used ring.
    pub used_ring: u64,
}

/// A ring.
#[derive(Debug)]
pub struct Ring {
    /// Its size.
    pub size: u16,
    /// Where it is.
    pub addresses: Addresses,
    /// The next available entry to take.
    pub next_available: u16,
    /// Whether QEMU has enabled it.
    pub enabled: bool,
    /// Readable when the driver has notified. `None` before QEMU gave it, and while a device has it.
    pub kick: Option<Arc<EventFd>>,
    interrupt: Interrupt,
    /// The number of the descriptor within `interrupt`, which keeps it open.
    call: RawFd,
}

impl Ring {
    /// A ring of which nothing is known.
    ///
    /// # Errors
    /// Where no eventfd can be made.
    pub fn new() -> io::Result<Self> {
        let nobody = EventFd::new(EFD_NONBLOCK)?;
        let call = nobody.as_raw_fd();
        Ok(Self {
            size: 0,
            addresses: Addresses::default(),
            next_available: 0,
            enabled: false,
            kick: None,
            interrupt: Interrupt::call(nobody),
            call,
        })
    }

    /// Sends interrupts to `call` from now on, or to nobody. A device that is active notices nothing:
    /// QEMU gives the descriptor that reaches the guest only after it has started the ring.
    ///
    /// # Errors
    /// Where the kernel has no descriptor left.
    pub fn set_call(&mut self, call: Option<OwnedFd>) -> io::Result<()> {
        match call {
            Some(call) => sys::replace(call.as_fd(), self.call)?,
            None => {
                let nobody = EventFd::new(EFD_NONBLOCK)?;
                sys::replace(sys::event_descriptor(&nobody), self.call)?;
            }
        }
        // What was raised on the one before may have been heard by nobody.
        self.interrupt.used_ring();
        Ok(())
    }

    /// Whether a device may be given it.
    pub fn is_ready(&self) -> bool {
        self.enabled && self.kick.is_some() && self.size > 0
    }

    /// Makes a queue of it, if it is ready and lies within memory.
    pub fn take(&mut self, shared: &SharedMemory, event_idx: bool) -> Option<VirtQueue> {
        let memory = shared.memory();
        let address = |user| shared.guest_address(user).map(|address| address.0);
        let state = QueueState {
            size: self.size,
            ready: true,
            descriptor_table: address(self.addresses.descriptor_table)?,
            available_ring: address(self.addresses.available_ring)?,
            used_ring: address(self.addresses.used_ring)?,
            next_available: self.next_available,
            next_used: 0,
        };
        let mut queue = queue_of(state, MAX_RING_SIZE, event_idx, memory)?;
        let used = queue.used_idx(&**memory, Ordering::Acquire).ok()?;
        queue.set_next_used(used.0);
        let notify = self.kick.take()?;
        Some(VirtQueue { queue, notify, interrupt: self.interrupt.clone() })
    }

    /// Takes back what a device gave back.
    pub fn put_back(&mut self, queue: VirtQueue) {
        self.next_available = queue.queue.next_avail();
        self.kick = Some(queue.notify);
    }
}
