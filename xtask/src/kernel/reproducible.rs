//! Whether the same source gives the same kernel, wherever it stands and whatever is remembered.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Flavour, compile, config, source, vmlinux};
use crate::progress;
use crate::workspace::Workspace;
use crate::{cache, process};

/// Where what came of it stands.
pub const RESULT: &str = "kernel-config/reproducible.json";
/// Of another length than the folder of the build in use, in case a path shows.
const PLACE: &str = "another/place/altogether";

/// Builds the kernel once more, in another folder and with nothing remembered, compares both, and leaves
/// the digests beside the configuration.
///
/// # Errors
/// Those of building; and where one differs.
pub fn check(workspace: &Workspace) -> Result<()> {
    progress::heading("The kernel, once more");
    let commit = workspace.commit()?;
    let folder = workspace.cache.join("kernel-again");
    let _lock = cache::lock(&workspace.cache.join("kernel-again.lock"))?;
    let in_use = digest(&vmlinux(workspace)?)?;
    let tree = folder.join(PLACE);
    source::extract_to(workspace, &tree)?;
    std::fs::copy(config(workspace, Flavour::Usual)?, tree.join(".config"))?;
    compile::vmlinux(&tree, "CC=gcc", &folder)?;
    let again = digest(&folder.join("vmlinux"))?;
    cache::remove(&folder)?;
    let is_same = in_use == again;
    let document = json!({
        "version": 1,
        "what": "SHA-256 of vmlinux, built in different folders",
        "date": process::now()?,
        "commit": commit,
        "command": "make soak",
        "source": source::version()?,
        "in_use": in_use,
        "built_again_elsewhere": again,
        "is_same": is_same,
    });
    std::fs::write(workspace.root.join(RESULT), format!("{document:#}\n"))?;
    ensure!(is_same, "the kernel's bytes depend on where it is built: see {RESULT}");
    progress::say(&format!("two builds, the same bytes ({RESULT})"));
    Ok(())
}

fn digest(path: &Path) -> Result<String> {
    Ok(format!("{:x}", Sha256::digest(std::fs::read(path)?)))
}
