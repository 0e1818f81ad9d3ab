//! What the threads of a device sleep on: its events and the order to stop.
//!
//! Events are watched for edges and never read: their descriptors may come from outside, and might make
//! a reader wait. One edge wakes one of the threads that wait.

use super::stop::Stop;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Events and the order to stop, in one.
#[derive(Debug)]
pub struct Wakeups {
    epoll: OwnedFd,
    stop: Arc<Stop>,
}

impl Wakeups {
    /// Watches these.
    ///
    /// # Errors
    /// Where no epoll instance can be made, or it refuses a descriptor.
    pub fn of(events: &[BorrowedFd<'_>], stop: &Arc<Stop>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, stop.as_fd(), EventData::new_u64(0), EventFlags::IN)?;
        for event in events {
            epoll::add(&epoll, event, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?;
        }
        Ok(Self { epoll, stop: Arc::clone(stop) })
    }

    /// Waits for an event; false where it is time to stop.
    pub fn wait(&self) -> bool {
        let mut event = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
        loop {
            match epoll::wait(&self.epoll, event.as_mut_slice(), None) {
                Ok(_) => return !self.stop.is_told(),
                Err(Errno::INTR) => {}
                // What cannot be waited for will never say anything again.
                Err(_) => return false,
            }
        }
    }
}
