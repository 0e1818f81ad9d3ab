//! The digest of everything that decides a result.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

/// Collects inputs; each is labelled and counted, so that none can pass for two.
#[derive(Default)]
pub struct Inputs(Sha256);

impl Inputs {
    /// Adds some text.
    #[must_use]
    pub fn text(mut self, label: &str, text: &str) -> Self {
        self.0.update(format!("{label} {}\n{text}\n", text.len()));
        self
    }

    /// Adds a large file by its path, size, inode and time of change, as cargo does.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn identity(self, path: &Path) -> Result<Self> {
        let known =
            fs::metadata(path).with_context(|| format!("cannot find {}", path.display()))?;
        let (seconds, nanoseconds) = (known.mtime(), known.mtime_nsec());
        let text = format!("{} {} {seconds}.{nanoseconds}", known.len(), known.ino());
        Ok(self.text(&path.to_string_lossy(), &text))
    }

    /// The digest, in hexadecimal, as long as a directory's name may reasonably be.
    pub fn finish(self) -> String {
        let mut name = format!("{:x}", self.0.finalize());
        name.truncate(32);
        name
    }
}
