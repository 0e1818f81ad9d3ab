//! What a state directory knows of sandboxes: one directory each, held by a lock while it lives.
//!
//! Owns: `STATE_DIR/sandboxes/`. Never does: anything with images (the store's) or running processes.
//!
//! ```text
//!   STATE_DIR/sandboxes/ID/            flock: exclusive while its supervisor lives
//!                        ├ record.json what it is, versioned; replaced whole, never edited
//!                        ├ control     the socket on which its supervisor listens
//!                        ├ sockets/    those that lead to its container's ([`crate::published_sockets`])
//!                        ├ run.json    what was typed, unless it leaves nothing (--rm): it may be started again
//!                        ├ output.log  what it says, if it is detached ([`crate::log`])
//!                        └ upper.ext4  its writable disk, unless that has no name (--rm)
//! ```
//!
//! A sandbox dies with its supervisor, whatever ended that. So a directory that is not locked and
//! whose record says that the sandbox runs, or is not there, or not whole, is what a kill left, and
//! [`Sandboxes::sweep`] removes it; but for one that was detached and is to be kept, of which it says that it has ended. What cannot be read, or is of another version, is someone's and
//! stays. Making and sweeping exclude each other by a lock on `sandboxes/`.

mod again;
mod record;
mod rename;

pub use again::{Again, Limits};
pub use record::{
    Health, HealthStatus, PublishedPort, PublishedSocket, Record, Status, Transport, now_ms,
};

use image::store::open_regular;
use protocol::ContainerId;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the lock of all sandboxes is waited for: making one takes moments, sweeping large disks seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(5);

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
    /// It is the beginning of more than one identifier.
    #[error("{wanted:?} is the beginning of more than one sandbox's identifier: {}", .ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// Whose beginning it is.
        ids: Vec<String>,
    },
    /// There is no such sandbox.
    #[error("no sandbox is called {0:?}")]
    NotFound(String),
    /// It runs.
    #[error("sandbox {0} runs: it can be removed when it has ended")]
    Running(ContainerId),
    /// Somebody holds the lock that is held for moments.
    #[error("another process has held the lock of {path} for {} s", .patience.as_secs())]
    Held {
        /// The directory.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
    /// A name is taken.
    #[error("the name {name:?} is in use by sandbox {id}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        id: ContainerId,
    },
}

pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Path { action, path, source }
}

/// What came of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many sandboxes were removed.
    pub removed: usize,
    /// Why others were left that nobody holds.
    pub left: Vec<StateError>,
}

/// The directory of a sandbox.
pub fn directory(state_dir: &Path, id: &ContainerId) -> PathBuf {
    state_dir.join(SANDBOXES).join(id.as_str())
}

/// The directory of all of them.
const SANDBOXES: &str = "sandboxes";
/// The file of a writable disk.
const UPPER: &str = "upper.ext4";

/// The sandboxes of one state directory.
#[derive(Debug)]
pub struct Sandboxes {
    path: PathBuf,
}

/// A sandbox of this process: its directory is locked until this is dropped, and then removed unless
/// it is [kept](OwnSandbox::keep).
#[derive(Debug)]
pub struct OwnSandbox {
    path: PathBuf,
    is_done_with: bool,
    /// What it was before it was started again: that is what becomes of it where it does not.
    before: Option<Record>,
    _lock: OwnedFd,
}

impl Sandboxes {
    /// Opens (and makes) the directory.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(state_dir: &Path) -> Result<Self, StateError> {
        let path = state_dir.join(SANDBOXES);
        std::fs::create_dir_all(&path).map_err(at("make", &path))?;
        Ok(Self { path })
    }

    /// Makes a sandbox's directory with its first record, and holds it.
    ///
    /// # Errors
    /// [`StateError::NameTaken`], and where a file cannot be written.
    pub fn create(&self, record: &Record) -> Result<OwnSandbox, StateError> {
        let _making = lock_within(&self.path, PATIENCE)?;
        if let Some(name) = &record.name
            && let Some(other) = self.list()?.into_iter().find(|it| it.name.as_ref() == Some(name))
        {
            return Err(StateError::NameTaken { name: name.clone(), id: other.id });
        }
        let path = self.path.join(record.id.as_str());
        std::fs::create_dir(&path).map_err(at("make", &path))?;
        let _lock = lock(&path, FlockOperation::LockExclusive)?;
        record.write(&path)?;
        Ok(OwnSandbox { path, is_done_with: false, before: None, _lock })
    }

    /// Holds an ended sandbox, as one that begins once more; gives its record as well, as it is now.
    ///
    /// # Errors
    /// [`StateError::Running`], and where it is not there.
    pub fn resume(&self, id: &ContainerId) -> Result<(OwnSandbox, Record), StateError> {
        let _making = lock_within(&self.path, PATIENCE)?;
        let path = self.path.join(id.as_str());
        let not_found = |error| match error {
            StateError::Path { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                StateError::NotFound(id.to_string())
            }
            other => other,
        };
        let before = Record::read(&path).map_err(not_found)?;
        let held = try_lock(&path)?.filter(|_| before.status.is_final());
        let _lock = held.ok_or_else(|| StateError::Running(id.clone()))?;
        let record = before.clone().once_more();
        record.write(&path)?;
        let before = Some(before);
        Ok((OwnSandbox { path, is_done_with: false, before, _lock }, record))
    }

    /// Removes what killed sandboxes have left.
    ///
    /// # Errors
    /// Where the directory of all of them cannot be locked or read.
    pub fn sweep(&self) -> Result<Swept, StateError> {
        let mut swept = Swept::default();
        let _sweeping = lock_within(&self.path, PATIENCE)?;
        for path in self.directories()? {
            match sweep_one(&path) {
                Ok(removed) => swept.removed += usize::from(removed),
                Err(error) => swept.left.push(error),
            }
        }
        Ok(swept)
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

    /// Removes an ended sandbox, by its name, its identifier or the beginning of that, in this order.
    ///
    /// # Errors
    /// [`StateError::NotFound`], [`StateError::Ambiguous`] and [`StateError::Running`] among others.
    pub fn remove(&self, wanted: &str) -> Result<ContainerId, StateError> {
        let id = called(self.list()?, wanted)?;
        let path = self.path.join(id.as_str());
        let Some(_lock) = try_lock(&path)? else { return Err(StateError::Running(id)) };
        remove_all(&path)?;
        Ok(id)
    }

    /// Says of an ended sandbox that it is not to be started again by itself.
    ///
    /// # Errors
    /// Where its record cannot be read or written.
    pub fn stays_stopped(&self, wanted: &str) -> Result<(), StateError> {
        let (_, path) = self.directory_of(wanted)?;
        let Some(_lock) = try_lock(&path)? else { return Ok(()) };
        let mut record = Record::read(&path)?;
        if record.stopped || !record.status.is_final() {
            return Ok(());
        }
        record.stopped = true;
        record.write(&path)
    }

    /// The directory of a sandbox, by its name, its identifier or the beginning of that, in this order.
    ///
    /// # Errors
    /// [`StateError::NotFound`] and [`StateError::Ambiguous`] among others.
    pub fn directory_of(&self, wanted: &str) -> Result<(ContainerId, PathBuf), StateError> {
        let id = called(self.list()?, wanted)?;
        let path = self.path.join(id.as_str());
        Ok((id, path))
    }

    /// The record of a sandbox, by its name, its identifier or the beginning of that, in this order.
    ///
    /// # Errors
    /// [`StateError::NotFound`] and [`StateError::Ambiguous`] among others.
    pub fn record_of(&self, wanted: &str) -> Result<Record, StateError> {
        let (_, path) = self.directory_of(wanted)?;
        Record::read(&path)
    }

    /// How many bytes of disk a sandbox's writable disk takes; 0 for one without a name.
    pub fn disk_bytes(&self, id: &ContainerId) -> u64 {
        let path = self.path.join(id.as_str()).join(UPPER);
        std::fs::symlink_metadata(path)
            .map_or(0, |it| std::os::unix::fs::MetadataExt::blocks(&it) * 512)
    }

    fn directories(&self) -> Result<Vec<PathBuf>, StateError> {
        let mut directories = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(at("read", &self.path))? {
            let entry = entry.map_err(at("read", &self.path))?;
            // Not where a link leads: nothing of ours is there.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(entry.path());
            }
        }
        Ok(directories)
    }
}

impl OwnSandbox {
    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says more of it, while it runs.
    ///
    /// # Errors
    /// Where the record cannot be written.
    pub fn say(&self, record: &Record) -> Result<(), StateError> {
        record.write(&self.path)
    }

    /// Keeps it, with a record that says how it ended.
    ///
    /// # Errors
    /// Where the record cannot be written.
    pub fn keep(mut self, record: &Record) -> Result<(), StateError> {
        self.is_done_with = true;
        // In this order: whoever finds no socket finds how it ended.
        let written = record.write(&self.path);
        remove_sockets(&self.path);
        written
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
        let path = self.path.join(UPPER);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, mode)
            .map_err(|errno| at("make", &path)(errno.into()))?;
        Ok(file.into())
    }

    /// Opens the file of the writable disk that was made before; gives how long it is, too.
    ///
    /// # Errors
    /// Where it cannot be opened, or is none.
    pub fn open_upper(&self) -> Result<(File, u64), StateError> {
        let path = self.path.join(UPPER);
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::open(&path, flags, Mode::empty());
        let file: File = file.map_err(|errno| at("open", &path)(errno.into()))?.into();
        let metadata = file.metadata().map_err(at("look at", &path))?;
        if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
            return Err(at("use", &path)(source));
        }
        Ok((file, metadata.len()))
    }

    /// Removes the sandbox, disk and all.
    ///
    /// # Errors
    /// Where the directory cannot be removed.
    pub fn remove(mut self) -> Result<(), StateError> {
        self.is_done_with = true;
        remove_all(&self.path)
    }
}

impl Drop for OwnSandbox {
    fn drop(&mut self) {
        if self.is_done_with {
            return;
        }
        // What cannot be done now, the next command finds.
        match &self.before {
            Some(before) => {
                remove_sockets(&self.path);
                let _ = before.write(&self.path);
            }
            None => drop(remove_all(&self.path)),
        }
    }
}

/// Removes one sandbox, if nobody holds it and a kill left it. Tells whether it did.
fn sweep_one(path: &Path) -> Result<bool, StateError> {
    let Some(_lock) = try_lock(path)? else { return Ok(false) };
    let is_left = match Record::read(path) {
        Ok(record) if record.lasting && !record.status.is_final() => {
            remove_sockets(path);
            record.killed().write(path)?;
            false
        }
        Ok(record) => !record.status.is_final(),
        Err(StateError::Path { source, .. }) if source.kind() == io::ErrorKind::NotFound => true,
        // Cut short, by a machine that went down before all of it was on its disk.
        Err(StateError::Record { source, .. }) if source.is_eof() => true,
        Err(error) => return Err(error),
    };
    if is_left {
        remove_all(path)?;
    }
    Ok(is_left)
}

/// Reads one of a sandbox's files, of so many bytes at most: a file it has to be, and JSON.
fn document<T: DeserializeOwned>(path: &Path, most_bytes: u64) -> Result<T, StateError> {
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
    let file = open_regular(path).and_then(|file| file.ok_or_else(no_file));
    let mut bytes = Vec::new();
    let read = file.map_err(at("open", path))?.take(most_bytes + 1).read_to_end(&mut bytes);
    let wrong = |source| StateError::Record { path: path.to_owned(), source };
    if read.map_err(at("read", path))? as u64 > most_bytes {
        return Err(wrong(serde::de::Error::custom("it is too long")));
    }
    serde_json::from_slice(&bytes).map_err(wrong)
}

/// Removes what leads to one that has ended.
fn remove_sockets(path: &Path) {
    crate::control::remove(path);
    crate::published_sockets::remove(path);
}

/// The one that is called so.
fn called(mut records: Vec<Record>, wanted: &str) -> Result<ContainerId, StateError> {
    let exact = [
        records.iter().position(|record| record.name.as_deref() == Some(wanted)),
        records.iter().position(|record| record.id.as_str() == wanted),
    ];
    if let Some(index) = exact.into_iter().flatten().next() {
        return Ok(records.swap_remove(index).id);
    }
    records.retain(|record| !wanted.is_empty() && record.id.as_str().starts_with(wanted));
    if records.len() > 1 {
        let ids = records.iter().map(|record| record.id.to_string()).collect();
        return Err(StateError::Ambiguous { wanted: wanted.to_owned(), ids });
    }
    let found = records.pop().map(|record| record.id);
    found.ok_or_else(|| StateError::NotFound(wanted.to_owned()))
}

/// Removes a directory with all in it. One that its owner has just removed is no error.
pub(crate) fn remove_all(path: &Path) -> Result<(), StateError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Locks a directory; `None` where its owner has it, or has just removed it.
pub(crate) fn try_lock(path: &Path) -> Result<Option<OwnedFd>, StateError> {
    match lock(path, FlockOperation::NonBlockingLockExclusive) {
        Ok(lock) => Ok(Some(lock)),
        Err(StateError::Path { source, .. })
            if matches!(source.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotFound) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Locks a directory that nobody holds for long.
pub(crate) fn lock_within(path: &Path, patience: Duration) -> Result<OwnedFd, StateError> {
    let deadline = Instant::now() + patience;
    loop {
        match lock(path, FlockOperation::NonBlockingLockExclusive) {
            Err(StateError::Path { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    return Err(StateError::Held { path: path.to_owned(), patience });
                }
                std::thread::sleep(ASK_AGAIN_AFTER);
            }
            other => return other,
        }
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
mod hostile;
#[cfg(test)]
mod tests;
