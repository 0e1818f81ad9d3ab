//! A device that another process serves: its driver's side is here, behind whatever transport.
//!
//! Owns the connection, over which the other process is told what a driver has set up. Notifications and interrupts
//! pass this process by: the other one has their eventfds, and guest memory itself, which is a file then. What it
//! answers is believed no more than a guest is: a wrong position spoils its own queue.

use super::super::{
    ActivateError, Activation, DeviceId, DeviceState, Memory, VirtQueue, VirtioDevice,
};
use crate::virtio::file_system;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{Error, VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueT;
use vm_memory::{Address, GuestMemory, GuestMemoryRegion};

const INDIRECT: u64 = 1 << VIRTIO_RING_F_INDIRECT_DESC;
const EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;
/// What is wanted of the other process beside the driver's features.
const NEEDED: u64 = 1 << VIRTIO_F_VERSION_1;

/// A device that another process serves.
pub struct Remote {
    id: DeviceId,
    sizes: &'static [u16],
    config: Vec<u8>,
    frontend: Frontend,
    serving: Vec<VirtQueue>,
}

impl Remote {
    /// A file system of this name, served at the other end of a connection.
    ///
    /// # Errors
    /// Where nobody is there who understands.
    pub fn file_system(tag: &str, connection: UnixStream) -> Result<Self, Error> {
        let sizes = &file_system::QUEUE_SIZES;
        let mut frontend = Frontend::from_stream(connection, sizes.len() as u64);
        frontend.set_owner()?;
        frontend.get_features()?;
        let known = frontend.get_protocol_features()?;
        frontend.set_protocol_features(known & VhostUserProtocolFeatures::MQ)?;
        let config = file_system::config_space(tag).to_vec();
        Ok(Self { id: DeviceId::FileSystem, sizes, config, frontend, serving: Vec::new() })
    }

    fn tell(&mut self, memory: &Memory, queues: &[VirtQueue]) -> Result<(), Error> {
        let told_when = queues.iter().all(|queue| queue.queue.event_idx_enabled());
        let event_idx = if told_when { EVENT_IDX } else { 0 };
        let enabled_by_ring = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        self.frontend.set_features(NEEDED | INDIRECT | event_idx | enabled_by_ring)?;
        self.frontend.set_mem_table(&regions(memory)?)?;
        for (index, VirtQueue { queue, notify, interrupt }) in queues.iter().enumerate() {
            let addresses = VringConfigData {
                queue_max_size: queue.max_size(),
                queue_size: queue.size(),
                flags: 0,
                desc_table_addr: queue.desc_table(),
                used_ring_addr: queue.used_ring(),
                avail_ring_addr: queue.avail_ring(),
                log_addr: None,
            };
            self.frontend.set_vring_num(index, queue.size())?;
            self.frontend.set_vring_base(index, queue.next_avail())?;
            self.frontend.set_vring_addr(index, &addresses)?;
            self.frontend.set_vring_call(index, interrupt.lend())?;
            self.frontend.set_vring_kick(index, notify)?;
            self.frontend.set_vring_enable(index, true)?;
        }
        Ok(())
    }
}

/// Guest memory as the other process is told of it: at its guest addresses, which are all that it needs to know.
fn regions(memory: &Memory) -> Result<Vec<VhostUserMemoryRegionInfo>, Error> {
    let region = |region: &<vm_memory::GuestMemoryMmap<()> as GuestMemory>::R| {
        let file = region.file_offset().ok_or(Error::InvalidGuestMemoryRegion)?;
        let start = region.start_addr().raw_value();
        Ok(VhostUserMemoryRegionInfo {
            guest_phys_addr: start,
            memory_size: region.len(),
            userspace_addr: start,
            mmap_offset: file.start(),
            mmap_handle: file.file().as_raw_fd(),
        })
    };
    memory.iter().map(region).collect()
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Remote").field("id", &self.id).finish_non_exhaustive()
    }
}

impl VirtioDevice for Remote {
    fn id(&self) -> DeviceId {
        self.id
    }

    fn features(&self) -> u64 {
        INDIRECT
    }

    fn queue_sizes(&self) -> &[u16] {
        self.sizes
    }

    fn config_space(&self) -> &[u8] {
        &self.config
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let Activation { memory, queues, .. } = activation;
        if queues.len() != self.sizes.len() {
            let (got, expected) = (queues.len(), self.sizes.len());
            return Err(ActivateError::QueueCount { got, expected });
        }
        self.tell(&memory, &queues).map_err(ActivateError::Remote)?;
        self.serving = queues;
        Ok(())
    }

    fn reset(&mut self) -> Vec<VirtQueue> {
        let mut queues = std::mem::take(&mut self.serving);
        for (index, queue) in queues.iter_mut().enumerate() {
            // Whoever is gone serves nothing any more.
            let Ok(base) = self.frontend.get_vring_base(index) else { break };
            let Ok(next) = u16::try_from(base) else { break };
            // What it has taken it has given back.
            queue.queue.set_next_avail(next);
            queue.queue.set_next_used(next);
        }
        queues
    }

    fn save(&self) -> DeviceState {
        DeviceState::FileSystem
    }
}
