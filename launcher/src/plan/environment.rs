//! The container's environment: `-e`, `--env-file`, the image's, and Docker's defaults, merged as
//! Docker merges them.
//!
//! | later wins | |
//! |---|---|
//! | Docker's | `PATH`, `HOSTNAME`, with a terminal `TERM` |
//! | the image's | as its configuration lists them |
//! | `--env-file` | in the order of files and lines; a NAME alone is taken from here, or passed over |
//! | `-e` | a NAME alone is taken from here, or removed if it is not set here |

use crate::cli::RunArgs;
use crate::error::Explain;
use crate::host::NamedInputs;
use std::path::PathBuf;

/// What a program is looked up in where neither the image nor the user says.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One change that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Set a variable.
    Set {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Leave a variable out, even if the image sets it.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Why a variable cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// `-e` with no name.
    #[error("--env {0:?} names no variable")]
    NoName(String),
    /// A byte that no variable can hold.
    #[error("--env {0:?} holds a null character")]
    Null(String),
    /// A line that is no variable.
    #[error("--env-file {}, line {line}: {reason}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl Explain for EnvironmentError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            EnvironmentError::NoName(_) => {
                "write --env NAME=value, or --env NAME to pass it on".into()
            }
            EnvironmentError::Null(_) => "a variable ends at its first null character".into(),
            EnvironmentError::Line { .. } => {
                "a line is NAME=value, NAME to pass it on, # for a comment, or empty".into()
            }
        })
    }
}

/// The changes that were asked for, in the order in which they apply.
///
/// # Errors
/// [`EnvironmentError`].
pub fn changes(args: &RunArgs, inputs: &NamedInputs) -> Result<Vec<Change>, EnvironmentError> {
    let mut changes = Vec::new();
    for (path, contents) in &inputs.env_files {
        let lines = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
        for (index, line) in lines.split(|&b| b == b'\n').enumerate() {
            let wrong = |reason: String| EnvironmentError::Line {
                path: path.clone(),
                line: index + 1,
                reason,
            };
            changes.extend(file_line(line, inputs).map_err(wrong)?);
        }
    }
    for typed in &args.env {
        changes.push(flag(typed, inputs)?);
    }
    Ok(changes)
}

fn file_line(line: &[u8], inputs: &NamedInputs) -> Result<Option<Change>, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.contains('\0') {
        return Err("it holds a null character".to_owned());
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (line.trim_end(), None),
    };
    if name.is_empty() {
        return Err(format!("{line:?} names no variable"));
    }
    if name.contains(char::is_whitespace) {
        return Err(format!("the name {name:?} holds a blank"));
    }
    let value = value.or_else(|| inputs.environment.get(name).map(String::as_str));
    Ok(value.map(|value| Change::Set { name: name.to_owned(), value: value.to_owned() }))
}

fn flag(typed: &str, inputs: &NamedInputs) -> Result<Change, EnvironmentError> {
    let (name, value) = match typed.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (typed, inputs.environment.get(typed).map(String::as_str)),
    };
    if name.is_empty() {
        return Err(EnvironmentError::NoName(typed.to_owned()));
    }
    if typed.contains('\0') {
        return Err(EnvironmentError::Null(typed.to_owned()));
    }
    let name = name.to_owned();
    Ok(match value {
        Some(value) => Change::Set { name, value: value.to_owned() },
        None => Change::Remove { name },
    })
}

/// The whole environment, as `NAME=value`.
pub fn merge(image: &[String], changes: &[Change], hostname: &str, terminal: bool) -> Vec<String> {
    let mut merged = Merged::default();
    merged.set("PATH", DEFAULT_PATH);
    merged.set("HOSTNAME", hostname);
    if terminal {
        merged.set("TERM", "xterm");
    }
    for entry in image {
        // What has no `=` or no name cannot be a variable, and an image may hold anything.
        if let Some((name, value)) = entry.split_once('=')
            && !name.is_empty()
            && !entry.contains('\0')
        {
            merged.set(name, value);
        }
    }
    for change in changes {
        match change {
            Change::Set { name, value } => merged.set(name, value),
            Change::Remove { name } => merged.0.retain(|(known, _)| known != name),
        }
    }
    merged.0.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Variables in the order in which they first came.
#[derive(Default)]
struct Merged(Vec<(String, String)>);

impl Merged {
    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }
}
