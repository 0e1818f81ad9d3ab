//! The source: Debian's package `linux-source-6.12`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::Task;
use crate::workspace::Workspace;
use crate::{cache, process};

const PACKAGE: &str = "linux-source-6.12";
const ARCHIVE: &str = "/usr/src/linux-source-6.12.tar.xz";

/// The package's version.
pub fn version() -> Result<String> {
    process::capture(Command::new("dpkg-query").args(["-W", "-f", "${Version}", PACKAGE]))
        .with_context(|| format!("{PACKAGE} is not installed: run `cargo xtask setup`"))
}

/// Unpacks it, always in the same place: ccache knows files by their paths.
pub fn extract(workspace: &Workspace) -> Result<PathBuf> {
    let tree = workspace.cache.join("kernel-source");
    let whole = tree.join(".whole");
    let version = version()?;
    if std::fs::read_to_string(&whole).is_ok_and(|known| known == version) {
        return Ok(tree);
    }
    let task = Task::begin(&format!("kernel: unpacking Linux {version}"));
    cache::remove(&tree)?;
    std::fs::create_dir_all(&tree)?;
    let mut tar = Command::new("tar");
    tar.args(["--strip-components=1", "-xf", ARCHIVE, "-C"]).arg(&tree);
    process::run(&mut tar)?;
    std::fs::write(whole, version)?;
    task.end();
    Ok(tree)
}
