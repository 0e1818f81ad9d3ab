//! The shares, what the guest knows of them, and what it has open.

use crate::Share;
use crate::inodes::{Identity, Inodes, LOOK, Node, TOP};
use crate::owners::{Owned, Owners, SET_GROUP, Shown};
use fuse_backend_rs::api::filesystem::Entry;
use rustix::fs::{FileType, Mode, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the guest believes what it was told of a file, though somebody else may change it: what virtiofsd has too.
pub(crate) const BELIEVED: Duration = Duration::from_secs(1);
/// How many ids a user namespace of the guest's has.
const IDS: u32 = 1 << 16;
/// The bits of an inode's number below those that tell file systems apart.
const INODE_BITS: u32 = 48;

/// A file that the guest has open.
#[derive(Debug)]
pub(crate) struct Open {
    /// Which.
    pub node: Node,
    /// It, open as the guest may use it.
    pub file: File,
    /// Whether all that is written goes to its end.
    pub appends: bool,
    /// Of a directory, where the kernel goes on to read it.
    pub position: AtomicU64,
}

/// What a share is, but for its root.
#[derive(Debug)]
struct Rules {
    root: u64,
    readonly: bool,
    first_id: u32,
}

/// All there is.
#[derive(Debug)]
pub(crate) struct Tree {
    shares: Vec<Rules>,
    pub inodes: Inodes,
    pub owners: Owners,
    open: Mutex<HashMap<u64, Arc<Open>>>,
    most_open: usize,
    next_handle: AtomicU64,
    /// The file systems that were met: each has inode numbers of its own.
    devices: Mutex<Vec<u64>>,
}

impl Tree {
    /// Half of what may be open is for what the guest has open, the other half for what it knows.
    pub fn new(shares: Vec<Share>, most_open: usize) -> Self {
        let inodes = Inodes::new(most_open / 2 + shares.len());
        let rules = shares.into_iter().enumerate().map(|(index, share)| {
            let Share { root, readonly, first_id } = share;
            // Where it cannot be looked at, it is a share in which nothing is.
            let root =
                rustix::fs::fstat(&root).map_or(0, |stat| inodes.add_root(index, root, &stat));
            Rules { root, readonly, first_id }
        });
        let shares = rules.collect();
        Self {
            shares,
            inodes,
            owners: Owners::new(),
            open: Mutex::default(),
            most_open: most_open / 2,
            next_handle: AtomicU64::new(1),
            devices: Mutex::default(),
        }
    }

    /// A file by its number; the directory above the shares is none.
    ///
    /// # Errors
    /// EACCES of that one, else as [`Inodes::node`].
    pub fn node(&self, number: u64) -> Result<Node, Errno> {
        if number == TOP { Err(Errno::ACCESS) } else { self.inodes.node(number) }
    }

    /// The same, to be changed.
    ///
    /// # Errors
    /// EROFS too.
    pub fn writable(&self, number: u64) -> Result<Node, Errno> {
        let node = self.node(number)?;
        if self.is_readonly(&node) { Err(Errno::ROFS) } else { Ok(node) }
    }

    /// Whether nothing may be changed where it is.
    pub fn is_readonly(&self, node: &Node) -> bool {
        self.shares.get(node.share).is_none_or(|rules| rules.readonly)
    }

    /// The root of the share whose number is this name.
    ///
    /// # Errors
    /// ENOENT where there is none.
    pub fn share_named(&self, name: &CStr) -> Result<Node, Errno> {
        let number = name.to_str().ok().and_then(|name| name.parse::<usize>().ok());
        let rules = number.and_then(|number| self.shares.get(number)).ok_or(Errno::NOENT)?;
        self.inodes.node(rules.root).map_err(|_| Errno::NOENT)
    }

    /// What a directory has under a name.
    ///
    /// # Errors
    /// What the kernel says; EINVAL of what is no name.
    pub fn look(&self, parent: &Node, name: &CStr) -> Result<(OwnedFd, Stat), Errno> {
        let file = rustix::fs::openat(&*parent.file, proper(name)?, LOOK, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        Ok((file, stat))
    }

    /// What the guest is told of a file that is in a directory.
    ///
    /// # Errors
    /// As [`Tree::look`]; ENFILE where it knows too many.
    pub fn look_up(&self, parent: &Node, name: &CStr) -> Result<(Node, Entry), Errno> {
        let (file, stat) = self.look(parent, name)?;
        let node = self.inodes.found(parent, name, file, &stat)?;
        let entry = self.entry(&node, &stat);
        Ok((node, entry))
    }

    /// What the guest is told of a file, with its number.
    pub fn entry(&self, node: &Node, stat: &Stat) -> Entry {
        Entry {
            inode: node.number,
            attr: self.told(node, stat),
            attr_timeout: BELIEVED,
            entry_timeout: BELIEVED,
            ..Entry::default()
        }
    }

    /// What the guest is told of a file.
    pub fn told(&self, node: &Node, stat: &Stat) -> libc::stat64 {
        let shown = self.owners.of(&owned(node, stat));
        let mut told = Entry::default().attr;
        told.st_ino = self.inode_number(stat);
        told.st_size = stat.st_size;
        told.st_blocks = stat.st_blocks;
        told.st_blksize = stat.st_blksize as _;
        (told.st_atime, told.st_atime_nsec) = (stat.st_atime as _, stat.st_atime_nsec as _);
        (told.st_mtime, told.st_mtime_nsec) = (stat.st_mtime as _, stat.st_mtime_nsec as _);
        (told.st_ctime, told.st_ctime_nsec) = (stat.st_ctime as _, stat.st_ctime_nsec as _);
        told.st_nlink = stat.st_nlink as _;
        told.st_rdev = stat.st_rdev;
        told.st_mode = node.kind.as_raw_mode() | shown.mode;
        told.st_uid = self.outward(node.share, shown.uid);
        told.st_gid = self.outward(node.share, shown.gid);
        told
    }

    /// The number of its inode to the guest, to whom all shares are one file system.
    pub fn inode_number(&self, stat: &Stat) -> u64 {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let known = devices.iter().position(|device| *device == stat.st_dev);
        let index = known.unwrap_or_else(|| {
            if devices.len() < 1 << (u64::BITS - INODE_BITS) {
                devices.push(stat.st_dev);
            }
            devices.len() - 1
        });
        stat.st_ino ^ (index as u64) << INODE_BITS
    }

    fn first_id(&self, share: usize) -> u32 {
        self.shares.get(share).map_or(0, |rules| rules.first_id)
    }

    /// The guest's id for what stands beside a file.
    fn outward(&self, share: usize, id: u32) -> u32 {
        match self.first_id(share) {
            0 => id,
            first if id < IDS => first.saturating_add(id),
            _ => id,
        }
    }

    /// What is to stand beside a file for an id of the guest's. Its kernel's own root is root in there, too.
    pub fn inward(&self, share: usize, id: u32) -> u32 {
        let first = self.first_id(share);
        match id.checked_sub(first) {
            Some(id) if first > 0 && id < IDS => id,
            _ => id,
        }
    }

    /// What a new file in a directory is to be shown as: one that hands its group on does so to directories, too.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of_new(
        &self,
        parent: &Node,
        (uid, gid): (u32, u32),
        kind: FileType,
        mode: u32,
    ) -> Result<Shown, Errno> {
        let above = self.owners.of(&owned(parent, &stat_of(&parent.file)?));
        let (uid, gid) = (self.inward(parent.share, uid), self.inward(parent.share, gid));
        let handed_on = above.mode & SET_GROUP;
        let gid = if handed_on == 0 { gid } else { above.gid };
        Ok(Shown { uid, gid, mode: mode | if kind.is_dir() { handed_on } else { 0 } })
    }

    fn lock_open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the guest has opened. Gives its handle.
    ///
    /// # Errors
    /// EMFILE where it has too many open.
    pub fn keep(&self, node: Node, file: File, appends: bool) -> Result<u64, Errno> {
        let mut open = self.lock_open();
        if open.len() >= self.most_open {
            return Err(Errno::MFILE);
        }
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.inodes.used(node.number, true);
        open.insert(handle, Arc::new(Open { node, file, appends, position: AtomicU64::new(0) }));
        Ok(handle)
    }

    /// What the guest has open by this handle.
    ///
    /// # Errors
    /// EBADF.
    pub fn opened(&self, handle: u64, number: u64) -> Result<Arc<Open>, Errno> {
        let open = self.lock_open().get(&handle).cloned();
        open.filter(|open| open.node.number == number).ok_or(Errno::BADF)
    }

    /// The guest has closed it.
    pub fn close(&self, handle: u64) {
        let closed = self.lock_open().remove(&handle);
        if let Some(open) = closed {
            self.inodes.used(open.node.number, false);
        }
    }

    /// All that the guest had is gone: it is a new one.
    pub fn close_all(&self) {
        let mut all = self.lock_open();
        for (_, open) in all.drain() {
            self.inodes.used(open.node.number, false);
        }
    }

    /// Forgets what is known here of a file, where it is no more.
    pub fn removed(&self, share: usize, stat: &Stat) {
        let is_last = stat.st_nlink <= 1 || FileType::from_raw_mode(stat.st_mode).is_dir();
        if is_last {
            self.owners.forget(Identity::new(share, stat));
        }
    }
}

/// A file as [`Owners`] asks for it.
pub(crate) fn owned<'a>(node: &'a Node, stat: &'a Stat) -> Owned<'a> {
    Owned { identity: node.identity, kind: node.kind, file: &node.file, stat }
}

/// A name of one file in one directory.
///
/// # Errors
/// EINVAL of what leads elsewhere.
pub(crate) fn proper(name: &CStr) -> Result<&CStr, Errno> {
    match name.to_bytes() {
        b"" | b"." | b".." => Err(Errno::INVAL),
        bytes if bytes.contains(&b'/') => Err(Errno::INVAL),
        _ => Ok(name),
    }
}

/// What the file system knows of an open file.
///
/// # Errors
/// The kernel's.
pub(crate) fn stat_of(file: &impl AsFd) -> Result<Stat, Errno> {
    rustix::fs::fstat(file)
}
