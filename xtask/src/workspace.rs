//! Where things are: the checkout, what cargo builds, what is left for the user, and the cache.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

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
        // Variables and configuration files may move it: cargo itself knows.
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(&root).args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
        let metadata: Value = serde_json::from_str(&process::capture(&mut cargo)?)?;
        let target = metadata["target_directory"].as_str();
        let target = target.context("cargo does not say where it builds")?.into();
        Ok(Self { dist: root.join("dist"), root, cache, target })
    }

    /// cargo, at work in the checkout.
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(&self.root);
        cargo
    }

    /// The commit that is checked out, and whether anything differs from it.
    ///
    /// # Errors
    /// Where this is no checkout.
    pub fn commit(&self) -> Result<String> {
        let mut git = Command::new("git");
        git.current_dir(&self.root).args(["describe", "--always", "--dirty", "--abbrev=12"]);
        process::capture(&mut git)
    }
}
