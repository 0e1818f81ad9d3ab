//! A container's user namespace: which ids of the guest its own stand for, and how its root file system
//! comes to show owners that it knows.
//!
//! Ids in there are 0 to 65535, and stand for a range of the guest's that is high and no other container's.
//! On disk stay the ids of the images: layers and the writable disk are shown through id-mapped mounts,
//! beneath the overlay, which cannot be id-mapped itself. Runs in the process that starts the container, in
//! its own mount namespace: the mapped mounts cover the plain ones there, and nobody else sees them.
//!
//! Follows user_namespaces(7) and mount_setattr(2), "ID-mapped mounts".

use crate::disks::attach;
use crate::error::{OsError, Tried};
use crate::sys::{self, CapabilityState};
use protocol::FIRST_USER_ID as FIRST;
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The ids of one container, as many as its namespace has.
const IDS: u32 = 1 << 16;
/// Every capability; the kernel takes those that it knows.
const ALL: u64 = u64::MAX;

/// The guest's ids that those of one container stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    first: u32,
}

impl IdRange {
    /// The lowest range that is none of those taken; `None` where there is none left.
    pub fn unlike(taken: impl IntoIterator<Item = IdRange>) -> Option<Self> {
        let taken: Vec<u32> = taken.into_iter().map(|range| range.first).collect();
        let mut all = (FIRST..=u32::MAX - IDS).step_by(IDS as usize);
        all.find(|first| !taken.contains(first)).map(|first| Self { first })
    }

    /// What its root is to the guest.
    pub fn root(self) -> u32 {
        self.first
    }
}

/// A user namespace that processes and mounts can be given.
#[derive(Debug)]
pub struct UserNamespace {
    range: IdRange,
    file: OwnedFd,
    network: Option<OwnedFd>,
}

impl UserNamespace {
    /// Makes one with these ids and, where that is wanted, a network namespace that belongs to it.
    ///
    /// A child of this process, which has one thread, makes it: only who is outside of a namespace may say
    /// what its ids stand for.
    ///
    /// # Errors
    /// The first operation that fails.
    pub fn make(range: IdRange, with_network: bool) -> Result<Self, OsError> {
        const WHAT: &str = "a user namespace";
        let (mut ours, mut theirs) = UnixStream::pair().tried("prepare", WHAT)?;
        let Some(child) = sys::fork().tried("fork for", WHAT)? else {
            drop(ours);
            let network = if with_network { libc::CLONE_NEWNET } else { 0 };
            let made = sys::unshare(libc::CLONE_NEWUSER | network);
            // Lives until the other end is closed: then the namespaces' files are open.
            let told = made.and_then(|()| theirs.write_all(&[1]));
            let _ = told.and_then(|()| theirs.read(&mut [0]));
            sys::exit_now(0)
        };
        drop(theirs);
        let opened = ours.read_exact(&mut [0]).tried("make", WHAT).and_then(|()| {
            let map = format!("0 {} {IDS}", range.first);
            for name in ["uid_map", "gid_map"] {
                let path = format!("/proc/{child}/{name}");
                fs::write(&path, &map).tried("write", format_args!("{map} to {path}"))?;
            }
            let open = |kind: &str| {
                let path = format!("/proc/{child}/ns/{kind}");
                File::open(&path).map(OwnedFd::from).tried("open", path)
            };
            let network = with_network.then(|| open("net")).transpose()?;
            Ok(Self { range, file: open("user")?, network })
        });
        drop(ours);
        sys::wait_for(child);
        opened
    }

    /// The network namespace that was made with it: once.
    pub fn take_network(&mut self) -> Option<OwnedFd> {
        self.network.take()
    }

    /// The number of its open file.
    pub fn number(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Covers what is at `path` with the same, whose owners are of this namespace.
    ///
    /// # Errors
    /// What the kernel says, for example of a file system that has no such mounts.
    pub fn cover(&self, path: &Path) -> Result<(), OsError> {
        let tree = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = open_tree(CWD, path, tree).tried("clone the mount", path.display())?;
        sys::map_ids(mount.as_fd(), self.file.as_fd()).tried("map the ids of", path.display())?;
        attach(&mount, path)
    }

    /// Makes files as this namespace's root until what it gives is dropped: those of the guest's own root
    /// have no place on id-mapped mounts. The overlay keeps whom it was mounted by, and does all its work on
    /// the mounts beneath as that.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn own_files(&self) -> Result<FileOwner, OsError> {
        let owner = FileOwner(());
        let root = self.range.root();
        sys::set_file_ids(root, root).tried("make files as", format_args!("user {root}"))?;
        // With the ids went the capabilities that have to do with files.
        let all = CapabilityState { effective: ALL, permitted: ALL, inheritable: 0 };
        sys::set_capabilities(all).tried("keep", "capabilities")?;
        Ok(owner)
    }
}

/// While it lives, files belong to a namespace's root.
#[derive(Debug)]
pub struct FileOwner(());

impl Drop for FileOwner {
    fn drop(&mut self) {
        // Back to one's own ids: that cannot be refused.
        let _ = sys::set_file_ids(0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_containers_share_an_id() {
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(IdRange::unlike(taken.clone()).unwrap());
        }
        let firsts: Vec<u32> = taken.iter().map(|range| range.root()).collect();
        assert_eq!(firsts, [0x10_0000, 0x11_0000, 0x12_0000]);
        taken.remove(1);
        assert_eq!(IdRange::unlike(taken).unwrap().root(), 0x11_0000);
        // The last id of the last range is a valid one: -1 is none.
        let all = (FIRST..=u32::MAX - IDS).step_by(IDS as usize).map(|first| IdRange { first });
        let last = all.clone().last().unwrap();
        assert!(last.first.checked_add(IDS - 1).unwrap() < u32::MAX);
        assert_eq!(IdRange::unlike(all), None);
    }
}
