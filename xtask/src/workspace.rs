//! Where things are: the checkout, what cargo builds, what is left for the user, and the cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The target that static binaries are built for. It is named even where it is the machine's own, so
/// that build scripts and macros stay dynamic.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The paths of one checkout.
pub struct Workspace {
    /// The checkout.
    pub root: PathBuf,
    /// What is left for the user.
    pub dist: PathBuf,
    /// Slow results, outside the checkout, each under a digest of its inputs.
    pub cache: PathBuf,
    /// cargo's own.
    pub target: PathBuf,
}

impl Workspace {
    /// The checkout that this program was built from.
    ///
    /// # Errors
    /// Where there is no home directory for the cache to stand in.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask does not stand in a checkout")?
            .to_path_buf();
        let cache = match env::var_os("COFFERDAM_CACHE") {
            Some(path) => std::path::absolute(path)?,
            None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?)
                .join(".cache/cofferdam"),
        };
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(path) => std::path::absolute(path)?,
            None => root.join("target"),
        };
        Ok(Self { dist: root.join("dist"), root, cache, target })
    }
}
