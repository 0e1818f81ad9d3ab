//! The source: Debian's package `linux-source-6.12`, unpacked.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::Task;
use crate::workspace::Workspace;
use crate::{cache, process};

const PACKAGE: &str = "linux-source-6.12";
const ARCHIVE: &str = "/usr/src/linux-source-6.12.tar.xz";

/// An unpacked source, which nobody else touches while this lives.
pub struct Tree {
    /// Where it is.
    pub path: PathBuf,
    _lock: File,
}

/// The package's version.
pub fn version() -> Result<String> {
    process::capture(Command::new("dpkg-query").args(["-W", "-f", "${Version}", PACKAGE]))
        .with_context(|| format!("{PACKAGE} is not installed: run `cargo xtask setup`"))
}

/// Unpacks it, always in the same place: ccache knows files by their paths.
pub fn extract(workspace: &Workspace) -> Result<Tree> {
    let tree = workspace.cache.join("kernel-source");
    let lock = cache::lock(&workspace.cache.join("kernel-source.lock"))?;
    let whole = tree.join(".whole");
    let version = version()?;
    if !fs::read_to_string(&whole).is_ok_and(|known| known == version) {
        let task = Task::begin(&format!("kernel: unpacking Linux {version}"));
        extract_to(&tree)?;
        fs::write(whole, version)?;
        task.end();
    }
    Ok(Tree { path: tree, _lock: lock })
}

/// Unpacks it in another place.
pub fn extract_to(tree: &Path) -> Result<()> {
    cache::remove(tree)?;
    fs::create_dir_all(tree)?;
    let mut tar = Command::new("tar");
    process::run(tar.args(["--strip-components=1", "-xf", ARCHIVE, "-C"]).arg(tree))
}
