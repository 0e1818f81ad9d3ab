//! A sparse file in a compact form: its size, then each stretch that is not all zeroes.
//!
//! ```text
//!   size: u64 │ count: u64 │ count × (offset: u64, length: u64) │ the stretches' bytes, in order
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

const BLOCK_BYTES: usize = 4096;
const MAX_STRETCHES: u64 = 1 << 16;

/// Encodes `file`.
///
/// # Errors
/// Any of reading or writing, and `InvalidData` where it has more stretches than [`decode`] takes.
pub fn encode(file: &File, out: &mut impl Write) -> io::Result<()> {
    let size = file.metadata()?.len();
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    let mut block = [0u8; BLOCK_BYTES];
    // Holes are skipped as the file system tells them: a template is 100 GiB, nearly all of it holes.
    while let Some(data) = next_data(file, at)? {
        let hole = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(data))?;
        at = data - data % BLOCK_BYTES as u64;
        while at < hole {
            let length = (size - at).min(BLOCK_BYTES as u64);
            #[allow(clippy::cast_possible_truncation, reason = "at most BLOCK_BYTES")]
            let bytes = &mut block[..length as usize];
            file.read_exact_at(bytes, at)?;
            if bytes.iter().any(|&b| b != 0) {
                let full = stretches.len() as u64 == MAX_STRETCHES;
                match stretches.last_mut() {
                    Some((offset, known)) if *offset + *known == at => *known += length,
                    _ if full => return Err(invalid("too many stretches")),
                    _ => stretches.push((at, length)),
                }
            }
            at += length;
        }
    }
    out.write_all(&size.to_le_bytes())?;
    out.write_all(&(stretches.len() as u64).to_le_bytes())?;
    for (offset, length) in &stretches {
        out.write_all(&offset.to_le_bytes())?;
        out.write_all(&length.to_le_bytes())?;
    }
    for (offset, length) in stretches {
        let mut left = length;
        while left > 0 {
            #[allow(clippy::cast_possible_truncation, reason = "at most BLOCK_BYTES")]
            let bytes = &mut block[..left.min(BLOCK_BYTES as u64) as usize];
            file.read_exact_at(bytes, offset + length - left)?;
            out.write_all(bytes)?;
            left -= bytes.len() as u64;
        }
    }
    Ok(())
}

/// Writes what `encoded` holds to `file`, which must be empty, and gives its size. The rest is holes.
///
/// # Errors
/// Any of reading or writing, and `InvalidData` for what [`encode`] cannot have made.
pub fn decode(mut encoded: impl Read, file: &File) -> io::Result<u64> {
    let size = read_u64(&mut encoded)?;
    let count = read_u64(&mut encoded)?;
    if count > MAX_STRETCHES {
        return Err(invalid("too many stretches"));
    }
    let mut stretches = Vec::new();
    for _ in 0..count {
        let (offset, length) = (read_u64(&mut encoded)?, read_u64(&mut encoded)?);
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(invalid("a stretch lies outside the file"));
        }
        stretches.push((offset, length));
    }
    file.set_len(size)?;
    let mut block = vec![0u8; 64 * 1024];
    for (offset, length) in stretches {
        let mut left = length;
        while left > 0 {
            let step = left.min(block.len() as u64);
            #[allow(clippy::cast_possible_truncation, reason = "at most the block's length")]
            let bytes = &mut block[..step as usize];
            encoded.read_exact(bytes)?;
            file.write_all_at(bytes, offset + length - left)?;
            left -= step;
        }
    }
    Ok(size)
}

/// Where the next data of a file begins, at `at` or behind it; `None` where only holes follow.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(data) => Ok(Some(data)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn read_u64(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
