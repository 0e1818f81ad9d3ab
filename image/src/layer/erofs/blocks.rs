//! Writes a file from its begin to its end in large pieces, and leaves blocks of zeroes out as holes.

use super::super::error::{Limited, UnpackError};
use super::super::limits::Limits;
use super::format::{BLOCK, BLOCK_BYTES};
use std::io::{Seek, SeekFrom, Write};

const BUFFER_BYTES: usize = 1 << 20;

/// A file in the making.
#[derive(Debug)]
pub(super) struct BlockWriter<W> {
    out: W,
    /// Where `out` stands.
    out_position: u64,
    buffer: Vec<u8>,
    /// Where the buffer belongs: a multiple of the block size.
    start: u64,
    limit: u64,
    /// How many bytes may still be written, holes not among them.
    room: u64,
}

impl<W: Write + Seek> BlockWriter<W> {
    pub(super) fn new(out: W, limits: &Limits) -> Self {
        let limit = limits.image_bytes.min(u64::from(u32::MAX - 1) * BLOCK_BYTES);
        let buffer = Vec::with_capacity(BUFFER_BYTES + BLOCK);
        Self { out, out_position: 0, buffer, start: 0, limit, room: limits.written_bytes }
    }

    /// How many bytes were written.
    pub(super) fn position(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    /// The number of the block that begins here. Callers align first.
    pub(super) fn block(&self) -> Result<u32, UnpackError> {
        u32::try_from(self.position() / BLOCK_BYTES).map_err(|_| self.too_large())
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), UnpackError> {
        if self.position().saturating_add(bytes.len() as u64) > self.limit {
            return Err(self.too_large());
        }
        while !bytes.is_empty() {
            let room = BUFFER_BYTES.saturating_sub(self.buffer.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() >= BUFFER_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    pub(super) fn zeroes(&mut self, count: u64) -> Result<(), UnpackError> {
        let end = self.position().saturating_add(count);
        if end > self.limit {
            return Err(self.too_large());
        }
        let first = count.min(self.position().wrapping_neg() % BLOCK_BYTES);
        self.pad(first)?;
        if count - first >= BLOCK_BYTES {
            self.flush()?;
            self.start = end - end % BLOCK_BYTES;
        }
        self.pad(end - self.position())
    }

    /// Goes on to the next block's begin.
    pub(super) fn align(&mut self) -> Result<(), UnpackError> {
        self.zeroes(self.position().wrapping_neg() % BLOCK_BYTES)
    }

    /// Writes what is left, `first` as the first block, and gives the file's length.
    pub(super) fn finish(mut self, first: &[u8; BLOCK]) -> Result<u64, UnpackError> {
        self.align()?;
        self.flush()?;
        let length = self.start;
        self.put(0, first)?;
        // The last block may have been left out: only a byte makes the file as long as it is.
        if self.out.seek(SeekFrom::End(0)).map_err(|error| UnpackError::output(&error))? < length {
            self.out_position = u64::MAX;
            self.put(length - 1, &[0])?;
        }
        self.out.flush().map_err(|error| UnpackError::output(&error))?;
        Ok(length)
    }

    /// Less than a block.
    fn pad(&mut self, count: u64) -> Result<(), UnpackError> {
        const ZEROES: [u8; BLOCK] = [0; BLOCK];
        let count = usize::try_from(count).unwrap_or(BLOCK);
        self.write(ZEROES.get(..count).unwrap_or(&ZEROES))
    }

    /// Writes all whole blocks of the buffer that are not zeroes.
    fn flush(&mut self) -> Result<(), UnpackError> {
        let buffer = std::mem::take(&mut self.buffer);
        let (blocks, rest) = buffer.as_chunks::<BLOCK>();
        let mut done = 0;
        while let Some(data) = blocks.get(done..).and_then(|left| left.iter().position(has_data)) {
            let from = done + data;
            let left = blocks.get(from..).unwrap_or(&[]);
            let count = left.iter().position(|block| !has_data(block)).unwrap_or(left.len());
            done = from + count;
            let run = blocks.get(from..done).unwrap_or(&[]);
            self.put(self.start + (from * BLOCK) as u64, run.as_flattened())?;
        }
        self.start += (blocks.len() * BLOCK) as u64;
        let rest = rest.to_vec();
        self.buffer = buffer;
        self.buffer.clear();
        self.buffer.extend_from_slice(&rest);
        Ok(())
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), UnpackError> {
        self.room = self.room.checked_sub(bytes.len() as u64).ok_or(UnpackError::NoRoom)?;
        let write = |out: &mut W| {
            if at != self.out_position {
                out.seek(SeekFrom::Start(at))?;
            }
            out.write_all(bytes)
        };
        write(&mut self.out).map_err(|error| UnpackError::output(&error))?;
        self.out_position = at + bytes.len() as u64;
        Ok(())
    }

    fn too_large(&self) -> UnpackError {
        UnpackError::Limit { what: Limited::ImageBytes, limit: self.limit }
    }
}

fn has_data(block: &[u8; BLOCK]) -> bool {
    *block != [0; BLOCK]
}
