//! Directories and files of this place that a container is given. Pure: what is there, only opening it tells.

use super::{PlanError, volume};
use crate::cli::RunArgs;
use std::path::PathBuf;

/// The most of one sandbox: each is an open file of its share process.
pub const MAX_SHARES: usize = 64;

/// A directory or a file of this place in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareMount {
    /// What.
    pub source: PathBuf,
    /// Where.
    pub destination: String,
    /// Whether the container may not change it.
    pub readonly: bool,
}

/// Those that were typed after `-v` and `--mount`.
///
/// # Errors
/// [`PlanError`], as of all that is typed there.
pub fn shares(args: &RunArgs) -> Result<Vec<ShareMount>, PlanError> {
    let mut shares = Vec::new();
    for mounted in volume::mounted(args)? {
        if let volume::Mounted::Share(share) = mounted {
            shares.push(share);
        }
    }
    if shares.len() > MAX_SHARES { Err(PlanError::Shares(shares.len())) } else { Ok(shares) }
}
