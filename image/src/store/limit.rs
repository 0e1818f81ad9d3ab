//! How much of its volume the store may take, where anybody has said so.
//!
//! Owns: `STATE_DIR/store/limit`, a number of bytes. Never does: remove what is over it; a limit that is set lower than
//! what is there lets nothing come in until something goes.

use super::{Store, StoreError, read_note, remove};
use std::path::PathBuf;

/// The name of its file.
const FILE: &str = "limit";

impl Store {
    fn limit_path(&self) -> PathBuf {
        self.root.join(FILE)
    }

    /// The limit, in bytes; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`], and [`StoreError::NoLimit`] of a file that says something else.
    pub fn limit(&self) -> Result<Option<u64>, StoreError> {
        let path = self.limit_path();
        let Some(note) = read_note(&path)? else { return Ok(None) };
        let number = std::str::from_utf8(&note).ok().and_then(|text| text.trim_end().parse().ok());
        number.map(Some).ok_or(StoreError::NoLimit { path })
    }

    /// Sets it, for whoever brings something in from now on.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn set_limit(&self, bytes: Option<u64>) -> Result<(), StoreError> {
        match bytes {
            Some(bytes) => self.put(&self.limit_path(), format!("{bytes}\n").as_bytes()),
            None => remove(&self.limit_path()),
        }
    }

    /// How many bytes more it may take.
    pub(super) fn left_bytes(&self) -> Result<u64, StoreError> {
        let Some(limit) = self.limit()? else { return Ok(u64::MAX) };
        let usage = self.usage()?;
        Ok(limit.saturating_sub(usage.layer_bytes.saturating_add(usage.download_bytes)))
    }

    /// Whether it is its volume that has no room left.
    ///
    /// # Errors
    /// [`StoreError::Limit`] where it is the limit.
    pub(crate) fn is_full_by_its_volume(&self) -> Result<(), StoreError> {
        match self.limit()? {
            Some(limit) if self.left_bytes()? < self.volume_bytes()? => {
                Err(StoreError::Limit { limit })
            }
            _ => Ok(()),
        }
    }

    /// Whether so many bytes more are within the limit. What is on its way has no name, and is not counted before.
    ///
    /// # Errors
    /// [`StoreError::Limit`] where they are not.
    pub(crate) fn may_take(&self, bytes: u64) -> Result<(), StoreError> {
        match self.limit()? {
            Some(limit) if self.left_bytes()? < bytes => Err(StoreError::Limit { limit }),
            _ => Ok(()),
        }
    }
}
