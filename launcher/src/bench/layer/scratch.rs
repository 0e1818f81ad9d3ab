//! `STATE_DIR/bench/`: what a bench keeps for its peers while it lasts. One bench at a time has it, by a lock that ends
//! with its process; what a killed one left is removed by the next.

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Its name in a state directory.
const NAME: &str = "bench";

/// The directory, empty at first and at last.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    next: AtomicU32,
    _lock: OwnedFd,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// Another bench is at work there.
    #[error("another bench with such peers is at work in {0:?}")]
    Taken(PathBuf),
    /// It cannot be made, or what was left in it not be removed.
    #[error("cannot keep what peers need in {0:?}")]
    Io(PathBuf, #[source] io::Error),
}

impl Scratch {
    /// Takes it, and empties it.
    ///
    /// # Errors
    /// [`ScratchError`].
    pub fn take(state_dir: &Path) -> Result<Self, ScratchError> {
        let path = state_dir.join(NAME);
        let failed = |error| ScratchError::Io(path.clone(), error);
        // Peers are told of it from other directories.
        let path = std::path::absolute(&path).map_err(failed)?;
        let failed = |error| ScratchError::Io(path.clone(), error);
        std::fs::create_dir_all(&path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(ScratchError::Taken(path)),
            other => other.map_err(|error| failed(error.into()))?,
        }
        empty(&path).map_err(failed)?;
        Ok(Self { path, next: AtomicU32::new(0), _lock: lock })
    }

    /// Where something of this name is kept.
    pub fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A name that nothing else has here.
    pub fn name(&self) -> String {
        format!("start-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now, the next bench finds.
        let _ = empty(&self.path);
    }
}

fn empty(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_and_finds_nothing_of_others() {
        let state = tempfile::tempdir().unwrap();
        let first = Scratch::take(state.path()).unwrap();
        std::fs::create_dir(first.place("directory")).unwrap();
        std::fs::write(first.place("directory/file"), "").unwrap();
        assert_ne!(first.name(), first.name());
        let second = Scratch::take(state.path()).unwrap_err();
        assert!(matches!(second, ScratchError::Taken(_)), "{second}");
        drop(first);
        assert_eq!(std::fs::read_dir(state.path().join(NAME)).unwrap().count(), 0);

        std::fs::write(state.path().join(NAME).join("left"), "by one that was killed").unwrap();
        // A process that another test starts just now holds the lock until it becomes its program.
        let again = || std::thread::sleep(std::time::Duration::from_millis(20));
        let mut tries = (0..100).map(|_| Scratch::take(state.path()).inspect_err(|_| again()));
        let third = tries.find_map(Result::ok).unwrap();
        assert!(!third.place("left").exists());
    }
}
