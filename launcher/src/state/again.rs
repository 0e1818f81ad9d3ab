//! What a sandbox that is kept needs to be started again: a file beside its record, open to its own user alone.
//!
//! Owns: that file. Never does: start anything.
//!
//! It holds the words of the run as they were typed, where, and what they named of the environment and of files: what Docker
//! keeps, too. What they name besides, a directory that is shared or a kernel, is looked for anew.

use super::{StateError, at, document};
use crate::host::NamedInputs;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "run.json";
const VERSION: u32 = 1;
/// As long as the files that it holds may be, which JSON makes four times as long.
const MOST_BYTES: u64 = 64 << 20;

/// What is kept of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    version: u32,
    /// What was typed after `run`.
    pub words: Vec<OsString>,
    /// Where.
    pub directory: PathBuf,
    /// What that named.
    pub inputs: NamedInputs,
    /// The layers beneath what was written: their digests, the lowest first.
    pub layers: Vec<String>,
}

impl Again {
    /// What is to be kept.
    pub fn new(
        words: Vec<OsString>,
        directory: PathBuf,
        inputs: NamedInputs,
        layers: Vec<String>,
    ) -> Self {
        Self { version: VERSION, words, directory, inputs, layers }
    }

    /// Reads it from a sandbox's directory.
    ///
    /// # Errors
    /// Where it is not there, or none of ours.
    pub fn read(directory: &Path) -> Result<Self, StateError> {
        let path = directory.join(FILE_NAME);
        let again: Self = document(&path, MOST_BYTES)?;
        if again.version != VERSION {
            let source = serde::de::Error::custom(format!("version {}", again.version));
            return Err(StateError::Record { path, source });
        }
        Ok(again)
    }

    /// Writes it to a sandbox's directory, where nothing of it is yet.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), StateError> {
        let path = directory.join(FILE_NAME);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| at("make", &path)(errno.into()))?;
        let json = serde_json::to_vec(self)
            .map_err(|source| StateError::Record { path: path.clone(), source })?;
        File::from(file).write_all(&json).map_err(at("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_typed_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let words = vec!["-e".into(), "A".into(), OsString::from_vec(b"\xff/file".to_vec())];
        let mut inputs = NamedInputs::default();
        inputs.environment.insert("A".to_owned(), "secret".to_owned());
        inputs.env_files.push(("file".into(), b"B=\xff\n".to_vec()));
        let again = Again::new(words, "/work".into(), inputs, vec!["sha256:0".to_owned()]);
        again.write(place.path()).unwrap();
        assert_eq!(Again::read(place.path()).unwrap(), again);
        let path = place.path().join(FILE_NAME);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(again.write(place.path()).is_err(), "nothing is written over it");
        std::fs::write(
            &path,
            serde_json::to_string(&again).unwrap().replace("\"version\":1", "\"version\":2"),
        )
        .unwrap();
        assert!(matches!(Again::read(place.path()), Err(StateError::Record { .. })));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(matches!(Again::read(place.path()), Err(StateError::Path { .. })));
    }
}
