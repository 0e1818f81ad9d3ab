//! A container's root file system: read-only layers joined by overlayfs below a writable one.
//!
//! Runs in the process that starts the container, in a mount namespace of its own, so that nothing
//! of it is left when the container has ended.

use crate::container::user_namespace::UserNamespace;
use crate::disks::{FileSystem, attach};
use crate::error::{OsError, Tried};
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The layers' mount points, lowest first, and where writes go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RootfsPaths {
    /// The mounted layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// The directory of the writable disk where writes go. A container finds what an earlier one of its
    /// name wrote there.
    pub upper: PathBuf,
    /// Where the file system of each mount is that is of a disk or shared, in the order of these mounts.
    pub directories: Vec<PathBuf>,
}

/// Mounts the joined root at `target`; with a user namespace, so that its ids own what is in there.
///
/// # Errors
/// The first operation that fails.
pub fn mount(
    paths: &RootfsPaths,
    users: Option<&UserNamespace>,
    target: &Path,
) -> Result<(), OsError> {
    fs::create_dir_all(target).tried("make", target.display())?;
    let base = &paths.upper;
    let (upper, work) = (base.join("upper"), base.join("work"));
    for directory in [base, &upper, &work] {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.tried("make", directory.display())?;
    }
    if let Some(users) = users {
        // Both of the writable directories are of one mount, as the overlay wants it.
        paths.layers.iter().chain([base]).try_for_each(|path| users.cover(path))?;
    }
    let _owner = users.map(UserNamespace::own_files).transpose()?;
    let mut overlay = FileSystem::open("overlay")?.set("source", "overlay")?;
    // The kernel takes the topmost first.
    for layer in paths.layers.iter().rev() {
        overlay = overlay.set("lowerdir+", &layer.to_string_lossy())?;
    }
    let mount = overlay
        .set("upperdir", &upper.to_string_lossy())?
        .set("workdir", &work.to_string_lossy())?
        .mount(MountAttrFlags::empty())?;
    attach(&mount, target)
}
