//! How large a disk is that is written to: a sandbox's (`--disk-size`) or a volume's (`volume create --size`).
//!
//! The disk takes room only for what is written, so the default is more than most places have. Who has
//! sandboxes that must not starve each other gives each one a size that fits.

use super::size::{self, SIZE_HINT, SizeError, show};
use crate::cli::StorageKind;
use crate::error::Explain;
use ext4::{Layout, MAX_BYTES, MIN_BYTES};

/// What it is where nothing was asked for.
const DEFAULT: &str = "100g";

/// Why no disk can have that size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskSizeError {
    /// It is none.
    #[error("{0}")]
    Size(&'static str, #[source] SizeError),
    /// It is out of bounds.
    #[error("{flag} {typed:?} is not between {} and {}", show(MIN_BYTES), show(MAX_BYTES))]
    Bounds {
        /// The flag.
        flag: &'static str,
        /// What was typed.
        typed: String,
    },
}

impl Explain for DiskSizeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            DiskSizeError::Size(..) => SIZE_HINT.into(),
            DiskSizeError::Bounds { flag, .. } => {
                format!("for example {flag} 10g; room is taken only as it is written to")
            }
        })
    }
}

/// Where a sandbox's writes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// To its disk.
    Disk,
    /// To the VM's memory: at most so many bytes, or half of it.
    Memory {
        /// How many.
        bytes: Option<u64>,
    },
}

/// Where writes go, and the disk, which is as small as it can be where they do not go there.
///
/// # Errors
/// [`DiskSizeError`].
pub fn storage(kind: StorageKind, size: Option<&str>) -> Result<(Storage, Layout), DiskSizeError> {
    const FLAG: &str = "--disk-size";
    match kind {
        StorageKind::Disk => Ok((Storage::Disk, resolve(FLAG, size)?)),
        StorageKind::Memory => {
            let bytes = size.map(|typed| bytes(FLAG, typed)).transpose()?;
            Ok((Storage::Memory { bytes }, Layout::SMALLEST))
        }
    }
}

fn bytes(flag: &'static str, typed: &str) -> Result<u64, DiskSizeError> {
    size::parse(typed).map_err(|error| DiskSizeError::Size(flag, error))
}

/// The disk that was asked for by a flag.
///
/// # Errors
/// [`DiskSizeError`].
pub fn resolve(flag: &'static str, typed: Option<&str>) -> Result<Layout, DiskSizeError> {
    let typed = typed.unwrap_or(DEFAULT);
    Layout::of_bytes(bytes(flag, typed)?)
        .map_err(|_| DiskSizeError::Bounds { flag, typed: typed.to_owned() })
}
