//! How a failed operation is told: what was tried, on what, why not; and how a chain of causes
//! becomes the one line of a [`protocol::Failure`]. Never decides what to do about it.

use protocol::{Failure, FailureKind};
use std::error::Error;
use std::fmt::{self, Write};
use std::io;

/// An operation of the kernel's that failed.
#[derive(Debug)]
pub struct OsError {
    verb: &'static str,
    subject: String,
    source: io::Error,
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.verb, self.subject)
    }
}

impl Error for OsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Says what an operation tried, on what.
pub trait Tried<T> {
    /// `cannot VERB SUBJECT`, caused by the error.
    fn tried(self, verb: &'static str, subject: impl fmt::Display) -> Result<T, OsError>;
}

impl<T, E: Into<io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, verb: &'static str, subject: impl fmt::Display) -> Result<T, OsError> {
        self.map_err(|error| OsError { verb, subject: subject.to_string(), source: error.into() })
    }
}

/// The longest message of a failure, in bytes.
const MAX_MESSAGE_BYTES: usize = 2048;

/// An error and its causes, in one line.
pub fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = line.len().min(MAX_MESSAGE_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

/// A failure of the container's own making ([`FailureKind::Setup`]).
pub fn setup_failure(error: &dyn Error) -> Failure {
    Failure { kind: FailureKind::Setup, message: one_line(error) }
}

#[cfg(test)]
mod tests;
