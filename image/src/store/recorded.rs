//! What is known of bytes within archives that nobody else may have changed since: their digests.
//!
//! A docker-archive does not say what digests its compressed layers have, so that each would have to be
//! read at every run, only to be named. One small file for each such layer records it: its name is made of
//! all that tells one state of the archive from another, its content is the digest. Records only help to
//! find: a layer's own bytes are hashed anew whenever it is unpacked.
//!
//! A record that was cut or is none is not there, so that nothing needs to be synced or locked.

use super::{Store, StoreError, failed, make_directory, read_note};
use crate::digest::{Algorithm, Digest};
use std::fs::Metadata;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The version of records: another knows none of these.
const VERSION: u32 = 1;

/// Bytes of a file in one state of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stretch(String);

impl Stretch {
    /// `length` bytes from `offset` of the file that has this metadata. No user can set a file's change
    /// time, whatever else they do to it.
    pub(crate) fn of(file: &Metadata, offset: u64, length: u64) -> Self {
        let state = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
        Self(format!(
            "{VERSION} {} {} {} {state:?} {offset} {length}",
            file.dev(),
            file.ino(),
            file.len()
        ))
    }
}

impl Store {
    /// The digest that was recorded for a stretch.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn recorded(&self, stretch: &Stretch) -> Result<Option<Digest>, StoreError> {
        let text = read_note(&self.record_path(stretch))?.unwrap_or_default();
        Ok(std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()))
    }

    /// Records the digest of a stretch.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn record(&self, stretch: &Stretch, digest: &Digest) -> Result<(), StoreError> {
        make_directory(&self.root.join("recorded"))?;
        let path = self.record_path(stretch);
        let new = self.partial.create()?;
        new.file().write_all(digest.to_string().as_bytes()).map_err(failed("write", &path))?;
        new.publish(&path)
    }

    fn record_path(&self, stretch: &Stretch) -> PathBuf {
        self.root.join("recorded").join(Digest::of(Algorithm::Sha256, stretch.0.as_bytes()).hex())
    }
}
