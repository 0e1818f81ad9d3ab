//! What is appended to the `cofferdam` binary after linking, so that building and testing the program
//! does not wait for a kernel.
//!
//! Owns: the format, its writer and its reader. Never does: anything with the parts' contents.
//!
//! ```text
//!   ELF binary │ part │ part │ … │ trailer, 128 bytes: magic, version, (offset, length) of each part
//! ```
//!
//! Every part begins at a multiple of 4096, so that it can be mapped. Numbers are little-endian.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

const MAGIC: &[u8; 8] = b"COFFRDAM";
const VERSION: u64 = 2;
const TRAILER_BYTES: usize = 128;
const ALIGNMENT: u64 = 4096;
const PART_COUNT: usize = 2;

/// A stretch of the binary, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// Where each part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// The guest kernel: an uncompressed ELF vmlinux.
    pub kernel: Part,
    /// The initramfs: an uncompressed cpio archive that holds the agent.
    pub initramfs: Part,
}

/// Why a binary has no payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The file could not be read.
    #[error("cannot read the payload")]
    Read(#[source] io::Error),
    /// There is none.
    #[error("no kernel is appended to this binary")]
    Absent,
    /// It is of another version.
    #[error("the payload has version {0}, this program reads {VERSION}")]
    Version(u64),
    /// A part does not lie within the file.
    #[error("the payload's part {index} (offset {offset}, length {length}) lies outside the file")]
    OutOfBounds {
        /// Which part.
        index: usize,
        /// Its offset.
        offset: u64,
        /// Its length.
        length: u64,
    },
}

impl Payload {
    /// Reads where the parts of a binary stand.
    ///
    /// # Errors
    /// [`PayloadError::Absent`] for a binary with nothing appended; the others for a damaged one.
    pub fn locate(binary: &File) -> Result<Self, PayloadError> {
        let size = binary.metadata().map_err(PayloadError::Read)?.len();
        let Some(trailer_offset) = size.checked_sub(TRAILER_BYTES as u64) else {
            return Err(PayloadError::Absent);
        };
        let mut trailer = [0u8; TRAILER_BYTES];
        binary.read_exact_at(&mut trailer, trailer_offset).map_err(PayloadError::Read)?;
        if !trailer.starts_with(MAGIC) {
            return Err(PayloadError::Absent);
        }
        let word = |index: usize| {
            let mut bytes = [0u8; 8];
            bytes.copy_from_slice(&trailer[index * 8..index * 8 + 8]);
            u64::from_le_bytes(bytes)
        };
        if word(1) != VERSION {
            return Err(PayloadError::Version(word(1)));
        }
        let part = |index: usize| {
            let (offset, length) = (word(2 + 2 * index), word(3 + 2 * index));
            match offset.checked_add(length) {
                Some(end) if end <= trailer_offset => Ok(Part { offset, length }),
                _ => Err(PayloadError::OutOfBounds { index, offset, length }),
            }
        };
        Ok(Self { kernel: part(0)?, initramfs: part(1)? })
    }
}

/// Writes `binary`, then the parts (kernel, initramfs) and the trailer, to `out`.
///
/// # Errors
/// Any of reading or writing.
pub fn append(
    mut binary: impl Read,
    parts: [&mut dyn Read; PART_COUNT],
    out: &mut (impl Write + Seek),
) -> io::Result<()> {
    io::copy(&mut binary, out)?;
    let mut trailer = [0u8; TRAILER_BYTES];
    trailer[..8].copy_from_slice(MAGIC);
    trailer[8..16].copy_from_slice(&VERSION.to_le_bytes());
    for (index, part) in parts.into_iter().enumerate() {
        let at = out.stream_position()?.next_multiple_of(ALIGNMENT);
        out.seek(SeekFrom::Start(at))?;
        let length = io::copy(part, out)?;
        let slot = 16 + 16 * index;
        trailer[slot..slot + 8].copy_from_slice(&at.to_le_bytes());
        trailer[slot + 8..slot + 16].copy_from_slice(&length.to_le_bytes());
    }
    out.write_all(&trailer)
}
