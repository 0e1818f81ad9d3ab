//! QEMU's requests, one method each, and when they add up to an active device.

use super::ring::{Addresses, MAX_RING_SIZE, Ring};
use super::shared_memory::SharedMemory;
use crate::virtio::{Activation, Memory, VirtioDevice, sys};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVirtioFeatures,
    VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

const EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;
/// What the transport offers beside the device's own features.
const TRANSPORT_FEATURES: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC | EVENT_IDX;
const WHILE_ACTIVE: Error = Error::InvalidOperation("the ring is in use");
const NOT_OFFERED: Error = Error::InvalidOperation("not offered");

/// A device with what QEMU has said about it.
pub struct Backend {
    device: Box<dyn VirtioDevice>,
    features: u64,
    shared: Option<SharedMemory>,
    rings: Vec<Ring>,
    active: bool,
}

impl Backend {
    /// A device of which QEMU has said nothing.
    pub fn new(device: Box<dyn VirtioDevice>) -> Self {
        Self { device, features: 0, shared: None, rings: Vec::new(), active: false }
    }

    /// Stops the device. Gives the memory that QEMU shared, and the device.
    pub fn finish(mut self) -> (Option<Memory>, Box<dyn VirtioDevice>) {
        self.deactivate();
        (self.shared.map(|shared| shared.memory().clone()), self.device)
    }

    fn offered_features(&self) -> u64 {
        self.device.features()
            | TRANSPORT_FEATURES
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    /// The ring of an index, all of them made at the first question.
    fn ring(&mut self, index: u32) -> Result<&mut Ring> {
        while self.rings.len() < self.device.queue_sizes().len() {
            self.rings.push(Ring::new().map_err(Error::ReqHandlerError)?);
        }
        self.rings.get_mut(index as usize).ok_or(Error::InvalidParam)
    }

    fn idle_ring(&mut self, index: u32) -> Result<&mut Ring> {
        if self.active { Err(WHILE_ACTIVE) } else { self.ring(index) }
    }

    /// Activates the device when every ring is ready.
    fn activate_when_ready(&mut self) -> Result<()> {
        let count = self.device.queue_sizes().len();
        let ready = self.rings.len() == count && self.rings.iter().all(Ring::is_ready);
        let Some(shared) = self.shared.as_ref().filter(|_| ready && !self.active) else {
            return Ok(());
        };
        let event_idx = self.features & EVENT_IDX != 0;
        let queues = self.rings.iter_mut().map(|ring| ring.take(shared, event_idx));
        let queues = queues.collect::<Option<Vec<_>>>().ok_or(Error::InvalidParam)?;
        let memory = shared.memory().clone();
        let activation = Activation { memory, queues, features: self.features };
        let failed = |error| Error::ReqHandlerError(io::Error::other(error));
        self.device.activate(activation).map_err(failed)?;
        self.active = true;
        Ok(())
    }

    fn deactivate(&mut self) {
        if self.active {
            self.active = false;
            let queues = self.device.reset();
            self.rings.iter_mut().zip(queues).for_each(|(ring, queue)| ring.put_back(queue));
        }
    }
}

impl VhostUserBackendReqHandlerMut for Backend {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.deactivate();
        self.rings.clear();
        self.features = 0;
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        self.reset_owner()
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.offered_features())
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !self.offered_features() != 0 {
            return Err(Error::FeatureMismatch);
        }
        // QEMU says them again at each start, when the rings are not in use.
        self.deactivate();
        self.features = features;
        if features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0 {
            for index in 0..self.device.queue_sizes().len() {
                self.ring(u32::try_from(index).map_err(|_| Error::InvalidParam)?)?.enabled = true;
            }
        }
        self.activate_when_ready()
    }

    fn set_mem_table(&mut self, regions: &[VhostUserMemoryRegion], files: Vec<File>) -> Result<()> {
        let shared = SharedMemory::map(regions, files);
        let shared = shared.map_err(|error| Error::ReqHandlerError(io::Error::other(error)))?;
        self.deactivate();
        self.shared = Some(shared);
        self.activate_when_ready()
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let size = u16::try_from(num).map_err(|_| Error::InvalidParam)?;
        if size > MAX_RING_SIZE || !size.is_power_of_two() {
            return Err(Error::InvalidParam);
        }
        self.idle_ring(index)?.size = size;
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        if !flags.is_empty() {
            return Err(NOT_OFFERED);
        }
        self.idle_ring(index)?.addresses =
            Addresses { descriptor_table: descriptor, available_ring: available, used_ring: used };
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        self.idle_ring(index)?.next_available = base;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        self.deactivate();
        let ring = self.ring(index)?;
        ring.kick = None;
        Ok(VhostUserVringState::new(index, u32::from(ring.next_available)))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.deactivate();
        // A ring without a kick would have to be polled, which QEMU never asks for.
        let kick = sys::event_from(OwnedFd::from(file.ok_or(Error::InvalidParam)?));
        self.ring(u32::from(index))?.kick = Some(kick.into());
        self.activate_when_ready()
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let call = file.map(OwnedFd::from);
        self.ring(u32::from(index))?.set_call(call).map_err(Error::ReqHandlerError)
    }

    fn set_vring_err(&mut self, _index: u8, _file: Option<File>) -> Result<()> {
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::CONFIG)
    }

    fn set_protocol_features(&mut self, _features: u64) -> Result<()> {
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.device.queue_sizes().len() as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        if !enable {
            self.deactivate();
        }
        self.ring(index)?.enabled = enable;
        self.activate_when_ready()
    }

    fn get_config(&mut self, offset: u32, size: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        let known = self.device.config_space().iter().skip(offset as usize).copied();
        Ok(known.chain(std::iter::repeat(0)).take(size as usize).collect())
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        // A driver's write to config space is ignored, as with every transport.
        Ok(())
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        Err(NOT_OFFERED)
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        Err(NOT_OFFERED)
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Err(NOT_OFFERED)
    }

    fn add_mem_region(&mut self, _: &VhostUserSingleMemoryRegion, _: File) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn remove_mem_region(&mut self, _: &VhostUserSingleMemoryRegion) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        Err(NOT_OFFERED)
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(NOT_OFFERED)
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        Err(NOT_OFFERED)
    }
}
