//! The source: Debian's package `linux-source-6.12`, unpacked, and our patches applied.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::digest::Inputs;
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

/// What is changed in it: each file of `kernel-config/patches`, in the order of their names.
fn patches(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    super::listed(&workspace.root.join("kernel-config/patches"), "patch")
}

/// The digest of all that decides what stands in it.
pub fn digest(workspace: &Workspace) -> Result<String> {
    let mut inputs = Inputs::default().text("source", &version()?);
    for patch in patches(workspace)? {
        inputs = inputs.text("patch", &fs::read_to_string(&patch)?);
    }
    Ok(inputs.finish())
}

/// Unpacks it, always in the same place: ccache knows files by their paths.
pub fn extract(workspace: &Workspace) -> Result<Tree> {
    let tree = workspace.cache.join("kernel-source");
    let lock = cache::lock(&workspace.cache.join("kernel-source.lock"))?;
    let whole = tree.join(".whole");
    let digest = digest(workspace)?;
    if !fs::read_to_string(&whole).is_ok_and(|known| known == digest) {
        let task = Task::begin(&format!("kernel: unpacking Linux {}", version()?));
        extract_to(workspace, &tree)?;
        fs::write(whole, digest)?;
        task.end();
    }
    Ok(Tree { path: tree, _lock: lock })
}

/// Unpacks it in another place.
pub fn extract_to(workspace: &Workspace, tree: &Path) -> Result<()> {
    cache::remove(tree)?;
    fs::create_dir_all(tree)?;
    let mut tar = Command::new("tar");
    process::run(tar.args(["--strip-components=1", "-xf", ARCHIVE, "-C"]).arg(tree))?;
    for patch in patches(workspace)? {
        // A patch that needs guessing is one that nobody has read against this source.
        let mut command = Command::new("patch");
        command
            .args(["--strip=1", "--fuzz=0", "--no-backup-if-mismatch", "--quiet", "-d"])
            .arg(tree);
        process::run(command.arg("-i").arg(&patch))
            .with_context(|| format!("{} does not fit {PACKAGE}", patch.display()))?;
    }
    Ok(())
}
