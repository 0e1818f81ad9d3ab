//! The guest kernel: Debian's source, our fragments of configuration, one vmlinux.
//!
//! Owns: where it is cached and under which digest. The configuration is a step of its own, because
//! tests ask of it long before anything is compiled.
//!
//! ```text
//!   linux-source-6.12.tar.xz ─► tinyconfig + kernel-config/fragments/* ─► .config ─► vmlinux, stripped
//! ```

mod compile;
mod configure;
mod source;

use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

use anyhow::{Context, Result};

use crate::digest::Inputs;
use crate::workspace::Workspace;
use crate::{cache, process};

/// How it is built: a change of it makes another kernel.
const BUILD: &[&str] = &[
    include_str!("kernel/compile.rs"),
    include_str!("kernel/configure.rs"),
    include_str!("kernel/source.rs"),
];

/// Gives the kernel, stripped, and builds it first where that was not done before.
///
/// # Errors
/// Those of each step; the compiler's own words stand in a log that the error names.
pub fn vmlinux(workspace: &Workspace) -> Result<PathBuf> {
    let digest = digest(workspace)?;
    let entry = cache::entry(workspace, "kernel", &digest, |place| {
        let config = config(workspace)?;
        let tree = source::extract(workspace)?;
        fs::copy(&config, tree.join(".config"))?;
        compile::vmlinux(&tree, place)?;
        fs::copy(&config, place.join("config"))?;
        // One and a half gigabyte; ccache remembers what it was good for.
        cache::remove(&tree)
    })?;
    Ok(entry.join("vmlinux"))
}

/// Gives the finished configuration.
///
/// # Errors
/// As [`vmlinux`], and where the fragments ask for what the source does not have.
pub fn config(workspace: &Workspace) -> Result<PathBuf> {
    let digest = digest(workspace)?;
    let entry = cache::entry(workspace, "kernel-config", &digest, |place| {
        let tree = source::extract(workspace)?;
        configure::config(&tree, &fragments(workspace)?, &place.join("config"))
    })?;
    Ok(entry.join("config"))
}

fn digest(workspace: &Workspace) -> Result<String> {
    let compiler = process::capture(Command::new("gcc").arg("--version"))?;
    let mut inputs = Inputs::default()
        .text("source", &source::version()?)
        .text("compiler", compiler.lines().next().unwrap_or_default());
    for step in BUILD {
        inputs = inputs.text("build", step);
    }
    for fragment in fragments(workspace)? {
        inputs = inputs.contents(&fragment)?;
    }
    Ok(inputs.finish())
}

/// The fragments, in the order of their names. Their order decides nothing: a test sees to it that no
/// option stands in two.
fn fragments(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let folder = workspace.root.join("kernel-config/fragments");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "config"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests;
