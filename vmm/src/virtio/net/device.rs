//! The virtio face of the network device: features, config space, activation and reset (VirtIO 1.2 §5.1.3-5).

use super::worker::{Queues, Worker};
use super::{QUEUE_SIZE, feature};
use crate::threads::{Crew, ThreadKind, Threads};
use crate::virtio::service::Service;
use crate::virtio::{ActivateError, Activation, DeviceId, DeviceState, VirtQueue, VirtioDevice};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Packets to the guest, and from it.
const QUEUE_SIZES: [u16; 2] = [QUEUE_SIZE; 2];
/// `struct virtio_net_config` up to `mtu` (VirtIO 1.2 §5.1.4).
const CONFIG_BYTES: usize = 12;

/// A network device.
#[derive(Debug)]
pub struct Net {
    mac: [u8; 6],
    mtu: u16,
    config_space: [u8; CONFIG_BYTES],
    connection: Arc<OwnedFd>,
    service: Service,
    crew: Crew,
}

impl Net {
    /// A network device of this hardware address and largest packet, at whose other end is whatever `connection`
    /// leads to; with the thread that will serve it.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn new(mac: [u8; 6], mtu: u16, connection: OwnedFd, threads: Threads) -> io::Result<Self> {
        let crew = Crew::start(threads, ThreadKind::Net, 1)?;
        let (connection, service) = (Arc::new(connection), Service::default());
        Ok(Self { mac, mtu, config_space: config_space(mac, mtu), connection, service, crew })
    }
}

impl VirtioDevice for Net {
    fn id(&self) -> DeviceId {
        DeviceId::Net
    }

    fn features(&self) -> u64 {
        let to_host = feature::CSUM | feature::HOST_TSO4 | feature::HOST_TSO6;
        let to_guest = feature::GUEST_CSUM | feature::GUEST_TSO4 | feature::GUEST_TSO6;
        // Without a status the link is there from the first moment, and no driver waits for it.
        to_host | to_guest | feature::MRG_RXBUF | feature::MAC | feature::MTU
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn config_space(&self) -> &[u8] {
        &self.config_space
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let Activation { memory, queues, features } = activation;
        let [receive, transmit]: [VirtQueue; 2] = queues.try_into().map_err(|queues: Vec<_>| {
            ActivateError::QueueCount { got: queues.len(), expected: QUEUE_SIZES.len() }
        })?;
        self.service = Service::begin(&self.crew, |stop| {
            let (queues, connection) = (Queues { receive, transmit }, Arc::clone(&self.connection));
            let worker = Worker::new(memory, queues, features, connection, Arc::clone(stop));
            let worker = worker.map_err(ActivateError::Watch)?;
            Ok(|| worker.run())
        })?;
        Ok(())
    }

    fn reset(&mut self) -> Vec<VirtQueue> {
        self.service.end()
    }

    fn save(&self) -> DeviceState {
        DeviceState::Net { mac: self.mac, mtu: self.mtu }
    }
}

fn config_space(mac: [u8; 6], mtu: u16) -> [u8; CONFIG_BYTES] {
    let mut bytes = [0; CONFIG_BYTES];
    let mut put = |offset: usize, value: &[u8]| {
        bytes.iter_mut().skip(offset).zip(value).for_each(|(to, byte)| *to = *byte);
    };
    put(0, &mac);
    put(10, &mtu.to_le_bytes());
    bytes
}
