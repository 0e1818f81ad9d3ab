//! Volumes: named ext4 disks that outlive sandboxes.
//!
//! Owns: `STATE_DIR/volumes/`. Never does: read what is on a disk; only a guest does that.
//!
//! ```text
//!   STATE_DIR/volumes/NAME/disk.ext4     flock: exclusive while a machine has it, by the machine's own open file
//!                         └ volume.json  what it is, versioned
//!                     .making-…          one that is not whole yet; flock while it is being made
//!                     .removing-…        one that is on its way out
//! ```
//!
//! A volume appears whole, by rename, and goes by rename, so that a kill leaves only what the next command removes. One
//! machine has it at a time: no file system bears two kernels.

mod commands;
mod of_run;
mod record;

pub use commands::main;
pub use of_run::OfRun;
pub use record::Record;

use crate::container_spec::ALIGNMENT;
use crate::error::Explain;
use crate::plan::volume::VolumeName;
use crate::sandbox::{disk_identity, random_word};
use crate::state::{PATIENCE, StateError, at, lock_within, remove_all, try_lock};
use ext4::Layout;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DISK: &str = "disk.ext4";
const MAKING: &str = ".making-";
const REMOVING: &str = ".removing-";
/// How long one volume is waited for: a machine that has just ended, or somebody who looks whether it is in use, has it
/// for moments.
const VOLUME_PATIENCE: Duration = Duration::from_secs(2);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Why a volume could not be used.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A file or directory of the state directory could not be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is none of this name.
    #[error("no volume is called {0:?}")]
    NotFound(String),
    /// Another machine has it.
    #[error("the volume {0} is in use by another sandbox")]
    InUse(VolumeName),
    /// There is one of this name already, and it is not what was asked for.
    #[error("the volume {name} is there already, and {bytes} bytes large")]
    OtherSize {
        /// Its name.
        name: VolumeName,
        /// Its size.
        bytes: u64,
    },
    /// Its disk cannot be one of ours.
    #[error("the disk of the volume {name} is damaged: it is {bytes} bytes long")]
    Damaged {
        /// Its name.
        name: VolumeName,
        /// Its length.
        bytes: u64,
    },
    /// Its record is none of ours.
    #[error("{path} is no record of a volume of this version")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// No random name could be drawn.
    #[error("cannot draw a random name")]
    Random(#[source] crate::sandbox::SandboxError),
}

impl Explain for VolumeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound(_) => Some("cofferdam volume ls lists them".into()),
            Self::InUse(_) => Some(
                "wait for that sandbox to end, or use another volume: a disk can be in one machine"
                    .into(),
            ),
            Self::OtherSize { .. } => Some("leave --size out, or remove it first".into()),
            Self::State(StateError::Path { source, .. })
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                Some("free some space in the state directory, or give it a larger volume".into())
            }
            Self::State(error) => error.hint(),
            _ => None,
        }
    }
}

/// The volumes of one state directory.
#[derive(Debug)]
pub struct Volumes {
    path: PathBuf,
}

/// A volume's disk, held: nobody else has it until this, and every copy of its open file, is closed.
#[derive(Debug)]
pub struct Held {
    /// Its disk.
    pub disk: File,
    /// How long that is, in bytes.
    pub length: u64,
}

/// A volume as a list has it.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: VolumeName,
    /// What it is.
    pub record: Record,
    /// What its disk takes, in bytes.
    pub used_bytes: u64,
    /// Whether a machine has it.
    pub in_use: bool,
}

impl Volumes {
    /// Opens (and makes) the directory.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(state_dir: &Path) -> Result<Self, VolumeError> {
        let path = state_dir.join("volumes");
        std::fs::create_dir_all(&path).map_err(at("make", &path))?;
        Ok(Self { path })
    }

    fn place(&self, name: &VolumeName) -> PathBuf {
        self.path.join(name.as_str())
    }

    /// Not where a link leads: nothing of ours is there.
    fn is_there(&self, name: &VolumeName) -> bool {
        std::fs::symlink_metadata(self.place(name)).is_ok_and(|it| it.is_dir())
    }

    /// Makes a volume, unless there is one of this name. Tells whether it did.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn create(&self, name: &VolumeName, layout: &Layout) -> Result<bool, VolumeError> {
        let place = self.place(name);
        if place.exists() {
            return Ok(false);
        }
        let unfinished = self.hidden(MAKING)?;
        let _lock = self.begin(&unfinished)?;
        let made =
            fill(&unfinished, layout).and_then(|()| match std::fs::rename(&unfinished, &place) {
                Ok(()) => sync(&self.path).map(|()| true),
                // Another has been quicker: no directory takes the place of one with something in it.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
                Err(error) => Err(at("make", &place)(error).into()),
            });
        if !matches!(made, Ok(true)) {
            let _ = std::fs::remove_dir_all(&unfinished);
        }
        made
    }

    /// Makes a directory that nobody takes for one that a kill left, for it is locked before anybody sweeps.
    fn begin(&self, directory: &Path) -> Result<Option<OwnedFd>, VolumeError> {
        let _making = lock_within(&self.path, PATIENCE)?;
        self.sweep_held()?;
        std::fs::create_dir(directory).map_err(at("make", directory))?;
        Ok(try_lock(directory)?)
    }

    /// Takes a volume's disk for a machine.
    ///
    /// # Errors
    /// [`VolumeError::InUse`] where another has it, [`VolumeError::NotFound`], or what is wrong with it.
    pub fn hold(&self, name: &VolumeName) -> Result<Held, VolumeError> {
        if !self.is_there(name) {
            return Err(VolumeError::NotFound(name.to_string()));
        }
        let path = self.place(name).join(DISK);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let disk: File = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(VolumeError::NotFound(name.to_string())),
            opened => opened.map_err(|error| at("open", &path)(error.into()))?.into(),
        };
        let deadline = Instant::now() + VOLUME_PATIENCE;
        loop {
            match flock(&disk, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(ASK_AGAIN_AFTER);
                }
                Err(Errno::WOULDBLOCK) => return Err(VolumeError::InUse(name.clone())),
                Err(error) => return Err(at("lock", &path)(error.into()).into()),
            }
        }
        let metadata = disk.metadata().map_err(at("look at", &path))?;
        let there = std::fs::symlink_metadata(&path);
        if !there.is_ok_and(|it| (it.dev(), it.ino()) == (metadata.dev(), metadata.ino())) {
            // It was removed while it was waited for, and perhaps made anew.
            return Err(VolumeError::NotFound(name.to_string()));
        }
        let length = metadata.len();
        if !metadata.is_file() || length == 0 || !length.is_multiple_of(ALIGNMENT) {
            return Err(VolumeError::Damaged { name: name.clone(), bytes: length });
        }
        Ok(Held { disk, length })
    }

    /// Removes a volume that no machine has.
    ///
    /// # Errors
    /// Those of [`hold`](Self::hold), and where it cannot be removed.
    pub fn remove(&self, name: &VolumeName) -> Result<(), VolumeError> {
        let _held = match self.hold(name) {
            Err(VolumeError::Damaged { .. }) => None,
            held => Some(held?),
        };
        let (place, hidden) = (self.place(name), self.hidden(REMOVING)?);
        std::fs::rename(&place, &hidden).map_err(at("remove", &place))?;
        Ok(remove_all(&hidden)?)
    }

    /// All volumes, by name; with each that cannot be read why not.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn list(&self) -> Result<(Vec<Listed>, Vec<VolumeError>), VolumeError> {
        let (mut listed, mut unreadable) = (Vec::new(), Vec::new());
        for name in self.names()?.into_iter().filter_map(|name| name.parse().ok()) {
            match self.look_at(&name) {
                Ok(volume) => listed.push(volume),
                // It has just been removed.
                Err(VolumeError::NotFound(_)) => {}
                Err(error) => unreadable.push(error),
            }
        }
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok((listed, unreadable))
    }

    /// One of them.
    ///
    /// # Errors
    /// Where it is not there, or cannot be read.
    pub fn look_at(&self, name: &VolumeName) -> Result<Listed, VolumeError> {
        if !self.is_there(name) {
            return Err(VolumeError::NotFound(name.to_string()));
        }
        let place = self.place(name);
        let record = Record::read(&place)?;
        let path = place.join(DISK);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let disk = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|error| at("open", &path)(error.into()))?;
        let disk = File::from(disk);
        let used_bytes = disk.metadata().map_err(at("look at", &path))?.blocks() * 512;
        let in_use = flock(&disk, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK);
        Ok(Listed { name: name.clone(), record, used_bytes, in_use })
    }

    /// Removes what kills have left half made or half removed.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn sweep(&self) -> Result<(), VolumeError> {
        let _sweeping = lock_within(&self.path, PATIENCE)?;
        self.sweep_held()
    }

    /// The same where this process holds the lock of all volumes.
    fn sweep_held(&self) -> Result<(), VolumeError> {
        for name in self.names()? {
            let path = self.path.join(&name);
            let is_left = name.starts_with(REMOVING)
                || (name.starts_with(MAKING) && try_lock(&path).is_ok_and(|lock| lock.is_some()));
            if is_left {
                // Another who sweeps may be quicker.
                let _ = remove_all(&path);
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, VolumeError> {
        let entries = std::fs::read_dir(&self.path).map_err(at("read", &self.path))?;
        // One whose name is no text is none of ours.
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }

    fn hidden(&self, prefix: &str) -> Result<PathBuf, VolumeError> {
        let word = random_word().map_err(VolumeError::Random)?;
        Ok(self.path.join(format!("{prefix}{word}")))
    }
}

/// Writes disk and record into a directory, and waits until they are on stable storage.
fn fill(directory: &Path, layout: &Layout) -> Result<(), VolumeError> {
    let path = directory.join(DISK);
    let options = File::options().read(true).write(true).create_new(true).open(&path);
    let disk = options.map_err(at("make", &path))?;
    let identity = disk_identity().map_err(VolumeError::Random)?;
    ext4::format(&disk, layout, &identity).map_err(at("write", &path))?;
    disk.sync_data().map_err(at("write", &path))?;
    Record::new(layout.bytes()).write(directory)?;
    sync(directory)
}

fn sync(directory: &Path) -> Result<(), VolumeError> {
    let synced = File::open(directory).and_then(|it| it.sync_data());
    Ok(synced.map_err(at("write", directory))?)
}

#[cfg(test)]
mod tests;
