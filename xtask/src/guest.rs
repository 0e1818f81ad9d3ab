//! What the guest boots from besides its kernel.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::program;
use crate::workspace::Workspace;

/// Builds the initramfs, which holds the agent and the AppArmor profile of containers.
///
/// # Errors
/// Those of building both and of writing.
pub fn initramfs(workspace: &Workspace) -> Result<PathBuf> {
    let agent = program::agent(workspace)?;
    let place = workspace.target.join("initramfs.cpio");
    let bytes = fs::read(&agent).with_context(|| format!("cannot read {}", agent.display()))?;
    let mut archive = Vec::new();
    let profile = rootfs::apparmor::compile(rootfs::apparmor::SOURCE)?;
    rootfs::initramfs::write(&bytes, &profile, &mut archive)?;
    // What is made of it later looks at its time: only a different one is written.
    if fs::read(&place).ok().as_ref() != Some(&archive) {
        fs::write(&place, archive).with_context(|| format!("cannot write {}", place.display()))?;
    }
    Ok(place)
}
