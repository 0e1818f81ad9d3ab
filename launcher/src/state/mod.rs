//! What a state directory knows of sandboxes: one directory each, held by a lock while it lives.
//!
//! Owns: `STATE_DIR/sandboxes/`. Never does: anything with images (the store's) or running processes.
//!
//! ```text
//!   STATE_DIR/sandboxes/ID/            flock: exclusive while its supervisor lives
//!                        ├ record.json what it is, versioned; replaced whole, never edited
//!                        └ upper.ext4  its writable disk, unless that has no name (--rm)
//! ```
//!
//! A sandbox dies with its supervisor, whatever ended that. So a directory that is not locked and
//! whose record does not say that the sandbox ended in order is what a kill left, and
//! [`Sandboxes::sweep`] removes it. Making and sweeping exclude each other by a lock on `sandboxes/`.

mod record;

pub use record::{Record, Status};

use protocol::ContainerId;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Why the state directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or directory could not be used.
    #[error("cannot {action} {path}")]
    Path {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A record is not one of ours.
    #[error("{path} is no sandbox record of this version")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// There is no such sandbox.
    #[error("no sandbox is called {0:?}")]
    NotFound(String),
    /// It runs.
    #[error("sandbox {0} runs: it can be removed when it has ended")]
    Running(ContainerId),
    /// A name is taken.
    #[error("the name {name:?} is in use by sandbox {id}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        id: ContainerId,
    },
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Path { action, path, source }
}

/// The sandboxes of one state directory.
#[derive(Debug)]
pub struct Sandboxes {
    path: PathBuf,
}

/// A sandbox of this process: its directory is locked until this is dropped.
#[derive(Debug)]
pub struct OwnSandbox {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Sandboxes {
    /// Opens (and makes) the directory.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(state_dir: &Path) -> Result<Self, StateError> {
        let path = state_dir.join("sandboxes");
        std::fs::create_dir_all(&path).map_err(at("make", &path))?;
        Ok(Self { path })
    }

    /// Makes a sandbox's directory with its first record, and holds it.
    ///
    /// # Errors
    /// [`StateError::NameTaken`], and where a file cannot be written.
    pub fn create(&self, record: &Record) -> Result<OwnSandbox, StateError> {
        let _making = lock(&self.path, FlockOperation::LockExclusive)?;
        if let Some(name) = &record.name
            && let Some(other) = self.list()?.into_iter().find(|it| it.name.as_ref() == Some(name))
        {
            return Err(StateError::NameTaken { name: name.clone(), id: other.id });
        }
        let path = self.path.join(record.id.as_str());
        std::fs::create_dir(&path).map_err(at("make", &path))?;
        let own = OwnSandbox { _lock: lock(&path, FlockOperation::LockExclusive)?, path };
        own.write(record)?;
        Ok(own)
    }

    /// Removes what killed sandboxes have left. Gives how many.
    ///
    /// # Errors
    /// Where a directory cannot be read or removed.
    pub fn sweep(&self) -> Result<usize, StateError> {
        let mut removed = 0;
        let _sweeping = lock(&self.path, FlockOperation::LockExclusive)?;
        for path in self.directories()? {
            let Ok(_lock) = lock(&path, FlockOperation::NonBlockingLockExclusive) else { continue };
            if !Record::read(&path).is_ok_and(|record| record.status.is_final()) {
                std::fs::remove_dir_all(&path).map_err(at("remove", &path))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The records of all sandboxes, oldest first. What is half made or half removed is passed over.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Record>, StateError> {
        let mut records: Vec<_> =
            self.directories()?.iter().filter_map(|path| Record::read(path).ok()).collect();
        records.sort_by_key(|record| record.created_ms);
        Ok(records)
    }

    /// Removes an ended sandbox, by its name, its identifier or the beginning of that.
    ///
    /// # Errors
    /// [`StateError::NotFound`] and [`StateError::Running`] among others.
    pub fn remove(&self, wanted: &str) -> Result<ContainerId, StateError> {
        let record = self
            .list()?
            .into_iter()
            .find(|record| {
                record.name.as_deref() == Some(wanted)
                    || (!wanted.is_empty() && record.id.as_str().starts_with(wanted))
            })
            .ok_or_else(|| StateError::NotFound(wanted.to_owned()))?;
        let path = self.path.join(record.id.as_str());
        let Ok(_lock) = lock(&path, FlockOperation::NonBlockingLockExclusive) else {
            return Err(StateError::Running(record.id));
        };
        std::fs::remove_dir_all(&path).map_err(at("remove", &path))?;
        Ok(record.id)
    }

    fn directories(&self) -> Result<Vec<PathBuf>, StateError> {
        let entries = std::fs::read_dir(&self.path).map_err(at("read", &self.path))?;
        entries
            .map(|entry| entry.map(|entry| entry.path()).map_err(at("read", &self.path)))
            .filter(|path| path.as_ref().map_or(true, |path| path.is_dir()))
            .collect()
    }
}

impl OwnSandbox {
    /// Replaces the record.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, record: &Record) -> Result<(), StateError> {
        record.write(&self.path)
    }

    /// Makes the file of the writable disk: with a name, or with none, so that nothing can be left.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create_upper(&self, keep: bool) -> Result<File, StateError> {
        let mode = Mode::RUSR | Mode::WUSR;
        if !keep {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
            if let Ok(file) = rustix::fs::open(&self.path, flags, mode) {
                return Ok(file.into());
            }
        }
        let path = self.path.join("upper.ext4");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, mode)
            .map_err(|errno| at("make", &path)(errno.into()))?;
        Ok(file.into())
    }

    /// Removes the sandbox, disk and all.
    ///
    /// # Errors
    /// Where the directory cannot be removed.
    pub fn remove(self) -> Result<(), StateError> {
        std::fs::remove_dir_all(&self.path).map_err(at("remove", &self.path))
    }
}

/// Locks a directory until the descriptor given is closed.
fn lock(path: &Path, operation: FlockOperation) -> Result<OwnedFd, StateError> {
    let error = |errno: rustix::io::Errno| at("lock", path)(errno.into());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(error)?;
    rustix::fs::flock(&directory, operation).map_err(error)?;
    Ok(directory)
}

#[cfg(test)]
mod tests;
