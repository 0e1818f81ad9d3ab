//! The virtio face of a disk: features, config space, activation and reset (VirtIO 1.2 §5.2.3-5).

use super::extents::{DiskError, Extents};
use super::worker::{THREADS, Work, Workers};
use super::{
    BLOCK_BYTES, MAX_DISCARDS, MAX_RANGE_SECTORS, MAX_SEGMENTS, MAX_ZEROES, QUEUE_SIZE,
    SECTOR_BYTES, SERIAL_BYTES,
};
use crate::config::DiskConfig;
use crate::threads::{Crew, ThreadKind, Threads};
use crate::virtio::{ActivateError, Activation, DeviceId, DeviceState, VirtQueue, VirtioDevice};
use std::os::fd::OwnedFd;
use std::sync::Arc;

const FEATURE_SEG_MAX: u64 = 1 << 2;
const FEATURE_RO: u64 = 1 << 5;
const FEATURE_FLUSH: u64 = 1 << 9;
const FEATURE_TOPOLOGY: u64 = 1 << 10;
const FEATURE_DISCARD: u64 = 1 << 13;
const FEATURE_WRITE_ZEROES: u64 = 1 << 14;

/// `struct virtio_blk_config` up to `unused1` (VirtIO 1.2 §5.2.4).
const CONFIG_BYTES: usize = 60;

/// A disk.
#[derive(Debug)]
pub struct Block {
    disk: Arc<Extents>,
    serial: [u8; SERIAL_BYTES],
    writable: bool,
    config_space: [u8; CONFIG_BYTES],
    crew: Crew,
    active: Option<Arc<Workers>>,
}

impl Block {
    /// Makes a disk of open files, with the threads that will serve it. It keeps descriptors of its own.
    ///
    /// # Errors
    /// [`DiskError`] where configuration and files do not fit together, or there is no thread for it.
    pub fn new(
        config: &DiskConfig,
        files: &[OwnedFd],
        threads: Threads,
    ) -> Result<Self, DiskError> {
        let disk = Extents::open(config, files)?;
        let mut serial = [0; SERIAL_BYTES];
        serial.iter_mut().zip(config.serial.bytes()).for_each(|(to, byte)| *to = byte);
        let config_space = config_space(disk.len(), config.writable);
        let crew = Crew::start(threads, ThreadKind::Block, THREADS).map_err(DiskError::Threads)?;
        Ok(Self {
            disk: Arc::new(disk),
            serial,
            writable: config.writable,
            config_space,
            crew,
            active: None,
        })
    }
}

impl VirtioDevice for Block {
    fn id(&self) -> DeviceId {
        DeviceId::Block
    }

    fn features(&self) -> u64 {
        let common = FEATURE_SEG_MAX | FEATURE_FLUSH | FEATURE_TOPOLOGY;
        common | if self.writable { FEATURE_DISCARD | FEATURE_WRITE_ZEROES } else { FEATURE_RO }
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn config_space(&self) -> &[u8] {
        &self.config_space
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let Activation { memory, queues, .. } = activation;
        let got = queues.len();
        let Ok([queue]) = <[VirtQueue; 1]>::try_from(queues) else {
            return Err(ActivateError::QueueCount { got, expected: 1 });
        };
        let (disk, serial, writable) = (Arc::clone(&self.disk), self.serial, self.writable);
        let work = Work { disk, serial, writable, memory };
        self.active = Some(Workers::start(work, queue, self.crew.tasks())?);
        Ok(())
    }

    fn reset(&mut self) -> Vec<VirtQueue> {
        self.active.take().and_then(Workers::stop).into_iter().collect()
    }

    fn save(&self) -> DeviceState {
        DeviceState::Block { bytes: self.disk.len(), writable: self.writable }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.reset();
    }
}

fn config_space(length: u64, writable: bool) -> [u8; CONFIG_BYTES] {
    let mut bytes = [0; CONFIG_BYTES];
    let mut put = |offset: usize, value: &[u8]| {
        bytes.iter_mut().skip(offset).zip(value).for_each(|(to, byte)| *to = *byte);
    };
    put(0, &(length / SECTOR_BYTES).to_le_bytes());
    put(12, &MAX_SEGMENTS.to_le_bytes());
    // Topology: 2^3 sectors are one physical block.
    put(24, &[3]);
    put(34, &1u16.to_le_bytes());
    if writable {
        put(36, &MAX_RANGE_SECTORS.to_le_bytes());
        put(40, &MAX_DISCARDS.to_le_bytes());
        #[allow(clippy::cast_possible_truncation, reason = "8")]
        put(44, &((BLOCK_BYTES / SECTOR_BYTES) as u32).to_le_bytes());
        put(48, &MAX_RANGE_SECTORS.to_le_bytes());
        put(52, &MAX_ZEROES.to_le_bytes());
        put(56, &[1]);
    }
    bytes
}
