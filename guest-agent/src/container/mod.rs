//! Containers: where their files are in the guest, and what libcontainer is told of them.

pub mod bundle;
mod copy_up;
pub mod directories;
pub mod etc_files;
pub mod mount_points;
pub mod user_namespace;

use crate::cgroup;
use protocol::ContainerId;
use std::fs;
use std::path::{Path, PathBuf};

/// Where libcontainer keeps its state of each container.
pub const STATE: &str = "/run/cofferdam/state";
/// Where each container's bundle is: specification, root file system, files of /etc.
const BUNDLES: &str = "/run/cofferdam/containers";

/// A container's bundle.
pub fn directory(container: &ContainerId) -> PathBuf {
    Path::new(BUNDLES).join(container.as_str())
}

/// Removes what is left of a container that has ended, as far as it can be: its name is free again.
/// What it wrote stays on the writable disk.
pub fn remove(container: &ContainerId) {
    cgroup::remove(container);
    let _ = fs::remove_dir_all(Path::new(STATE).join(container.as_str()));
    let _ = fs::remove_dir_all(directory(container));
}
