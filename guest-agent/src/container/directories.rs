//! What a container is given beside its root: volumes, places of its own that are no part of the overlay, and what is
//! shared with the outside.
//!
//! Runs in the process that starts the container, before anything is mounted in its root.

use super::copy_up;
use super::mount_points::open_inside;
use super::user_namespace::UserNamespace;
use crate::error::{OsError, Tried};
use crate::rootfs::RootfsPaths;
use crate::shares;
use protocol::{ContainerSpec, MountSource};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A volume's file system has more at its root than what is in the volume.
const DATA: &str = "data";
/// Where a container's own are, beside what it writes.
const OWN: &str = "directories";

/// Makes those that are not there yet, and fills those that are to have what the image has; gives where they are, in
/// the order of their mounts.
///
/// # Errors
/// The first operation that fails.
pub fn prepare(
    spec: &ContainerSpec,
    paths: &RootfsPaths,
    root: &OwnedFd,
    users: Option<&UserNamespace>,
) -> Result<Vec<PathBuf>, OsError> {
    if let Some(users) = users {
        // The container's own lie where its writes go, which is covered already. What is shared is shown by whoever
        // serves it as this namespace knows it.
        let mut volumes: Vec<&PathBuf> = Vec::new();
        let is_volume =
            |path: &&PathBuf| **path != paths.upper && **path != Path::new(shares::PLACE);
        for path in paths.directories.iter().filter(is_volume) {
            if !volumes.contains(&path) {
                users.cover(path)?;
                volumes.push(path);
            }
        }
    }
    let _owner = users.map(UserNamespace::own_files).transpose()?;
    let mut directories = Vec::new();
    let mut places = paths.directories.iter();
    for mount in &spec.mounts {
        let (place, copy) = match mount.source {
            MountSource::Tmpfs | MountSource::OwnTmpfs => continue,
            MountSource::Volume { copy, .. } => (PathBuf::from(DATA), copy),
            MountSource::Directory { copy } => {
                (Path::new(OWN).join(directories.len().to_string()), copy)
            }
            MountSource::Share { number } => (PathBuf::from(number.to_string()), false),
        };
        let Some(base) = places.next() else { continue };
        let directory = base.join(place);
        if !matches!(mount.source, MountSource::Share { .. }) {
            fs::create_dir_all(&directory).tried("make", directory.display())?;
        }
        if copy {
            fill(root, Path::new(&mount.destination), &directory)?;
        }
        directories.push(directory);
    }
    Ok(directories)
}

/// Gives a directory what the image has in its place, while it is empty.
fn fill(root: &OwnedFd, destination: &Path, directory: &Path) -> Result<(), OsError> {
    let target = File::open(directory).tried("open", directory.display())?;
    if !copy_up::is_empty(target.as_fd()).tried("read", directory.display())? {
        return Ok(());
    }
    // What is not there, or no directory, has nothing to give.
    let Ok(source) = open_inside(root.as_fd(), destination) else { return Ok(()) };
    copy_up::copy(source.as_fd(), target.as_fd())
        .tried("copy what the image has at", destination.display())
}
