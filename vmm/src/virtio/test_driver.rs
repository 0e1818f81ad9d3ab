//! A driver's side of a virtqueue, for tests: rings in guest memory, written by hand, so that they can
//! be as wrong as a test needs.

use super::{Interrupt, Memory, VirtQueue};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A buffer of a chain: guest address, length, whether the device writes to it.
pub type Buffer = (u64, u32, bool);

/// Guest memory of `bytes` from address 0 on.
pub fn memory(bytes: usize) -> Memory {
    Arc::new(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), bytes)]).unwrap())
}

/// The driver's side of one queue.
pub struct Driver {
    pub memory: Memory,
    base: u64,
    size: u16,
    free: Vec<u16>,
    available: u16,
    used: u16,
    pub kick: EventFd,
    pub call: EventFd,
}

impl Driver {
    /// A queue whose rings begin at `base`: 26 bytes an entry, and some.
    pub fn new(memory: &Memory, base: u64, size: u16) -> Self {
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        let free = (0..size).rev().collect();
        let memory = Arc::clone(memory);
        Self { memory, base, size, free, available: 0, used: 0, kick: event(), call: event() }
    }

    pub fn available_ring(&self) -> u64 {
        self.base + 16 * u64::from(self.size)
    }

    pub fn used_ring(&self) -> u64 {
        (self.available_ring() + 6 + 2 * u64::from(self.size)).next_multiple_of(4)
    }

    /// The device's side.
    pub fn queue(&self) -> VirtQueue {
        let mut queue = Queue::new(self.size).unwrap();
        queue.try_set_desc_table_address(GuestAddress(self.base)).unwrap();
        queue.try_set_avail_ring_address(GuestAddress(self.available_ring())).unwrap();
        queue.try_set_used_ring_address(GuestAddress(self.used_ring())).unwrap();
        queue.set_ready(true);
        let interrupt = Interrupt::call(self.call.try_clone().unwrap());
        VirtQueue { queue, notify: self.kick.try_clone().unwrap().into(), interrupt }
    }

    /// Writes one descriptor as it is told.
    pub fn descriptor(&self, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let at = self.base + 16 * u64::from(index);
        self.memory.write_obj(address, GuestAddress(at)).unwrap();
        self.memory.write_obj(length, GuestAddress(at + 8)).unwrap();
        self.memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
        self.memory.write_obj(next, GuestAddress(at + 14)).unwrap();
    }

    /// Makes the chain that begins at `head` available.
    pub fn publish(&mut self, head: u16) {
        let slot = self.available_ring() + 4 + 2 * u64::from(self.available % self.size);
        self.memory.write_obj(head, GuestAddress(slot)).unwrap();
        self.available = self.available.wrapping_add(1);
        self.set_available_index(self.available);
        self.kick.write(1).unwrap();
    }

    pub fn set_available_index(&self, index: u16) {
        let order = std::sync::atomic::Ordering::Release;
        self.memory.store(index, GuestAddress(self.available_ring() + 2), order).unwrap();
    }

    /// Makes a chain of these buffers available; gives its head.
    pub fn add(&mut self, buffers: &[Buffer]) -> u16 {
        let indices: Vec<u16> = buffers.iter().map(|_| self.free.pop().unwrap()).collect();
        for (place, (&(address, length, write), index)) in buffers.iter().zip(&indices).enumerate()
        {
            let next = indices.get(place + 1);
            let flags = if write { WRITE } else { 0 } | if next.is_some() { NEXT } else { 0 };
            self.descriptor(*index, address, length, flags, next.copied().unwrap_or(0));
        }
        self.publish(indices[0]);
        indices[0]
    }

    /// The next chain the device gave back, with how much it wrote.
    pub fn take_used(&mut self) -> Option<(u16, u32)> {
        let order = std::sync::atomic::Ordering::Acquire;
        let index: u16 = self.memory.load(GuestAddress(self.used_ring() + 2), order).unwrap();
        if index == self.used {
            return None;
        }
        let slot = self.used_ring() + 4 + 8 * u64::from(self.used % self.size);
        self.used = self.used.wrapping_add(1);
        let head: u32 = self.memory.read_obj(GuestAddress(slot)).unwrap();
        let written: u32 = self.memory.read_obj(GuestAddress(slot + 4)).unwrap();
        let head = u16::try_from(head).unwrap();
        self.release(head);
        Some((head, written))
    }

    /// Waits for the device's next chain, at most five seconds.
    pub fn wait_used(&mut self) -> (u16, u32) {
        for _ in 0..5000 {
            if let Some(used) = self.take_used() {
                return used;
            }
            self.wait_interrupt(Duration::from_millis(1));
        }
        panic!("the device gives nothing back");
    }

    /// Waits for an interrupt; false where none came.
    pub fn wait_interrupt(&self, at_most: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let call = super::sys::event_descriptor(&self.call);
        let timeout = rustix::event::Timespec::try_from(at_most).unwrap();
        let _ = poll(&mut [PollFd::from_borrowed_fd(call.as_fd(), PollFlags::IN)], Some(&timeout));
        self.call.read().is_ok()
    }

    fn release(&mut self, head: u16) {
        let mut index = head;
        loop {
            self.free.push(index);
            let at = self.base + 16 * u64::from(index);
            let flags: u16 = self.memory.read_obj(GuestAddress(at + 12)).unwrap();
            if flags & NEXT == 0 {
                return;
            }
            index = self.memory.read_obj(GuestAddress(at + 14)).unwrap();
        }
    }
}
