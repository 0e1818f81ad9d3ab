//! What the arguments name: the files of `--env-file` and `--security-opt seccomp=FILE`, and the
//! variables that `-e NAME` takes from here. Read once, so that the plan can be pure.

use crate::cli::RunArgs;
use crate::error::Explain;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest file of settings that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What the arguments name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedInputs {
    /// The environment of this process, where anything of it may be asked for; else empty.
    pub environment: BTreeMap<String, String>,
    /// Each `--env-file`, in order, with its contents.
    pub env_files: Vec<(PathBuf, Vec<u8>)>,
    /// Each file that `--security-opt seccomp=` names, with its contents.
    pub seccomp_files: Vec<(String, Vec<u8>)>,
}

/// Why a file that was named cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NamedError {
    /// It cannot be read.
    #[error("cannot read {flag} {path}")]
    Read {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is too long.
    #[error("{flag} {path} is longer than {MAX_FILE_BYTES} bytes")]
    TooLong {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
}

impl Explain for NamedError {
    fn hint(&self) -> Option<String> {
        match self {
            NamedError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("inside a container, the file must be mounted into it".to_owned())
            }
            _ => None,
        }
    }
}

impl NamedInputs {
    /// Reads what `args` name, and nothing else.
    ///
    /// # Errors
    /// [`NamedError`] for the first file that cannot be read.
    pub fn read(args: &RunArgs) -> Result<Self, NamedError> {
        let takes_variables =
            !args.env_file.is_empty() || args.env.iter().any(|entry| !entry.contains('='));
        let environment = if takes_variables {
            // What is not UTF-8 cannot be passed on as text, and counts as not set.
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect()
        } else {
            BTreeMap::new()
        };
        let env_files = args
            .env_file
            .iter()
            .map(|path| Ok((path.clone(), read_file("--env-file", path)?)))
            .collect::<Result<_, NamedError>>()?;
        let seccomp_files = args
            .security_opt
            .iter()
            .filter_map(|option| crate::plan::security::seccomp_file(option))
            .map(|path| {
                Ok((path.to_owned(), read_file("--security-opt seccomp", Path::new(path))?))
            })
            .collect::<Result<_, NamedError>>()?;
        Ok(Self { environment, env_files, seccomp_files })
    }

    /// The same with no more of the environment than what is asked for by name.
    pub fn asked_for(&self, args: &RunArgs) -> Self {
        let lines =
            self.env_files.iter().flat_map(|(_, contents)| contents.split(|&it| it == b'\n'));
        let names: BTreeSet<&str> = lines
            .filter_map(|line| std::str::from_utf8(line).ok())
            .chain(args.env.iter().map(String::as_str))
            .map(str::trim)
            .collect();
        let environment = self.environment.iter().filter(|(name, _)| names.contains(name.as_str()));
        let environment = environment.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { environment, ..self.clone() }
    }
}

fn read_file(flag: &'static str, path: &Path) -> Result<Vec<u8>, NamedError> {
    let failed = |source| NamedError::Read { flag, path: path.to_owned(), source };
    let mut contents = Vec::new();
    let read = File::open(path)
        .map_err(failed)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut contents)
        .map_err(failed)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(NamedError::TooLong { flag, path: path.to_owned() });
    }
    Ok(contents)
}

#[cfg(test)]
mod tests;
