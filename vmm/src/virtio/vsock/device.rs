//! The virtio face of the socket device: config space, activation and reset (VirtIO 1.2 §5.10.2-4).

use super::offers::Offers;
use super::worker::{Queues, Worker};
use super::{GUEST_CID, QUEUE_SIZE};
use crate::threads::{Crew, ThreadKind, Threads};
use crate::virtio::service::Service;
use crate::virtio::{ActivateError, Activation, DeviceId, DeviceState, VirtQueue, VirtioDevice};
use std::io;
use std::sync::Arc;

/// Whose the third queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventQueue {
    /// The device's.
    Own,
    /// The vhost-user frontend's: the device is given the other two.
    Frontend,
}

/// The socket device.
#[derive(Debug)]
pub struct Vsock {
    offers: Offers,
    config_space: [u8; 8],
    queue_sizes: &'static [u16],
    service: Service,
    crew: Crew,
}

impl Vsock {
    /// A socket device whose guest may connect to what is offered, with the thread that will serve it.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn new(offers: Offers, event_queue: EventQueue, threads: Threads) -> io::Result<Self> {
        let queue_sizes: &[u16] = match event_queue {
            EventQueue::Own => &[QUEUE_SIZE; 3],
            EventQueue::Frontend => &[QUEUE_SIZE; 2],
        };
        let crew = Crew::start(threads, ThreadKind::Vsock, 1)?;
        let (config_space, service) = (GUEST_CID.to_le_bytes(), Service::default());
        Ok(Self { offers, config_space, queue_sizes, service, crew })
    }
}

impl VirtioDevice for Vsock {
    fn id(&self) -> DeviceId {
        DeviceId::Vsock
    }

    fn features(&self) -> u64 {
        // Streams only: no feature says so (VirtIO 1.2 §5.10.3).
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        self.queue_sizes
    }

    fn config_space(&self) -> &[u8] {
        &self.config_space
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let Activation { memory, queues, .. } = activation;
        let (got, expected) = (queues.len(), self.queue_sizes.len());
        let queues = Some(queues).filter(|_| got == expected).and_then(Queues::of);
        let queues = queues.ok_or(ActivateError::QueueCount { got, expected })?;
        self.service = Service::begin(&self.crew, |stop| {
            let worker = Worker::new(memory, queues, self.offers.clone(), Arc::clone(stop));
            let worker = worker.map_err(ActivateError::Watch)?;
            Ok(|| worker.run())
        })?;
        Ok(())
    }

    fn reset(&mut self) -> Vec<VirtQueue> {
        self.service.end()
    }

    fn save(&self) -> DeviceState {
        DeviceState::Vsock
    }
}
