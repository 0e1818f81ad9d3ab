//! One volume's record: a small versioned JSON file, written once.

use super::VolumeError;
use crate::state::at;
use image::store::open_regular;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::Path;

const FILE_NAME: &str = "volume.json";
const VERSION: u32 = 1;
/// A record is some dozens of bytes.
const MAX_RECORD_BYTES: u64 = 1 << 16;

/// What is known of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// When it was made: milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How large its disk is, in bytes.
    pub bytes: u64,
}

impl Record {
    /// The record of a volume that is made now.
    pub(super) fn new(bytes: u64) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let created = since.unwrap_or_default().as_millis();
        Self { version: VERSION, created_ms: u64::try_from(created).unwrap_or(u64::MAX), bytes }
    }

    pub(super) fn read(directory: &Path) -> Result<Self, VolumeError> {
        let path = directory.join(FILE_NAME);
        let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
        let file = open_regular(&path).and_then(|file| file.ok_or_else(no_file));
        let mut text = Vec::new();
        file.and_then(|file| file.take(MAX_RECORD_BYTES).read_to_end(&mut text))
            .map_err(at("read", &path))?;
        let wrong = |source| VolumeError::Record { path: path.clone(), source };
        let record: Self = serde_json::from_slice(&text).map_err(wrong)?;
        if record.version != VERSION {
            let source = serde::de::Error::custom(format!("version {}", record.version));
            return Err(wrong(source));
        }
        Ok(record)
    }

    pub(super) fn write(&self, directory: &Path) -> Result<(), VolumeError> {
        let path = directory.join(FILE_NAME);
        let json = serde_json::to_vec_pretty(self)
            .map_err(|source| VolumeError::Record { path: path.clone(), source })?;
        let file = std::fs::File::create_new(&path);
        let written =
            file.and_then(|mut file| file.write_all(&json).and_then(|()| file.sync_data()));
        Ok(written.map_err(at("write", &path))?)
    }
}
