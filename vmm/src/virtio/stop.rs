//! How a device's thread is told to end.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// An order to stop: a thread that waits sees it as a readable descriptor, one that works asks.
#[derive(Debug)]
pub struct Stop {
    event: OwnedFd,
    told: AtomicBool,
}

impl Stop {
    /// An order that has not been given.
    ///
    /// # Errors
    /// Where no eventfd can be made.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, told: AtomicBool::new(false) })
    }

    /// Gives the order.
    pub fn tell(&self) {
        self.told.store(true, Ordering::Release);
        // An eventfd's write fails only when its counter is full, and then it is readable already.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Whether it was given.
    pub fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
