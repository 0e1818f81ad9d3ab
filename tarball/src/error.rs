//! Why bytes are no tar archive, and why a tree was not copied. The first may cross from a process that reads hostile bytes to one that tells the user, so it
//! is plain data, and what it quotes is escaped where it is printed.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::{fmt, io};

const MAX_QUOTED_CHARS: usize = 300;

/// A text from hostile bytes. Printed in quotes, escaped and cut to a bearable length.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted(String);

impl Quoted {
    /// Of bytes that may be anything.
    pub fn new(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).chars().take(MAX_QUOTED_CHARS).collect())
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut: String = self.0.chars().take(MAX_QUOTED_CHARS).collect();
        write!(out, "{cut:?}")
    }
}

impl fmt::Debug for Quoted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Why bytes are no tar archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TarError {
    /// The bytes could not be had: reading or decompressing failed.
    #[error("cannot read the archive: {0}")]
    Read(Quoted),
    /// It ends within an entry.
    #[error("the archive ends within an entry, at byte {offset}")]
    Truncated {
        /// Where, in bytes of the uncompressed archive.
        offset: u64,
    },
    /// A header's checksum is wrong: what stands there is no header.
    #[error("no header where one should stand, at byte {offset} of the archive")]
    Checksum {
        /// Where.
        offset: u64,
    },
    /// A block of zeroes ends the archive, and yet it goes on.
    #[error("a single block of zeroes within the archive, at byte {offset}")]
    LoneZeroBlock {
        /// Where.
        offset: u64,
    },
    /// A number is malformed or too large.
    #[error("the {field} of the entry at byte {offset} of the archive is no number that could be")]
    Number {
        /// Which.
        field: Cow<'static, str>,
        /// Where the entry begins.
        offset: u64,
    },
    /// A long name or extended header is longer than any needs to be.
    #[error("an extended header of {bytes} bytes, at byte {offset} of the archive, is too long")]
    ExtensionTooLong {
        /// Where.
        offset: u64,
        /// How long.
        bytes: u64,
    },
    /// An extended header does not follow its format.
    #[error("the extended header at byte {offset} of the archive is malformed")]
    MalformedExtension {
        /// Where.
        offset: u64,
    },
    /// A sparse file's map is malformed or of a format that is not known.
    #[error("the sparse file at byte {offset} of the archive has a map that makes no sense")]
    SparseMap {
        /// Where.
        offset: u64,
    },
    /// It goes on for longer than the reader would have it.
    #[error("the archive is too long")]
    TooLong,
    /// An entry is of a kind that a file system has no place for.
    #[error("the entry at byte {offset} of the archive has the unknown type {type_flag:#04x}")]
    UnsupportedType {
        /// The type.
        type_flag: u8,
        /// Where.
        offset: u64,
    },
}

impl TarError {
    /// Of a failed read.
    pub fn read(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::FileTooLarge => Self::TooLong,
            _ => Self::Read(Quoted::new(error.to_string().as_bytes())),
        }
    }
}

/// Why a tree was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A file operation failed.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("cannot pass on the archive")]
    Write(#[source] io::Error),
    /// What came is no archive.
    #[error("what came is no sound archive")]
    Tar(#[from] TarError),
    /// A file became another while it was read.
    #[error("{0:?} changed while it was read")]
    Changed(PathBuf),
    /// An entry has a name that leads elsewhere.
    #[error("the archive has an entry {0} that would lie outside of what is copied")]
    Outside(Quoted),
    /// Nothing came.
    #[error("the archive is empty")]
    Empty,
    /// The destination, or a file on the way, is in the way.
    #[error("{path:?} is there already, and is {is}")]
    InTheWay {
        /// What.
        path: PathBuf,
        /// What it is.
        is: &'static str,
    },
    /// The destination was to be a directory.
    #[error("{0:?} is no directory")]
    NoDirectory(PathBuf),
}

impl CopyError {
    /// Of what was tried on a path.
    pub(crate) fn of(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        let path = path.to_owned();
        move |errno| Self::Io { action, path, source: errno.into() }
    }
}
