//! One request of a block device, read out of a chain (VirtIO 1.2 §5.2.6). Pure: no file is touched.
//!
//! Whatever a driver may write there becomes a request that lies within the disk, a status to refuse
//! it with, or a chain that cannot even be answered.

use super::{MAX_DISCARDS, MAX_RANGE_SECTORS, MAX_ZEROES, SECTOR_BYTES};
use crate::virtio::buffers::{Buffers, Slices};

const TYPE_IN: u32 = 0;
const TYPE_OUT: u32 = 1;
const TYPE_FLUSH: u32 = 4;
const TYPE_GET_ID: u32 = 8;
const TYPE_DISCARD: u32 = 11;
const TYPE_WRITE_ZEROES: u32 = 13;
const FLAG_UNMAP: u32 = 1;

const HEADER_BYTES: usize = 16;
const RANGE_BYTES: usize = 16;
/// A driver may not ask for more by one request: bounds how long a reset waits for a worker.
const MAX_TRANSFER_BYTES: usize = 256 << 20;

/// How a request ended, as the driver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// It failed, or lies outside the disk.
    IoError = 1,
    /// The device does not know such requests.
    Unsupported = 2,
}

/// A stretch of the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Where it begins.
    pub position: u64,
    /// How long it is; never 0.
    pub length: u64,
    /// Whether its space may be given back.
    pub unmap: bool,
}

/// What the driver wants.
#[derive(Debug)]
pub enum Request<'m> {
    /// Fill `to` from byte `position` of the disk.
    Read {
        /// Where on the disk.
        position: u64,
        /// Where in guest memory.
        to: Slices<'m>,
    },
    /// Write `from` to byte `position` of the disk.
    Write {
        /// Where on the disk.
        position: u64,
        /// Where in guest memory.
        from: Slices<'m>,
    },
    /// Make what was written durable.
    Flush,
    /// Tell the serial number.
    GetId(Slices<'m>),
    /// Give space back.
    Discard(Vec<Range>),
    /// Make ranges read as zero.
    WriteZeroes(Vec<Range>),
}

impl Request<'_> {
    /// Whether the host may be at it for longer than at a transfer.
    pub fn may_take_long(&self) -> bool {
        matches!(self, Self::Flush | Self::Discard(_) | Self::WriteZeroes(_))
    }
}

/// What a disk allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Its size in bytes.
    pub length: u64,
    /// Whether it may be written to.
    pub writable: bool,
}

/// A chain that can be answered.
#[derive(Debug)]
pub struct Parsed<'m> {
    /// The request, or with what it is refused.
    pub request: Result<Request<'m>, Status>,
    /// The one byte for the status.
    pub status: Slices<'m>,
}

impl<'m> Parsed<'m> {
    /// Reads a request; `None` where the chain has no place for a status.
    pub fn read(buffers: Buffers<'m>, limits: Limits) -> Option<Self> {
        let Buffers { readable, mut writable } = buffers;
        let data = writable.take_front(writable.len().checked_sub(1)?);
        Some(Self { request: request(readable, data, limits), status: writable })
    }
}

fn request<'m>(
    mut readable: Slices<'m>,
    writable: Slices<'m>,
    limits: Limits,
) -> Result<Request<'m>, Status> {
    let header = readable.read_array::<HEADER_BYTES>().ok_or(Status::IoError)?;
    let (kind, sector) =
        (word(&header, 0), u64::from(word(&header, 8)) | u64::from(word(&header, 12)) << 32);
    match kind {
        TYPE_IN if readable.is_empty() => {
            Ok(Request::Read { position: position(sector, &writable, limits)?, to: writable })
        }
        TYPE_OUT if limits.writable && writable.is_empty() => {
            Ok(Request::Write { position: position(sector, &readable, limits)?, from: readable })
        }
        TYPE_FLUSH => Ok(Request::Flush),
        TYPE_GET_ID if readable.is_empty() => Ok(Request::GetId(writable)),
        TYPE_DISCARD if limits.writable && writable.is_empty() => {
            Ok(Request::Discard(ranges(readable, limits, (0, MAX_DISCARDS))?))
        }
        TYPE_WRITE_ZEROES if limits.writable && writable.is_empty() => {
            Ok(Request::WriteZeroes(ranges(readable, limits, (FLAG_UNMAP, MAX_ZEROES))?))
        }
        TYPE_IN | TYPE_OUT | TYPE_GET_ID | TYPE_DISCARD | TYPE_WRITE_ZEROES => Err(Status::IoError),
        _ => Err(Status::Unsupported),
    }
}

fn position(sector: u64, data: &Slices<'_>, limits: Limits) -> Result<u64, Status> {
    let length = data.len() as u64;
    let position = sector.checked_mul(SECTOR_BYTES).ok_or(Status::IoError)?;
    let end = position.checked_add(length).ok_or(Status::IoError)?;
    let whole = length.is_multiple_of(SECTOR_BYTES) && data.len() <= MAX_TRANSFER_BYTES;
    if whole && end <= limits.length { Ok(position) } else { Err(Status::IoError) }
}

/// Reads ranges: of these flags, so many at most.
fn ranges(
    mut data: Slices<'_>,
    limits: Limits,
    (allowed, most): (u32, u32),
) -> Result<Vec<Range>, Status> {
    let count = data.len() / RANGE_BYTES;
    if count == 0 || count > most as usize || !data.len().is_multiple_of(RANGE_BYTES) {
        return Err(Status::IoError);
    }
    let mut ranges = Vec::with_capacity(count);
    while let Some(bytes) = data.read_array::<RANGE_BYTES>() {
        let sector = u64::from(word(&bytes, 0)) | u64::from(word(&bytes, 4)) << 32;
        let (sectors, flags) = (word(&bytes, 8), word(&bytes, 12));
        if flags & !allowed != 0 {
            return Err(Status::Unsupported);
        }
        let position = sector.checked_mul(SECTOR_BYTES).ok_or(Status::IoError)?;
        let length = u64::from(sectors) * SECTOR_BYTES;
        let end = position.checked_add(length).ok_or(Status::IoError)?;
        if sectors == 0 || sectors > MAX_RANGE_SECTORS || end > limits.length {
            return Err(Status::IoError);
        }
        ranges.push(Range { position, length, unmap: flags & FLAG_UNMAP != 0 });
    }
    Ok(ranges)
}

/// The little-endian word at `offset` of a header that is known to be long enough.
fn word(bytes: &[u8; 16], offset: usize) -> u32 {
    let found = bytes.get(offset..).and_then(|rest| rest.first_chunk::<4>());
    found.map_or(0, |word| u32::from_le_bytes(*word))
}
