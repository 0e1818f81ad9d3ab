//! `STATE_DIR/loading/`: an archive that comes on standard input, and is read more than once.
//!
//! Each file is locked by whoever reads it. What a kill left is removed by the next one.

use crate::sandbox::random_word;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file that is gone when dropped.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    _file: File,
}

impl Spool {
    /// All of `input`, in a state directory.
    ///
    /// # Errors
    /// Where it cannot be read, or written.
    pub fn of(state_dir: &Path, mut input: impl Read) -> io::Result<Self> {
        let directory = state_dir.join("loading");
        std::fs::create_dir_all(&directory)?;
        sweep(&directory)?;
        let word = random_word().map_err(io::Error::other)?;
        let path = directory.join(format!("{word}.tar"));
        let mut file = File::create_new(&path)?;
        let spool = Self { path, _file: file.try_clone()? };
        flock(&file, FlockOperation::LockExclusive)?;
        io::copy(&mut input, &mut file)?;
        Ok(spool)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn sweep(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // What is no file is none of ours.
        if !entry.file_type()?.is_file() {
            continue;
        }
        let unlocked = File::open(entry.path())
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
        if unlocked {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_left_is_removed_and_what_is_read_stays() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("loading");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("1.tar"), "left").unwrap();
        let read = File::create(directory.join("2.tar")).unwrap();
        flock(&read, FlockOperation::LockExclusive).unwrap();
        let spool = Spool::of(state.path(), &b"archive"[..]).unwrap();
        assert_eq!(std::fs::read(spool.path()).unwrap(), b"archive");
        assert!(!directory.join("1.tar").exists() && directory.join("2.tar").exists());
        drop(spool);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }
}
