//! Whether the same source gives the same kernel, wherever it stands and whatever is remembered.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{compile, config, source, vmlinux};
use crate::progress;
use crate::workspace::Workspace;
use crate::{cache, process};

const RESULT: &str = "kernel-config/reproducible.json";
/// Of different lengths, in case a path shows.
const PLACES: [&str; 2] = ["one", "another/place"];

/// Builds the kernel twice more, in two folders and with nothing remembered, compares all three, and
/// leaves the digests beside the configuration.
///
/// # Errors
/// Those of building; and where one differs.
pub fn check(workspace: &Workspace) -> Result<()> {
    progress::heading("The kernel, twice more");
    let commit = workspace.commit()?;
    let folder = workspace.cache.join("kernel-twice");
    let _lock = cache::lock(&workspace.cache.join("kernel-twice.lock"))?;
    let mut digests = vec![("the build in use".to_owned(), digest(&vmlinux(workspace)?)?)];
    for place in PLACES {
        let tree = folder.join(place);
        source::extract_to(&tree)?;
        std::fs::copy(config(workspace)?, tree.join(".config"))?;
        compile::vmlinux(&tree, "CC=gcc", &folder)?;
        digests.push((place.to_owned(), digest(&folder.join("vmlinux"))?));
        cache::remove(&folder)?;
    }
    let is_same = digests.iter().all(|(_, digest)| *digest == digests[0].1);
    let document = json!({
        "version": 1,
        "what": "SHA-256 of vmlinux, built in different folders",
        "date": process::now()?,
        "commit": commit,
        "command": "make soak",
        "source": source::version()?,
        "digests": digests.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "is_same": is_same,
    });
    std::fs::write(workspace.root.join(RESULT), format!("{document:#}\n"))?;
    ensure!(is_same, "the kernel's bytes depend on where it is built: see {RESULT}");
    progress::say(&format!("three builds, the same bytes ({RESULT})"));
    Ok(())
}

fn digest(path: &Path) -> Result<String> {
    Ok(format!("{:x}", Sha256::digest(std::fs::read(path)?)))
}
