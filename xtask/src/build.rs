//! What `make build` leaves in dist/.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::digest::Inputs;
use crate::progress::{self, Task};
use crate::workspace::Workspace;
use crate::{cache, guest, images, kernel, program};

/// What was built.
pub struct Built {
    /// The launcher with kernel and initramfs appended.
    pub cofferdam: PathBuf,
    /// Docker archive of `cofferdam:latest`.
    pub image: PathBuf,
    /// Docker archive of `cofferdam:tcg`.
    pub tcg_image: PathBuf,
}

impl Built {
    /// Where it stands, built or not.
    pub fn left_in(workspace: &Workspace) -> Self {
        let place = |name| workspace.dist.join(name);
        Self {
            cofferdam: place("cofferdam"),
            image: place("cofferdam-image.tar"),
            tcg_image: place("cofferdam-tcg-image.tar"),
        }
    }
}

/// Builds everything that a user takes away.
///
/// # Errors
/// Those of every step.
pub fn all(workspace: &Workspace) -> Result<Built> {
    progress::heading("Building");
    // Two builds in one checkout would write the same files.
    let _lock = cache::lock(&workspace.dist.join(".lock"))?;
    let built = Built::left_in(workspace);
    let Built { cofferdam, image, tcg_image } = &built;
    with_payload(workspace, &program::launcher(workspace)?, cofferdam)?;
    when_changed(workspace, image, Inputs::default().identity(cofferdam)?, |out| {
        images::write_outer(workspace, cofferdam, None, out)
    })?;
    let tree = images::tcg_tree(workspace)?;
    let inputs = Inputs::default().identity(cofferdam)?.identity(&tree)?;
    when_changed(workspace, tcg_image, inputs, |out| {
        images::write_outer(workspace, cofferdam, Some(&tree), out)
    })?;
    for path in [cofferdam, image, tcg_image] {
        let mib = fs::metadata(path)?.len() >> 20;
        progress::say(&format!("{} ({mib} MiB)", path.display()));
    }
    Ok(built)
}

/// Builds the image of `cofferdam docker`; gives where it stands.
///
/// # Errors
/// Those of every step.
pub fn docker_image(workspace: &Workspace) -> Result<PathBuf> {
    progress::heading("Building");
    let archive = images::Name::Docker.build(workspace)?.docker_archive;
    beside(workspace, &archive, "cofferdam-docker.tar")
}

/// Builds the kernel of `--kernel full`; gives where it stands.
///
/// # Errors
/// Those of every step.
pub fn full_kernel(workspace: &Workspace) -> Result<PathBuf> {
    progress::heading("Building");
    let kernel = kernel::built(workspace, kernel::Flavour::Full)?;
    beside(workspace, &kernel, "cofferdam-kernel-full")
}

/// Puts a file beside the program.
fn beside(workspace: &Workspace, file: &Path, name: &str) -> Result<PathBuf> {
    let _lock = cache::lock(&workspace.dist.join(".lock"))?;
    let place = workspace.dist.join(name);
    when_changed(workspace, &place, Inputs::default().identity(file)?, |out| {
        Ok(std::io::copy(&mut File::open(file)?, out).map(drop)?)
    })?;
    progress::say(&format!("{} ({} MiB)", place.display(), fs::metadata(&place)?.len() >> 20));
    Ok(place)
}

/// Builds the launcher that tries its own walls, whole, for tests; gives where it stands.
///
/// # Errors
/// Those of every step.
pub fn trial(workspace: &Workspace) -> Result<PathBuf> {
    let _lock = cache::lock(&workspace.dist.join(".lock"))?;
    let place = workspace.target.join("trial-cofferdam");
    with_payload(workspace, &program::trial_launcher(workspace)?, &place)?;
    Ok(place)
}

fn with_payload(workspace: &Workspace, launcher: &Path, place: &Path) -> Result<()> {
    let parts = [kernel::vmlinux(workspace)?, guest::initramfs(workspace)?];
    let mut inputs = Inputs::default().identity(launcher)?;
    for part in &parts {
        inputs = inputs.identity(part)?;
    }
    when_changed(workspace, place, inputs, |out| {
        let open = |path: &Path| {
            File::open(path)
                .map(BufReader::new)
                .with_context(|| format!("cannot open {}", path.display()))
        };
        let [mut kernel, mut initramfs] = [open(&parts[0])?, open(&parts[1])?];
        let parts: [&mut dyn Read; 2] = [&mut kernel, &mut initramfs];
        payload::append(open(launcher)?, parts, out)?;
        out.get_ref().set_permissions(fs::Permissions::from_mode(0o755))?;
        Ok(())
    })
}

/// Writes `place` by `write`, unless it was made of the same inputs before. It appears whole or not at
/// all.
fn when_changed(
    workspace: &Workspace,
    place: &Path,
    inputs: Inputs,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let stamp = workspace.dist.join(format!(".{name}.inputs"));
    let digest = inputs.finish();
    if place.exists() && fs::read_to_string(&stamp).is_ok_and(|known| known == digest) {
        return Ok(());
    }
    let task = Task::begin(&name);
    fs::create_dir_all(&workspace.dist)?;
    let unfinished = place.with_file_name(format!(".{name}.unfinished"));
    let mut out = BufWriter::new(File::create(&unfinished)?);
    write(&mut out)?;
    out.into_inner()?;
    fs::rename(&unfinished, place)?;
    fs::write(stamp, digest)?;
    task.end();
    Ok(())
}
