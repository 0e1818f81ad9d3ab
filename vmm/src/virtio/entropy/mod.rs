//! The entropy source (VirtIO 1.2 §5.4), and the device to copy when writing a new one: this file is
//! its virtio face, `serve.rs` what it does with its queue.
//!
//! One thread waits for the driver or the order to stop, fills buffers with the host's random bytes, and gives
//! the queue back when it is told to end.

mod serve;

use super::service::Service;
use super::sys::event_descriptor;
use super::wakeups::Wakeups;
use super::{ActivateError, Activation, DeviceId, DeviceState, VirtQueue, VirtioDevice};
use crate::threads::{Crew, ThreadKind, Threads};
use std::io;
use std::sync::Arc;

const QUEUE_SIZES: [u16; 1] = [64];

/// An entropy source.
#[derive(Debug)]
pub struct Entropy {
    service: Service,
    crew: Crew,
}

impl Entropy {
    /// An entropy source, with the thread that will serve it.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn new(threads: Threads) -> io::Result<Self> {
        let crew = Crew::start(threads, ThreadKind::Entropy, 1)?;
        Ok(Self { service: Service::default(), crew })
    }
}

impl VirtioDevice for Entropy {
    fn id(&self) -> DeviceId {
        DeviceId::Entropy
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn config_space(&self) -> &[u8] {
        &[]
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let Activation { memory, queues, .. } = activation;
        let [queue]: [VirtQueue; 1] = queues.try_into().map_err(|queues: Vec<_>| {
            ActivateError::QueueCount { got: queues.len(), expected: QUEUE_SIZES.len() }
        })?;
        self.service = Service::begin(&self.crew, |stop| {
            let wakeups = Wakeups::of(&[event_descriptor(&queue.notify)], stop);
            let wakeups = wakeups.map_err(ActivateError::Watch)?;
            let stop = Arc::clone(stop);
            Ok(move || vec![serve::until_stop(&memory, queue, &wakeups, &stop)])
        })?;
        Ok(())
    }

    fn reset(&mut self) -> Vec<VirtQueue> {
        self.service.end()
    }

    fn save(&self) -> DeviceState {
        DeviceState::Entropy
    }
}

#[cfg(test)]
mod tests;
