//! What a directory has: made, moved, linked and removed.
//!
//! A new file is made as whoever runs this makes it, and shown as the guest made it: where the second cannot be, there
//! is no file.

use crate::inodes::{Identity, Node};
use crate::owners::outside;
use crate::tree::{Tree, owned, proper};
use fuse_backend_rs::api::filesystem::Entry;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::OwnedFd;

/// The longest target of a link.
const MOST_TARGET_BYTES: usize = 4095;

/// Who makes a file in the guest.
pub(crate) type Maker = (u32, u32);

impl Tree {
    /// Makes a directory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn make_directory(
        &self,
        parent: u64,
        name: &CStr,
        maker: Maker,
        mode: u32,
    ) -> Result<Entry, Errno> {
        let parent = self.writable(parent)?;
        let kind = FileType::Directory;
        rustix::fs::mkdirat(&*parent.file, proper(name)?, outside(kind, mode))?;
        self.settle(&parent, name, maker, mode & 0o7777, AtFlags::REMOVEDIR).map(|(_, entry)| entry)
    }

    /// Makes a file, a pipe or a socket; a device is not made.
    ///
    /// # Errors
    /// What the kernel says; EPERM of devices.
    pub fn make_node(
        &self,
        parent: u64,
        name: &CStr,
        maker: Maker,
        mode: u32,
    ) -> Result<Entry, Errno> {
        let parent = self.writable(parent)?;
        let kind = FileType::from_raw_mode(mode);
        if !matches!(kind, FileType::RegularFile | FileType::Fifo | FileType::Socket) {
            return Err(Errno::PERM);
        }
        rustix::fs::mknodat(&*parent.file, proper(name)?, kind, outside(kind, mode), 0)?;
        self.settle(&parent, name, maker, mode & 0o7777, AtFlags::empty()).map(|(_, entry)| entry)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn make_link(
        &self,
        parent: u64,
        name: &CStr,
        maker: Maker,
        target: &CStr,
    ) -> Result<Entry, Errno> {
        let parent = self.writable(parent)?;
        rustix::fs::symlinkat(target, &*parent.file, proper(name)?)?;
        self.settle(&parent, name, maker, 0o777, AtFlags::empty()).map(|(_, entry)| entry)
    }

    /// Makes a file, if there is none, and opens it. Gives a file that was made by this.
    ///
    /// # Errors
    /// What the kernel says; EEXIST where there is one.
    pub fn make_file(
        &self,
        parent: &Node,
        name: &CStr,
        maker: Maker,
        (flags, mode): (OFlags, u32),
    ) -> Result<(Node, Entry, OwnedFd), Errno> {
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let permissions = outside(FileType::RegularFile, mode);
        let file = rustix::fs::openat(&*parent.file, proper(name)?, flags, permissions)?;
        let (node, entry) = self.settle(parent, name, maker, mode & 0o7777, AtFlags::empty())?;
        Ok((node, entry, file))
    }

    /// Has a new file be shown as what it was made as.
    fn settle(
        &self,
        parent: &Node,
        name: &CStr,
        maker: Maker,
        mode: u32,
        removal: AtFlags,
    ) -> Result<(Node, Entry), Errno> {
        let settled = self.show_new(parent, name, maker, mode);
        if settled.is_err() {
            // What it is cannot be said to the guest: so it is not. Where it is gone already, good.
            let _ = rustix::fs::unlinkat(&*parent.file, name, removal);
        }
        settled
    }

    fn show_new(
        &self,
        parent: &Node,
        name: &CStr,
        maker: Maker,
        mode: u32,
    ) -> Result<(Node, Entry), Errno> {
        let (file, stat) = self.look(parent, name)?;
        let shown = self.of_new(parent, maker, FileType::from_raw_mode(stat.st_mode), mode)?;
        let node = self.inodes.found(parent, name, file, &stat)?;
        let done = self.owners.set(&owned(&node, &stat), shown);
        let stat = done.and_then(|()| rustix::fs::fstat(&*node.file));
        match stat {
            Ok(stat) => {
                let entry = self.entry(&node, &stat);
                Ok((node, entry))
            }
            Err(errno) => {
                self.inodes.forget(node.number, 1);
                Err(errno)
            }
        }
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// What the kernel says; EXDEV from one share to another.
    pub fn link_again(&self, number: u64, parent: u64, name: &CStr) -> Result<Entry, Errno> {
        let (node, parent) = (self.writable(number)?, self.writable(parent)?);
        if node.share != parent.share {
            return Err(Errno::XDEV);
        }
        // By its open file it would take a privilege.
        let path = crate::owners::again(&node.file);
        let flags = AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(rustix::fs::CWD, path, &*parent.file, proper(name)?, flags)?;
        self.look_up(&parent, name).map(|(_, entry)| entry)
    }

    /// Removes a name.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, parent: u64, name: &CStr, is_directory: bool) -> Result<(), Errno> {
        let parent = self.writable(parent)?;
        let name = proper(name)?;
        let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let stat = rustix::fs::statat(&*parent.file, name, AtFlags::SYMLINK_NOFOLLOW);
        rustix::fs::unlinkat(&*parent.file, name, flags)?;
        if let Ok(stat) = stat {
            self.removed(parent.share, &stat);
        }
        Ok(())
    }

    /// Moves a name, or exchanges two.
    ///
    /// # Errors
    /// What the kernel says; EXDEV from one share to another, EINVAL of what only an overlay wants.
    pub fn rename(
        &self,
        (old_parent, old): (u64, &CStr),
        (new_parent, new): (u64, &CStr),
        flags: u32,
    ) -> Result<(), Errno> {
        let known = RenameFlags::NOREPLACE | RenameFlags::EXCHANGE;
        let flags = RenameFlags::from_bits(flags).filter(|flags| known.contains(*flags));
        let flags = flags.ok_or(Errno::INVAL)?;
        let (from, to) = (self.writable(old_parent)?, self.writable(new_parent)?);
        if from.share != to.share {
            return Err(Errno::XDEV);
        }
        let (old, new) = (proper(old)?, proper(new)?);
        let look = |parent: &Node, name| {
            rustix::fs::statat(&*parent.file, name, AtFlags::SYMLINK_NOFOLLOW).ok()
        };
        let (moved, replaced) = (look(&from, old), look(&to, new));
        if flags.is_empty() {
            rustix::fs::renameat(&*from.file, old, &*to.file, new)?;
        } else {
            rustix::fs::renameat_with(&*from.file, old, &*to.file, new, flags)?;
        }
        if let Some(stat) = moved {
            self.inodes.moved(Identity::new(from.share, &stat), to.number, new);
        }
        match replaced {
            Some(stat) if flags.contains(RenameFlags::EXCHANGE) => {
                self.inodes.moved(Identity::new(to.share, &stat), from.number, old);
            }
            Some(stat) => self.removed(to.share, &stat),
            None => {}
        }
        Ok(())
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn target(&self, number: u64) -> Result<Vec<u8>, Errno> {
        let node = self.node(number)?;
        let target = rustix::fs::readlinkat(&*node.file, c"", Vec::new())?.into_bytes();
        if target.len() > MOST_TARGET_BYTES { Err(Errno::NAMETOOLONG) } else { Ok(target) }
    }
}

/// The permissions of a file that is made, which the guest's kernel has taken the caller's mask from already.
pub(crate) fn masked(mode: u32, mask: u32) -> u32 {
    mode & !(mask & Mode::from_raw_mode(0o777).bits())
}
