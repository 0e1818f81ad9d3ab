//! A container's root file system: read-only layers joined by overlayfs below a writable one.
//!
//! Runs in the process that starts the container, in a mount namespace of its own, so that nothing
//! of it is left when the container has ended.

use crate::disks::{FileSystem, attach};
use crate::error::{OsError, Tried};
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where a container's writes go, as paths of the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum UpperPath {
    /// To this directory of the writable disk.
    Directory(PathBuf),
    /// To a tmpfs of at most this many bytes, mounted here.
    Memory {
        /// Where it is mounted.
        mount_point: PathBuf,
        /// Its size.
        limit_bytes: u64,
    },
}

/// The layers' mount points, lowest first, and where writes go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RootfsPaths {
    /// The mounted layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// Where writes go.
    pub upper: UpperPath,
}

/// Mounts the joined root at `target`.
///
/// # Errors
/// The first operation that fails.
pub fn mount(paths: &RootfsPaths, target: &Path) -> Result<(), OsError> {
    fs::create_dir_all(target).tried("make", target.display())?;
    let base = match &paths.upper {
        UpperPath::Directory(directory) => directory,
        UpperPath::Memory { mount_point, limit_bytes } => {
            fs::create_dir_all(mount_point).tried("make", mount_point.display())?;
            let memory = FileSystem::open("tmpfs")?
                .set("source", "tmpfs")?
                .set("size", &limit_bytes.to_string())?
                .set("mode", "755")?
                .mount(MountAttrFlags::MOUNT_ATTR_NODEV)?;
            attach(&memory, mount_point)?;
            mount_point
        }
    };
    let (upper, work) = (base.join("upper"), base.join("work"));
    for directory in [base, &upper, &work] {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.tried("make", directory.display())?;
    }
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
