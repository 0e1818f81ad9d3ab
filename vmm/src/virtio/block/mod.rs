//! The block device (VirtIO 1.2 §5.2): one disk made of file stretches, one after the other.
//!
//! Owns: the disk's shape ([`extents`]), requests as chains ([`request`]), the virtio face
//! ([`device`]) and the threads that serve it ([`worker`]). Never opens a file, never parses what is
//! on the disk: a disk is raw bytes.
//!
//! ```text
//!   chain ─ buffers ─▶ request (pure) ─▶ extents: preadv, pwritev, fallocate ─▶ status ─▶ used ring
//! ```

mod device;
mod extents;
mod request;
mod worker;

#[cfg(test)]
mod tests;

pub use device::Block;
pub use extents::{DiskError, GROWN_BYTES};
#[cfg(feature = "fuzzing")]
pub(crate) use {
    extents::Extents,
    request::{Limits, Parsed},
    worker::Work,
};

/// The size of the only queue.
const QUEUE_SIZE: u16 = 256;
/// The most data buffers of one request. QEMU's ring has 128 entries, two of which are not data.
const MAX_SEGMENTS: u32 = 126;
/// What a sector is, whatever the disk (VirtIO 1.2 §5.2.4).
const SECTOR_BYTES: u64 = 512;
/// What offsets and lengths of extents, and ranges to discard, are best multiples of.
const BLOCK_BYTES: u64 = 4096;
/// The most sectors of one range to discard or to zero: 64 MiB. On hosts that cannot zero a range at
/// once every byte is written, and a reset waits for it.
const MAX_RANGE_SECTORS: u32 = 1 << 17;
/// The most ranges of one discard request.
const MAX_DISCARDS: u32 = 32;
/// The most ranges of one write-zeroes request.
const MAX_ZEROES: u32 = 1;
/// The length of a serial number (VirtIO 1.2 §5.2.6).
const SERIAL_BYTES: usize = 20;
