//! How large a sandbox's writable disk is: `--disk-size`.
//!
//! The disk takes room only for what is written, so the default is more than most places have. Who has
//! sandboxes that must not starve each other gives each one a size that fits.

use super::size::{self, SIZE_HINT, SizeError, show};
use crate::error::Explain;
use ext4::{Layout, MAX_BYTES, MIN_BYTES};

/// What it is where nothing was asked for.
const DEFAULT: &str = "100g";

/// Why no disk can have that size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskSizeError {
    /// It is none.
    #[error("--disk-size")]
    Size(#[source] SizeError),
    /// It is out of bounds.
    #[error("--disk-size {typed:?} is not between {} and {}", show(MIN_BYTES), show(MAX_BYTES))]
    Bounds {
        /// What was typed.
        typed: String,
    },
}

impl Explain for DiskSizeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            DiskSizeError::Size(_) => SIZE_HINT.into(),
            DiskSizeError::Bounds { .. } => {
                "for example --disk-size 10g; room is taken only as it is written to".into()
            }
        })
    }
}

/// The disk that was asked for.
///
/// # Errors
/// [`DiskSizeError`].
pub fn resolve(typed: Option<&str>) -> Result<Layout, DiskSizeError> {
    let typed = typed.unwrap_or(DEFAULT);
    let bytes = size::parse(typed).map_err(DiskSizeError::Size)?;
    Layout::of_bytes(bytes).map_err(|_| DiskSizeError::Bounds { typed: typed.to_owned() })
}
