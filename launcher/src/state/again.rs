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
use std::io::{self, Write};
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
    /// Limits that it was given later.
    #[serde(default)]
    pub limits: Limits,
}

/// Limits of a container, as they were typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// `--memory`.
    pub memory: Option<String>,
    /// `--cpus`.
    pub cpus: Option<String>,
    /// `--pids-limit`.
    pub pids_limit: Option<String>,
}

impl Again {
    /// What is to be kept.
    pub fn new(
        words: Vec<OsString>,
        directory: PathBuf,
        inputs: NamedInputs,
        layers: Vec<String>,
    ) -> Self {
        let limits = Limits::default();
        Self { version: VERSION, words, directory, inputs, layers, limits }
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
        self.write_to(&directory.join(FILE_NAME))
    }

    /// Has it begin with these limits the next time, and with what was said before where they say nothing.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub fn change(directory: &Path, limits: &Limits) -> Result<(), StateError> {
        let mut again = Self::read(directory)?;
        let before = std::mem::take(&mut again.limits);
        again.limits = Limits {
            memory: limits.memory.clone().or(before.memory),
            cpus: limits.cpus.clone().or(before.cpus),
            pids_limit: limits.pids_limit.clone().or(before.pids_limit),
        };
        let (path, new) = (directory.join(FILE_NAME), directory.join("run.json.new"));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("remove", &new)(error));
            }
            _ => {}
        }
        again.write_to(&new)?;
        std::fs::rename(&new, &path).map_err(at("replace", &path))
    }

    fn write_to(&self, path: &Path) -> Result<(), StateError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| at("make", path)(errno.into()))?;
        let json = serde_json::to_vec(self)
            .map_err(|source| StateError::Record { path: path.to_owned(), source })?;
        File::from(file).write_all(&json).map_err(at("write", path))
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
        let typed = |memory: Option<&str>, cpus: Option<&str>| {
            let of = |it: Option<&str>| it.map(str::to_owned);
            Limits { memory: of(memory), cpus: of(cpus), pids_limit: None }
        };
        Again::change(place.path(), &typed(Some("64m"), Some("1"))).unwrap();
        Again::change(place.path(), &typed(None, Some("2"))).unwrap();
        let changed = Again::read(place.path()).unwrap();
        assert_eq!(changed.limits, typed(Some("64m"), Some("2")));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
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
