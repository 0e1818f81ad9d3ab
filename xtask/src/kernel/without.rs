//! Kernels that lack one fragment of the configuration each, to see what it costs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{compile, configure, digest, fragments, source};
use crate::cache;
use crate::workspace::Workspace;

/// A kernel that lacks them starts nothing.
pub const INDISPENSABLE: [&str; 3] = ["platform", "processes", "virtio"];

/// A kernel without a fragment.
pub struct Without {
    /// The fragment's name.
    pub fragment: String,
    /// How many options of other fragments go with it.
    pub others_lost: usize,
    /// The kernel, stripped.
    pub vmlinux: PathBuf,
}

/// Builds one for each fragment that can be left out.
///
/// # Errors
/// Those of building.
pub fn each(workspace: &Workspace) -> Result<Vec<Without>> {
    let all = fragments(workspace)?;
    let mut kernels = Vec::new();
    for fragment in &all {
        let name = fragment.file_stem().and_then(|name| name.to_str());
        let name = name.context("a fragment without a name")?;
        if !INDISPENSABLE.contains(&name) {
            kernels.push(build(workspace, &all, fragment, name)?);
        }
    }
    let tree = source::extract(workspace)?;
    cache::remove(&tree.path)?;
    Ok(kernels)
}

fn build(workspace: &Workspace, all: &[PathBuf], fragment: &Path, name: &str) -> Result<Without> {
    let others: Vec<PathBuf> = all.iter().filter(|it| *it != fragment).cloned().collect();
    let known = format!("{}-{name}", digest(workspace)?);
    let place = cache::entry(workspace, "kernel-without", &known, |place| {
        // One tree for all: of each kernel only that is compiled which its fragment decides.
        let tree = source::extract(workspace)?;
        let lost = configure::resolve(&tree.path, &others)?;
        fs::write(place.join("lost"), lost.join("\n"))?;
        compile::vmlinux(&tree.path, compile::remembering_compiler(), place)
    })?;
    let others_lost = fs::read_to_string(place.join("lost"))?.lines().count();
    Ok(Without { fragment: name.to_owned(), others_lost, vmlinux: place.join("vmlinux") })
}
