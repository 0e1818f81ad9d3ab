//! What nobody needs any more is removed.
//!
//! Owns: what is needed: the documents and layers of the images that have names, and whatever a process is using.
//! Never does: decide which names there are.
//!
//! Whoever finds or makes layers [holds](Store::hold) the store meanwhile; nothing is removed as long as anybody
//! does. A sandbox that runs has its layers open: their bytes stay until it ends.

use super::{LayerKey, Store, StoreError, TreeKey, entries, failed, remove, retry};
use crate::digest::Digest;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// As long as this exists, nothing is removed from the store.
#[derive(Debug)]
pub struct Hold(#[allow(dead_code, reason = "what it does is be open")] OwnedFd);

/// What is to stay.
#[derive(Debug, Default)]
pub struct Needed {
    /// Documents.
    pub documents: HashSet<Digest>,
    /// Layers.
    pub layers: HashSet<LayerKey>,
    /// Merged trees.
    pub trees: HashSet<TreeKey>,
}

/// What was removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// How many layers.
    pub layers: usize,
    /// How many bytes of disk.
    pub bytes: u64,
}

/// What a store takes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// How many layers.
    pub layers: usize,
    /// How many bytes of disk they take, merged trees among them.
    pub layer_bytes: u64,
    /// How many blobs were fetched in part.
    pub downloads: usize,
    /// How many bytes of disk they take.
    pub download_bytes: u64,
}

impl Store {
    /// Keeps others from removing anything.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn hold(&self) -> Result<Hold, StoreError> {
        self.lock_whole(FlockOperation::LockShared)
            .map_err(|errno| failed("lock", &self.root)(errno.into()))
    }

    /// Removes what is not needed, of everything or only of what these images need; `None` where somebody holds
    /// the store. `needed` is asked once nobody does.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn collect(
        &self,
        only: Option<&Needed>,
        needed: &dyn Fn() -> Result<Needed, StoreError>,
    ) -> Result<Option<Removed>, StoreError> {
        let lock = match self.lock_whole(FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => lock,
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(failed("lock", &self.root)(errno.into())),
        };
        let needed = needed()?;
        let mut removed = Removed::default();
        match only {
            Some(only) => self.remove_of(only, &needed, &mut removed)?,
            None => self.remove_all(&needed, &mut removed)?,
        }
        drop(lock);
        Ok(Some(removed))
    }

    /// What all of it takes: layers, and what was fetched in part.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let mut usage = Usage::default();
        for algorithm in entries(&self.root.join("layers"))? {
            for directory in entries(&algorithm)? {
                for path in entries(&directory)? {
                    usage.layers += 1;
                    usage.layer_bytes += taken(&path).unwrap_or(0);
                }
            }
        }
        for path in entries(&self.root.join("trees"))? {
            usage.layer_bytes += taken(&path).unwrap_or(0);
        }
        for path in entries(&self.root.join("downloads"))? {
            usage.downloads += 1;
            usage.download_bytes += taken(&path).unwrap_or(0);
        }
        Ok(usage)
    }

    fn remove_of(
        &self,
        only: &Needed,
        needed: &Needed,
        removed: &mut Removed,
    ) -> Result<(), StoreError> {
        for key in only.layers.difference(&needed.layers) {
            removed.layers += usize::from(remove_counted(&self.layer_path(key), removed)?);
            remove_directory(&self.layer_directory(key));
        }
        for key in only.trees.difference(&needed.trees) {
            remove_counted(&self.tree_path(key), removed)?;
        }
        for digest in only.documents.difference(&needed.documents) {
            remove_counted(&self.document_path(digest), removed)?;
        }
        Ok(())
    }

    fn remove_all(&self, needed: &Needed, removed: &mut Removed) -> Result<(), StoreError> {
        removed.bytes += self.remove_downloads()?;
        let layers: HashSet<_> = needed.layers.iter().map(|key| self.layer_path(key)).collect();
        let documents: HashSet<_> =
            needed.documents.iter().map(|digest| self.document_path(digest)).collect();
        for algorithm in entries(&self.root.join("layers"))? {
            for directory in entries(&algorithm)? {
                for path in entries(&directory)?.iter().filter(|path| !layers.contains(*path)) {
                    removed.layers += usize::from(remove_counted(path, removed)?);
                }
                remove_directory(&directory);
            }
        }
        let trees: HashSet<_> = needed.trees.iter().map(|key| self.tree_path(key)).collect();
        for path in entries(&self.root.join("trees"))?.iter().filter(|it| !trees.contains(*it)) {
            remove_counted(path, removed)?;
        }
        for algorithm in entries(&self.root.join("documents"))? {
            for path in entries(&algorithm)?.iter().filter(|path| !documents.contains(*path)) {
                remove_counted(path, removed)?;
            }
        }
        for path in entries(&self.root.join("recorded"))? {
            remove_counted(&path, removed)?;
        }
        Ok(())
    }

    fn lock_whole(&self, how: FlockOperation) -> Result<Hold, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.root, flags, Mode::empty())?;
        retry(|| rustix::fs::flock(&directory, how))?;
        Ok(Hold(directory))
    }
}

/// Removes a file and counts what it took. Whether it was there.
fn remove_counted(path: &Path, removed: &mut Removed) -> Result<bool, StoreError> {
    let Some(bytes) = taken(path) else { return Ok(false) };
    remove(path)?;
    removed.bytes += bytes;
    Ok(true)
}

/// Removes a directory, unless there is something in it. By the call that removes all else: this process's list has no
/// other.
fn remove_directory(path: &Path) {
    let _ = rustix::fs::unlinkat(rustix::fs::CWD, path, rustix::fs::AtFlags::REMOVEDIR);
}

/// How many bytes of disk a file takes, where it is there.
fn taken(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|metadata| metadata.blocks() * 512)
}
