//! What every device does with an active virtqueue: take chains, give them back, wait for more.
//!
//! A queue that the driver broke (an index that runs ahead of the ring, a ring that is no memory) is
//! set to not ready: it gives no chain any more, and no thread runs in a circle over it.

use super::VirtQueue;
use std::sync::atomic::Ordering;
use virtio_queue::{DescriptorChain, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

/// A descriptor chain within guest memory of this kind.
pub type Chain<'m> = DescriptorChain<&'m GuestMemoryMmap<()>>;

impl VirtQueue {
    /// The next chain the driver has made available.
    pub fn take<'m>(&mut self, memory: &'m GuestMemoryMmap<()>) -> Option<Chain<'m>> {
        let next = self.queue.next_avail();
        let pending = match self.queue.avail_idx(memory, Ordering::Acquire) {
            Ok(index) => index.0 != next,
            Err(_) => true,
        };
        if !pending {
            return None;
        }
        let chain = self.queue.iter(memory).ok().and_then(|mut available| available.next());
        if chain.is_none() {
            self.queue.set_ready(false);
        }
        chain
    }

    /// Undoes the last [`VirtQueue::take`]: the chain is taken again next time.
    pub fn untake(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Puts a chain on the used ring, `written` bytes of it filled, without an interrupt.
    pub fn give_back(&mut self, memory: &GuestMemoryMmap<()>, head: u16, written: u32) {
        // It fails for a head beyond the queue, which no chain that `take` gave can be of use with,
        // and for a used ring that is no memory, which nobody reads.
        let _ = self.queue.add_used(memory, head, written);
    }

    /// Interrupts the driver if it wants to know of what was given back.
    pub fn interrupt_if_wanted(&mut self, memory: &GuestMemoryMmap<()>) {
        if self.queue.needs_notification(memory).unwrap_or(true) {
            self.interrupt.used_ring();
        }
    }

    /// Asks the driver not to notify, because the device is looking anyway.
    pub fn mute(&mut self, memory: &GuestMemoryMmap<()>) {
        let _ = self.queue.disable_notification(memory);
    }

    /// Asks the driver to notify again; true where chains have come meanwhile, so that nobody may
    /// wait yet.
    pub fn unmute(&mut self, memory: &GuestMemoryMmap<()>) -> bool {
        self.queue.ready() && self.queue.enable_notification(memory).unwrap_or(false)
    }
}
