//! The file system device (VirtIO 1.2 §5.11), in the process that shares directories.
//!
//! One thread waits for requests, has a [`Responder`] answer each, and gives the queues back when it is told to end. What
//! a request says is the responder's to know; here it is a chain. The device in the VMM is a
//! [`Remote`](super::vhost_user::Remote) of this one.

mod serve;

use super::queue::Chain;
use super::service::Service;
use super::sys::event_descriptor;
use super::wakeups::Wakeups;
use super::{ActivateError, Activation, DeviceId, DeviceState, VirtQueue, VirtioDevice};
use crate::threads::{Crew, ThreadKind, Threads};
use std::io;
use std::sync::Arc;
use vm_memory::GuestMemoryMmap;

/// One queue for what may not wait, and has no answer; one for requests. Linux asks for as much at a time as a queue has
/// entries: a MiB takes 256 of them.
pub(crate) const QUEUE_SIZES: [u16; 2] = [512; 2];
/// The name by which a driver finds it, padded with zeroes; and how many queues for requests there are.
const TAG_BYTES: usize = 36;
const CONFIG_BYTES: usize = TAG_BYTES + 4;

/// Who answers the requests of a driver.
pub trait Responder: Send + Sync + std::fmt::Debug {
    /// Answers the request in a chain. Gives how many bytes of the chain it has written.
    fn answer(&self, memory: &GuestMemoryMmap<()>, chain: Chain<'_>) -> u32;
}

/// The config space of a device of this name, which is cut at 36 bytes.
pub(crate) fn config_space(tag: &str) -> [u8; CONFIG_BYTES] {
    let mut space = [0; CONFIG_BYTES];
    let (name, queues) = space.split_at_mut(TAG_BYTES);
    name.iter_mut().zip(tag.bytes()).for_each(|(to, from)| *to = from);
    queues.copy_from_slice(&1u32.to_le_bytes());
    space
}

/// A file system.
#[derive(Debug)]
pub struct FileSystem {
    service: Service,
    crew: Crew,
    config: [u8; CONFIG_BYTES],
    responder: Arc<dyn Responder>,
}

impl FileSystem {
    /// A file system of this name, with the thread that will serve it.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn new(tag: &str, responder: Arc<dyn Responder>, threads: Threads) -> io::Result<Self> {
        let crew = Crew::start(threads, ThreadKind::FileSystem, 1)?;
        Ok(Self { service: Service::default(), crew, config: config_space(tag), responder })
    }
}

impl VirtioDevice for FileSystem {
    fn id(&self) -> DeviceId {
        DeviceId::FileSystem
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn config_space(&self) -> &[u8] {
        &self.config
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let Activation { memory, queues, .. } = activation;
        if queues.len() != QUEUE_SIZES.len() {
            let (got, expected) = (queues.len(), QUEUE_SIZES.len());
            return Err(ActivateError::QueueCount { got, expected });
        }
        let responder = Arc::clone(&self.responder);
        self.service = Service::begin(&self.crew, |stop| {
            let events: Vec<_> =
                queues.iter().map(|queue| event_descriptor(&queue.notify)).collect();
            let wakeups = Wakeups::of(&events, stop).map_err(ActivateError::Watch)?;
            drop(events);
            let stop = Arc::clone(stop);
            Ok(move || serve::until_stop(&memory, queues, &*responder, &wakeups, &stop))
        })?;
        Ok(())
    }

    fn reset(&mut self) -> Vec<VirtQueue> {
        self.service.end()
    }

    fn save(&self) -> DeviceState {
        DeviceState::FileSystem
    }
}

#[cfg(test)]
mod tests;
