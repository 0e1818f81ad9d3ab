//! Sparse files as GNU tar writes them: the old form (`S`), and PAX forms 0.0, 0.1 and 1.0 ("Storing
//! Sparse Files" in GNU tar's manual). A map is believed only after [`Map::check`].

use super::header::{self, Block};
use super::{TarInput, TarReader, pax};
use crate::error::TarError;

/// The most segments of one file: 16 MiB of memory. A disk image of 4 GiB with every other block
/// written has half as many.
const MAX_SEGMENTS: usize = 1 << 20;
/// The largest sparse file, in bytes: what the file system image could hold besides (16 TiB).
const MAX_SIZE: u64 = 1 << 44;

/// A stretch of a sparse file that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is; not 0.
    pub length: u64,
}

/// What a sparse file consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) size: u64,
    pub(super) segments: Vec<Segment>,
}

impl Map {
    /// Segments must ascend, lie within the file, and be what is stored.
    pub(super) fn check(&self, stored: u64, offset: u64) -> Result<(), TarError> {
        let mut end = 0;
        let mut sum = 0u64;
        for segment in &self.segments {
            let segment_end = segment.offset.checked_add(segment.length);
            match segment_end.filter(|&to| segment.offset >= end && to <= self.size) {
                Some(to) => end = to,
                None => return Err(TarError::SparseMap { offset }),
            }
            sum = sum.saturating_add(segment.length);
        }
        if self.size > MAX_SIZE || sum != stored {
            return Err(TarError::SparseMap { offset });
        }
        Ok(())
    }
}

/// Segments of offset, length, offset, length, …; empty ones, which only tell the file's end, go.
pub(super) fn pairs(numbers: &[u64]) -> Option<Vec<Segment>> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    (rest.is_empty() && pairs.len() <= MAX_SEGMENTS).then(|| {
        pairs
            .iter()
            .map(|&[offset, length]| Segment { offset, length })
            .filter(|segment| segment.length > 0)
            .collect()
    })
}

/// The map of an old GNU entry: four segments in its header, 21 in each block that follows.
pub(super) fn read_gnu<I: TarInput>(
    reader: &mut TarReader<I>,
    first: &Block,
) -> Result<Map, TarError> {
    let at = reader.offset;
    let error = || TarError::SparseMap { offset: at };
    let read = |field: &[u8]| header::number(field).and_then(|value| u64::try_from(value).ok());
    let size = read(header::bytes(first, 483, 12)).ok_or_else(error)?;
    let mut segments = Vec::new();
    let mut table = header::bytes(first, 386, 4 * 24).to_vec();
    let mut more = first[482] != 0;
    loop {
        for pair in table.as_chunks::<24>().0 {
            let (offset, length) = pair.split_at(12);
            // A table that is not full ends in NULs.
            if offset.iter().chain(length).all(|&byte| byte == 0) {
                break;
            }
            let (offset, length) =
                (read(offset).ok_or_else(error)?, read(length).ok_or_else(error)?);
            if length > 0 {
                segments.push(Segment { offset, length });
            }
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(error());
        }
        if !more {
            return Ok(Map { size, segments });
        }
        let block = reader.required_block()?;
        table = header::bytes(&block, 0, 21 * 24).to_vec();
        more = block[504] != 0;
    }
}

/// The map of PAX format 1.0, at the begin of the data: the number of segments, then offset and length
/// of each, each a decimal number on a line of its own, padded to a block.
pub(super) fn read_pax_1_0<I: TarInput>(
    reader: &mut TarReader<I>,
) -> Result<Vec<Segment>, TarError> {
    let at = reader.offset;
    let error = || TarError::SparseMap { offset: at };
    let mut numbers = Vec::new();
    let mut wanted = 1;
    let mut line = Vec::new();
    while numbers.len() < wanted {
        for byte in reader.data_block()? {
            if byte != b'\n' {
                line.push(byte);
                if line.len() > 20 {
                    return Err(error());
                }
                continue;
            }
            let number = pax::decimal(&line).ok_or_else(error)?;
            line.clear();
            if wanted == 1 && numbers.is_empty() {
                let count = usize::try_from(number).ok().filter(|&count| count <= MAX_SEGMENTS);
                wanted = 1 + 2 * count.ok_or_else(error)?;
            }
            numbers.push(number);
            if numbers.len() == wanted {
                break;
            }
        }
    }
    pairs(numbers.get(1..).unwrap_or(&[])).ok_or_else(error)
}
