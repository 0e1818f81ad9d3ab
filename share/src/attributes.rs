//! What is known of a file beside what is in it: its owner, mode, times, and extended attributes.
//!
//! Of extended attributes the guest has those that any user may set (`user.`), but for the one in which its owners
//! stand.

use crate::contents::reopen;
use crate::inodes::Node;
use crate::owners::{ATTRIBUTE, again};
use crate::tree::{BELIEVED, Tree, owned, stat_of};
use fuse_backend_rs::abi::fuse_abi::SetattrValid;
use fuse_backend_rs::api::filesystem::Entry;
use rustix::fs::{FileType, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The most that an extended attribute has, and all their names together: Linux's limits.
const MOST_ATTRIBUTE_BYTES: usize = 1 << 16;
const USERS: &[u8] = b"user.";

impl Tree {
    /// What the guest is told of a file.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn attributes(
        &self,
        number: u64,
        handle: Option<u64>,
    ) -> Result<(libc::stat64, Duration), Errno> {
        if number == crate::inodes::TOP {
            let mut top = Entry::default().attr;
            (top.st_ino, top.st_nlink) = (number, 2);
            top.st_mode = FileType::Directory.as_raw_mode() | 0o555;
            return Ok((top, BELIEVED));
        }
        // What has no name any more may be known by nothing but its handle.
        let open = handle.and_then(|handle| self.opened(handle, number).ok());
        let (node, stat) = match open {
            Some(open) => (open.node.clone(), stat_of(&open.file)?),
            None => {
                let node = self.node(number)?;
                let stat = stat_of(&node.file)?;
                (node, stat)
            }
        };
        Ok((self.told(&node, &stat), BELIEVED))
    }

    /// Changes them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_attributes(
        &self,
        number: u64,
        wanted: &libc::stat64,
        handle: Option<u64>,
        which: SetattrValid,
    ) -> Result<(libc::stat64, Duration), Errno> {
        let node = self.writable(number)?;
        if which.contains(SetattrValid::SIZE) {
            if which.contains(SetattrValid::KILL_SUIDGID) {
                self.drop_privileges(&node)?;
            }
            let length = u64::try_from(wanted.st_size).map_err(|_| Errno::INVAL)?;
            self.set_length(&node, handle, length)?;
        }
        let owner = SetattrValid::MODE | SetattrValid::UID | SetattrValid::GID;
        if which.intersects(owner) {
            let stat = stat_of(&node.file)?;
            let mut shown = self.owners.of(&owned(&node, &stat));
            if which.contains(SetattrValid::MODE) {
                shown.mode = wanted.st_mode & 0o7777;
            }
            if which.contains(SetattrValid::UID) {
                shown.uid = self.inward(node.share, wanted.st_uid);
            }
            if which.contains(SetattrValid::GID) {
                shown.gid = self.inward(node.share, wanted.st_gid);
            }
            if which.contains(SetattrValid::KILL_SUIDGID) {
                shown = shown.without_privileges();
            }
            self.owners.set(&owned(&node, &stat), shown)?;
        }
        if which.intersects(SetattrValid::ATIME | SetattrValid::MTIME) {
            let access = (SetattrValid::ATIME, SetattrValid::ATIME_NOW);
            let change = (SetattrValid::MTIME, SetattrValid::MTIME_NOW);
            let times = Timestamps {
                last_access: time(which, access, (wanted.st_atime, wanted.st_atime_nsec)),
                last_modification: time(which, change, (wanted.st_mtime, wanted.st_mtime_nsec)),
            };
            // Nobody outside asks when a link was made, or a socket.
            if matches!(node.kind, FileType::RegularFile | FileType::Directory) {
                rustix::fs::futimens(changed(&node)?, &times)?;
            }
        }
        self.attributes(number, handle)
    }

    /// An extended attribute.
    ///
    /// # Errors
    /// ENODATA where there is none, or none of the guest's; what the kernel says.
    pub fn extended(&self, number: u64, name: &CStr) -> Result<Vec<u8>, Errno> {
        let node = self.node(number)?;
        if !is_users(name) {
            return Err(Errno::NODATA);
        }
        let mut value = vec![0; MOST_ATTRIBUTE_BYTES];
        let length = rustix::fs::getxattr(again(&node.file), name, &mut value[..])?;
        value.truncate(length);
        Ok(value)
    }

    /// The names of all of them, each with a null character behind it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn all_extended(&self, number: u64) -> Result<Vec<u8>, Errno> {
        let node = self.node(number)?;
        let mut names = vec![0; MOST_ATTRIBUTE_BYTES];
        let length = rustix::fs::listxattr(again(&node.file), &mut names[..])?;
        names.truncate(length);
        let each = names.split_inclusive(|byte| *byte == 0);
        let guests = each.filter(|name| CStr::from_bytes_with_nul(name).is_ok_and(is_users));
        Ok(guests.flatten().copied().collect())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// EOPNOTSUPP of what is none of the guest's; what the kernel says.
    pub fn set_extended(
        &self,
        number: u64,
        name: &CStr,
        value: &[u8],
        flags: u32,
    ) -> Result<(), Errno> {
        let node = self.writable(number)?;
        if !is_users(name) {
            return Err(Errno::OPNOTSUPP);
        }
        let flags = XattrFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        rustix::fs::fsetxattr(changed(&node)?, name, value, flags)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// ENODATA where there is none, or none of the guest's; what the kernel says.
    pub fn remove_extended(&self, number: u64, name: &CStr) -> Result<(), Errno> {
        let node = self.writable(number)?;
        if !is_users(name) {
            return Err(Errno::NODATA);
        }
        rustix::fs::fremovexattr(changed(&node)?, name)
    }
}

/// A file that something is changed about.
fn changed(node: &Node) -> Result<OwnedFd, Errno> {
    reopen(node, OFlags::RDONLY | OFlags::NONBLOCK)
}

fn is_users(name: &CStr) -> bool {
    name.to_bytes().starts_with(USERS) && name != ATTRIBUTE
}

/// A time as utimensat(2) takes it.
fn time(
    which: SetattrValid,
    (given, now): (SetattrValid, SetattrValid),
    (seconds, nanoseconds): (i64, i64),
) -> Timespec {
    let special = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    if which.contains(given | now) {
        special(rustix::fs::UTIME_NOW)
    } else if which.contains(given) {
        Timespec { tv_sec: seconds, tv_nsec: nanoseconds }
    } else {
        special(rustix::fs::UTIME_OMIT)
    }
}
