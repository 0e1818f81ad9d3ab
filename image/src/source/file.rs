//! Opening and reading files whose paths a user gave or an image names.

use super::SourceError;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Opens a regular file for reading. A pipe or a device is refused, and does not hang.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64), SourceError> {
    let read_error = |source: std::io::Error| SourceError::Read { path: path.to_owned(), source };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: File = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| read_error(errno.into()))?
        .into();
    let metadata = file.metadata().map_err(read_error)?;
    if !metadata.is_file() {
        return Err(SourceError::NotAFile(path.to_owned()));
    }
    Ok((file, metadata.len()))
}

/// Reads a stretch of a file that is known to be short.
pub(super) fn read_exact(
    file: &File,
    path: &Path,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, SourceError> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset)
        .map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}
