//! What a detached sandbox writes, kept in its directory: the form of it, and its files.
//!
//! Owns: how a line of output stands in a file. Never does: hold more of it than one piece.
//!
//! The form is the one of Kubernetes' container runtimes and of podman (`k8s-file`): a line each, `TIME STREAM TAG TEXT`, the
//! time as RFC 3339 has it, the stream `stdout` or `stderr`, the tag `F` for what ended with a newline and `P` for what did
//! not yet. So bytes stay what they were, whatever they are.
//!
//! ```text
//!   output.log      what is written now
//!   output.log.1    what was, before it had grown to its limit
//!   output.log.2    what was before that, …
//! ```

pub mod read;
pub mod write;

use crate::plan::size;
use std::path::{Path, PathBuf};

const NAME: &str = "output.log";
/// What is kept unless it is said otherwise: half of what Docker's `local` driver does.
const DEFAULT: Limits = Limits { bytes: 10 << 20, files: 5 };
/// The smallest file: an entry, and some more.
const LEAST_BYTES: u64 = 256 << 10;
/// The most files.
const MOST_FILES: u32 = 1000;

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a file may become.
    pub bytes: u64,
    /// How many files there may be.
    pub files: u32,
}

/// What is wrong with a `--log-opt`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogOptionError {
    /// It is none that there is.
    #[error("--log-opt {0:?}: no such option")]
    Unknown(String),
    /// Its value makes no sense.
    #[error("--log-opt {0:?}: no such value")]
    Value(String),
}

impl crate::error::Explain for LogOptionError {
    fn hint(&self) -> Option<String> {
        Some("max-size=SIZE (10m; 256k or more), max-file=COUNT (5)".to_owned())
    }
}

impl Limits {
    /// As the options have it.
    ///
    /// # Errors
    /// For the first that cannot be understood.
    pub fn from_options(options: &[String]) -> Result<Self, LogOptionError> {
        let mut limits = DEFAULT;
        for option in options {
            let wrong = || LogOptionError::Value(option.clone());
            match option.split_once('=') {
                Some(("max-size", text)) => {
                    let bytes = size::parse(text).ok().filter(|&bytes| bytes >= LEAST_BYTES);
                    limits.bytes = bytes.ok_or_else(wrong)?;
                }
                Some(("max-file", text)) => {
                    let files = text.parse().ok().filter(|files| (1..=MOST_FILES).contains(files));
                    limits.files = files.ok_or_else(wrong)?;
                }
                _ => return Err(LogOptionError::Unknown(option.clone())),
            }
        }
        Ok(limits)
    }
}

/// The file that was written so many files ago.
fn file(directory: &Path, ago: u32) -> PathBuf {
    directory.join(if ago == 0 { NAME.to_owned() } else { format!("{NAME}.{ago}") })
}

/// A piece of output as it stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it was written, as RFC 3339 has it.
    pub time: &'a str,
    /// Where to.
    pub stream: Stream,
    /// It ended with a newline.
    pub is_whole: bool,
    /// The bytes, without that.
    pub text: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads a line of a file. `None` is none of ours.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut words = line.splitn(4, |&byte| byte == b' ');
        let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok());
        let time = word()?;
        humantime::parse_rfc3339(time).ok()?;
        let stream = match word()? {
            "stdout" => Stream::Stdout,
            "stderr" => Stream::Stderr,
            _ => return None,
        };
        let is_whole = match word()? {
            "F" => true,
            "P" => false,
            _ => return None,
        };
        Some(Self { time, stream, is_whole, text: words.next()? })
    }
}

#[cfg(test)]
mod tests;
