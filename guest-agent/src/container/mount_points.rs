//! What a container's joined root must have, or tell, before anything is mounted in it.
//!
//! Never follows anything out of that root: what stands in it is hostile.

use crate::process::identity::Identity;
use protocol::{Mount, MountSource};
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Opens the root.
///
/// # Errors
/// What open(2) says.
pub fn open_root(root: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(root, DIRECTORY, Mode::empty())
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a directory of it, wherever links lead within it. What is opened so can be looked at, and not read.
///
/// # Errors
/// What openat2(2) says.
pub fn open_inside(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, DIRECTORY, Mode::empty(), inside)
}

/// Gives each tmpfs for which no mode was asked that of the directory it covers, as runc does.
pub fn keep_modes(root: &OwnedFd, mounts: &mut [Mount]) {
    for mount in mounts {
        if mount.source != MountSource::Tmpfs || has_option(mount, "mode=") {
            continue;
        }
        let covered = open_inside(root.as_fd(), Path::new(&mount.destination));
        if let Ok(stat) = covered.and_then(fstat) {
            mount.options.push(format!("mode={:o}", stat.st_mode & 0o7777));
        }
    }
}

/// Gives each tmpfs that is to belong to the container's user an owner, where none was asked.
pub fn give_owner(mounts: &mut [Mount], owner: &Identity) {
    for mount in mounts.iter_mut().filter(|mount| mount.source == MountSource::OwnTmpfs) {
        for (key, id) in [("uid=", owner.uid), ("gid=", owner.gid)] {
            if !has_option(mount, key) {
                mount.options.push(format!("{key}{id}"));
            }
        }
    }
}

fn has_option(mount: &Mount, key: &str) -> bool {
    mount.options.iter().any(|option| option.starts_with(key))
}

/// Makes a directory and those above it.
///
/// # Errors
/// What mkdir(2) says, or that a link on the way leads nowhere.
pub fn make_directory(root: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let mut made = PathBuf::from("/");
    let mut parent = open_inside(root.as_fd(), &made)?;
    for component in path.components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::ParentDir => {
                made.pop();
                parent = open_inside(root.as_fd(), &made)?;
                continue;
            }
            _ => continue,
        };
        made.push(name);
        parent = match open_inside(root.as_fd(), &made) {
            Err(Errno::NOENT) => {
                mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                open_inside(root.as_fd(), &made)?
            }
            other => other?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests;
