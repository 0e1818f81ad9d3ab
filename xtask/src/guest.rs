//! What the guest boots from besides its kernel.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::digest::Inputs;
use crate::progress::Task;
use crate::workspace::Workspace;
use crate::{cache, process, program};

const TEMPLATE_RECIPE: &str = include_str!("../../rootfs/src/disk_template.rs");

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

/// Builds the template of the writable disk, in the form of `payload::sparse`.
///
/// # Errors
/// Those of mkfs.ext4 and of writing.
pub fn disk_template(workspace: &Workspace) -> Result<PathBuf> {
    let version = process::capture(std::process::Command::new("dpkg-query").args([
        "-W",
        "-f",
        "${Version}",
        "e2fsprogs",
    ]))?;
    let digest =
        Inputs::default().text("recipe", TEMPLATE_RECIPE).text("e2fsprogs", &version).finish();
    let entry = cache::entry(workspace, "disk-template", &digest, |place| {
        let task = Task::begin("disk template: 100 GiB of ext4, nearly all of it holes");
        let scratch = place.join("disk");
        let mut out = BufWriter::new(File::create(place.join("template"))?);
        rootfs::disk_template::write(&scratch, &mut out)?;
        fs::remove_file(scratch)?;
        task.end();
        Ok(())
    })?;
    Ok(entry.join("template"))
}
