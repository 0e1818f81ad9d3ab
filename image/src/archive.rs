//! A tar file as a place to read from: where each of its files lies.
//!
//! Owns: the index of an outer archive (oci-archive, docker-archive). Never does: read what the files
//! hold, or write any of them anywhere. Names are only ever compared. Compressed archives are refused:
//! nothing in them can be found without unpacking all of it.

use crate::layer::error::{Quoted, TarError};
use crate::layer::{Compression, path};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use tarball::{EntryKind, TarInput, TarReader};

#[cfg(test)]
mod tests;

/// The most entries: an image has three for each layer, and a layout of many images is no archive.
const MAX_ENTRIES: usize = 1 << 16;
/// The most bytes of names kept.
const MAX_NAMES_BYTES: usize = 8 << 20;
/// How many links stand between a name and a file at most. `docker save` makes one.
const MAX_LINKS: usize = 8;
const BUFFER_BYTES: usize = 4096;

/// Why a file is no archive that can be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is compressed as a whole.
    #[error("the archive is compressed as a whole: uncompress it first")]
    Compressed,
    /// It is no tar archive.
    #[error("the file is no sound tar archive")]
    Tar(#[source] TarError),
    /// It has too many entries, or too long names.
    #[error("the archive has over {MAX_ENTRIES} entries, or over {MAX_NAMES_BYTES} bytes of names")]
    TooMany,
    /// There is no such file in it.
    #[error("the archive has no file {0}")]
    Missing(Quoted),
    /// It is there, but it is no file that could be read in place.
    #[error("{0} in the archive is not stored as an ordinary file")]
    NotAFile(Quoted),
}

/// Where a file lies in an archive, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// From where.
    pub offset: u64,
    /// How long.
    pub length: u64,
}

/// Where all files of an archive lie.
#[derive(Debug)]
pub struct Index(HashMap<Vec<u8>, Place>);

#[derive(Debug)]
enum Place {
    Here(Extent),
    Link(Vec<u8>),
    Other,
}

impl Index {
    /// Reads an archive's headers.
    ///
    /// # Errors
    /// Any [`ArchiveError`] but [`ArchiveError::Missing`] and [`ArchiveError::NotAFile`].
    pub fn read(file: &File) -> Result<Self, ArchiveError> {
        let read_error = |error: io::Error| ArchiveError::Tar(TarError::read(&error));
        let mut begin = [0; Compression::MAGIC_BYTES];
        let length = file.read_at(&mut begin, 0).map_err(read_error)?;
        if Compression::of(begin.get(..length).unwrap_or(&[])) != Some(Compression::None) {
            return Err(ArchiveError::Compressed);
        }
        let end = file.metadata().map_err(read_error)?.len();
        Self::of(FileInput { file, end, position: 0, buffer: Vec::new(), used: 0 })
    }

    /// Reads the headers of an archive from any input.
    ///
    /// # Errors
    /// As [`Index::read`].
    pub fn of(input: impl TarInput) -> Result<Self, ArchiveError> {
        let mut reader = TarReader::new(input);
        let mut places = HashMap::new();
        let mut names_bytes = 0;
        while let Some(entry) = reader.next_entry().map_err(ArchiveError::Tar)? {
            let Some(name) = clean(&entry.path) else { continue };
            let place = match entry.kind {
                EntryKind::File if entry.segments.is_none() => {
                    Place::Here(Extent { offset: entry.data_offset, length: entry.stored })
                }
                EntryKind::HardLink => clean(&entry.link).map_or(Place::Other, Place::Link),
                EntryKind::SymbolicLink => {
                    beside(&name, &entry.link).map_or(Place::Other, Place::Link)
                }
                _ => Place::Other,
            };
            names_bytes += name.len() + entry.link.len();
            if places.len() >= MAX_ENTRIES || names_bytes > MAX_NAMES_BYTES {
                return Err(ArchiveError::TooMany);
            }
            places.insert(name, place);
        }
        Ok(Self(places))
    }

    /// Where a file lies; links within the archive are followed.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`] and [`ArchiveError::NotAFile`].
    pub fn find(&self, name: &str) -> Result<Extent, ArchiveError> {
        let quoted = || Quoted::new(name.as_bytes());
        let mut at = clean(name.as_bytes()).ok_or_else(|| ArchiveError::Missing(quoted()))?;
        for _ in 0..=MAX_LINKS {
            match self.0.get(&at) {
                Some(Place::Here(extent)) => return Ok(*extent),
                Some(Place::Link(target)) => at = target.clone(),
                Some(Place::Other) => return Err(ArchiveError::NotAFile(quoted())),
                None => return Err(ArchiveError::Missing(quoted())),
            }
        }
        Err(ArchiveError::NotAFile(quoted()))
    }
}

/// A name as it is compared. What climbs upwards names nothing.
fn clean(name: &[u8]) -> Option<Vec<u8>> {
    path::components(name).ok().map(|components| components.join(&b'/'))
}

/// The name that a symbolic link called `name` means.
fn beside(name: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = name.split(|&byte| byte == b'/').collect();
    parts.pop();
    if target.starts_with(b"/") {
        parts.clear();
    }
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// Reads headers here and there in a file.
struct FileInput<'a> {
    file: &'a File,
    end: u64,
    /// Where the buffer ends.
    position: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Read for FileInput<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for FileInput<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used >= self.buffer.len() {
            self.buffer.resize(BUFFER_BYTES, 0);
            let count = self.file.read_at(&mut self.buffer, self.position)?;
            self.buffer.truncate(count);
            self.position += count as u64;
            self.used = 0;
        }
        Ok(self.buffer.get(self.used..).unwrap_or(&[]))
    }

    fn consume(&mut self, count: usize) {
        self.used = self.used.saturating_add(count);
    }
}

impl TarInput for FileInput<'_> {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let buffered = self.buffer.len().saturating_sub(self.used) as u64;
        let at = self.position - buffered;
        let to = at.checked_add(count).filter(|&to| to <= self.end);
        let to = to.ok_or(io::ErrorKind::UnexpectedEof)?;
        if count <= buffered {
            self.used += usize::try_from(count).unwrap_or(0);
        } else {
            self.buffer.clear();
            self.used = 0;
            self.position = to;
        }
        Ok(())
    }
}
