//! Kernels that lack one fragment of the configuration each, to see what it costs.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::{compile, configure, digest, fragments, source};
use crate::cache;
use crate::workspace::Workspace;

/// A kernel that lacks them starts nothing.
pub const INDISPENSABLE: [&str; 3] = ["platform", "processes", "virtio"];

/// A kernel that lacks it says nothing, by which its start could be counted.
pub const HEARD_BY: &str = "diagnostics";

/// A kernel without a fragment.
pub struct Without {
    /// How many options of other fragments go with it.
    pub others_lost: usize,
    /// The kernel, packed.
    pub vmlinux: PathBuf,
}

/// The fragments that can be left out.
///
/// # Errors
/// Where they cannot be listed.
pub fn names(workspace: &Workspace) -> Result<Vec<String>> {
    let fragments = fragments(workspace)?;
    let names = fragments.iter().filter_map(|it| it.file_stem()?.to_str());
    Ok(names
        .filter(|name| !INDISPENSABLE.contains(name) && *name != HEARD_BY)
        .map(str::to_owned)
        .collect())
}

/// Removes what was compiled on the way.
///
/// # Errors
/// Where it cannot be.
pub fn clear(workspace: &Workspace) -> Result<()> {
    let tree = source::extract(workspace)?;
    cache::remove(&tree.path)
}

/// Builds the kernel without a fragment.
///
/// # Errors
/// Those of building.
pub fn build(workspace: &Workspace, name: &str) -> Result<Without> {
    let mut others = fragments(workspace)?;
    others.retain(|fragment| fragment.file_stem().is_none_or(|stem| stem != name));
    let known = format!("{}-{name}", digest(workspace)?);
    let place = cache::entry(workspace, "kernel-without", &known, |place| {
        // One tree for all: of each kernel only that is compiled which its fragment decides.
        let tree = source::extract(workspace)?;
        let lost = configure::resolve(&tree.path, &others)?;
        fs::write(place.join("lost"), lost.join("\n"))?;
        compile::vmlinux(&tree.path, compile::remembering_compiler(), place)
    })?;
    let others_lost = fs::read_to_string(place.join("lost"))?.lines().count();
    Ok(Without { others_lost, vmlinux: place.join("vmlinux") })
}
