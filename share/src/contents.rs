//! What is in a file: opened, read, written, and made longer or shorter.

use crate::inodes::Node;
use crate::names::Maker;
use crate::owners::{SET_GROUP, SET_USER, opened_again};
use crate::tree::{Tree, owned, stat_of};
use fuse_backend_rs::api::filesystem::Entry;
use rustix::fs::{FallocateFlags, FileType, OFlags, SeekFrom};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::OwnedFd;

/// What a guest may say of how a file is opened. The rest is its own kernel's affair.
const HEARD: OFlags =
    OFlags::RDONLY.union(OFlags::WRONLY).union(OFlags::RDWR).union(OFlags::APPEND);
/// How an allocation may be asked for.
const KEEP_SIZE: u32 = FallocateFlags::KEEP_SIZE.bits();
const PUNCH_HOLE: u32 = FallocateFlags::PUNCH_HOLE.bits();
const ZERO_RANGE: u32 = FallocateFlags::ZERO_RANGE.bits();

fn heard(flags: u32) -> OFlags {
    OFlags::from_bits_truncate(flags) & HEARD
}

fn writes(flags: OFlags) -> bool {
    flags.intersects(OFlags::WRONLY | OFlags::RDWR)
}

impl Tree {
    /// Opens a file. Gives the handle.
    ///
    /// # Errors
    /// What the kernel says; EACCES of what is neither a file nor a directory.
    pub fn open(&self, number: u64, flags: u32) -> Result<u64, Errno> {
        let flags = heard(flags);
        let node = if writes(flags) { self.writable(number)? } else { self.node(number)? };
        let file = reopen(&node, flags)?;
        self.keep(node, file.into(), flags.contains(OFlags::APPEND))
    }

    /// Opens a directory. Gives the handle.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open_directory(&self, number: u64) -> Result<u64, Errno> {
        let node = self.node(number)?;
        let file = reopen(&node, OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.keep(node, file.into(), false)
    }

    /// Makes a file and opens it, or opens the one that is there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create(
        &self,
        parent: u64,
        name: &CStr,
        maker: Maker,
        (flags, mode): (u32, u32),
    ) -> Result<(Entry, u64), Errno> {
        let parent = self.writable(parent)?;
        let asked = OFlags::from_bits_truncate(flags);
        let (node, entry, file) = match self.make_file(&parent, name, maker, (heard(flags), mode)) {
            Err(Errno::EXIST) if !asked.contains(OFlags::EXCL) => {
                let (node, entry) = self.look_up(&parent, name)?;
                let file = reopen(&node, heard(flags)).inspect_err(|_| {
                    self.inodes.forget(node.number, 1);
                })?;
                if asked.contains(OFlags::TRUNC) && writes(heard(flags)) {
                    rustix::fs::ftruncate(&file, 0)?;
                }
                (node, entry, file)
            }
            made => made?,
        };
        let number = node.number;
        let handle = self.keep(node, file.into(), asked.contains(OFlags::APPEND));
        let handle = handle.inspect_err(|_| self.inodes.forget(number, 1))?;
        Ok((entry, handle))
    }

    /// Makes a file so long.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_length(&self, node: &Node, handle: Option<u64>, length: u64) -> Result<(), Errno> {
        match handle {
            Some(handle) => rustix::fs::ftruncate(&self.opened(handle, node.number)?.file, length),
            None => rustix::fs::ftruncate(reopen(node, OFlags::WRONLY)?, length),
        }
    }

    /// Allocates, or gives back.
    ///
    /// # Errors
    /// What the kernel says; EOPNOTSUPP of what would move data.
    pub fn allocate(
        &self,
        number: u64,
        handle: u64,
        mode: u32,
        (offset, length): (u64, u64),
    ) -> Result<(), Errno> {
        if mode & !(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE) != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let open = self.opened(handle, number)?;
        let flags = FallocateFlags::from_bits_truncate(mode);
        rustix::fs::fallocate(&open.file, flags, offset, length)
    }

    /// Where the next data, or the next hole, is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn seek(&self, number: u64, handle: u64, offset: u64, whence: u32) -> Result<u64, Errno> {
        let place = match i32::try_from(whence) {
            Ok(libc::SEEK_DATA) => SeekFrom::Data(offset),
            Ok(libc::SEEK_HOLE) => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        rustix::fs::seek(&self.opened(handle, number)?.file, place)
    }

    /// Has what was written be on the disk.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sync(&self, number: u64, handle: u64, only_data: bool) -> Result<(), Errno> {
        let open = self.opened(handle, number)?;
        if only_data { rustix::fs::fdatasync(&open.file) } else { rustix::fs::fsync(&open.file) }
    }

    /// Takes from a file what only its owner may give it, because somebody else changes it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn drop_privileges(&self, node: &Node) -> Result<(), Errno> {
        let stat = stat_of(&node.file)?;
        let shown = self.owners.of(&owned(node, &stat));
        if shown.mode & (SET_USER | SET_GROUP) == 0 {
            return Ok(());
        }
        self.owners.set(&owned(node, &stat), shown.without_privileges())
    }
}

/// Opens what the guest knows, for more than to be looked at.
pub(crate) fn reopen(node: &Node, flags: OFlags) -> Result<OwnedFd, Errno> {
    if !matches!(node.kind, FileType::RegularFile | FileType::Directory) {
        return Err(Errno::ACCESS);
    }
    opened_again(&node.file, flags)
}
