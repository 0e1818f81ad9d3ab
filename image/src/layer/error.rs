//! Why a layer was not unpacked. These cross from the process that reads hostile bytes to the one that
//! tells the user, so they are plain data, and what they quote is escaped where it is printed.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
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
    pub(crate) fn read(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::FileTooLarge => Self::TooLong,
            _ => Self::Read(Quoted::new(error.to_string().as_bytes())),
        }
    }
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limited {
    /// Entries of the archive.
    Entries,
    /// Bytes of the uncompressed archive.
    ArchiveBytes,
    /// Bytes of names, link targets, attributes and maps.
    MetadataBytes,
    /// Bytes of the file system image.
    ImageBytes,
    /// Names on the way to its entries.
    Steps,
}

impl fmt::Display for Limited {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Limited::Entries => "entries",
            Limited::ArchiveBytes => "bytes once uncompressed",
            Limited::MetadataBytes => "bytes of names and attributes",
            Limited::ImageBytes => "bytes as a file system",
            Limited::Steps => "names on the way to its entries",
        })
    }
}

/// Why one entry has no place in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum EntryError {
    /// It has no name.
    #[error("its name is empty")]
    EmptyName,
    /// A component is longer than a file name may be.
    #[error("a component of its name is over 255 bytes")]
    NameTooLong,
    /// The whole path is longer than Linux takes.
    #[error("its path is over 4096 bytes")]
    PathTooLong,
    /// It leads upwards.
    #[error("its path has a component \"..\"")]
    ParentComponent,
    /// It has a NUL in its name.
    #[error("its name has a NUL byte")]
    NulByte,
    /// Its whiteout hides nothing that could be.
    #[error("its whiteout names nothing")]
    Whiteout,
    /// Something on the way is no directory.
    #[error("something on its path is not a directory")]
    NotADirectory,
    /// There are too many links on the way.
    #[error("its path leads through over 40 symbolic links")]
    TooManyLinks,
    /// The layer's root would be no directory.
    #[error("it would replace the root directory")]
    ReplacesRoot,
    /// Its hard link's target is in no entry before it.
    #[error(
        "its hard link's target is not in the same layer; links into other layers cannot be made"
    )]
    LinkTargetMissing,
    /// Its hard link's target is a directory.
    #[error("its hard link's target is a directory")]
    LinkToDirectory,
    /// Its symbolic link's target is empty or too long.
    #[error("its symbolic link's target is not 1 to 4095 bytes long")]
    LinkTarget,
    /// Its device number does not fit into Linux's 12 and 20 bits.
    #[error("its device number is out of range")]
    Device,
    /// One of its extended attributes is over the kernel's limits.
    #[error("an extended attribute has a name over 255 or a value over 65535 bytes")]
    Xattr,
    /// Its extended attributes together are more than an inode can have.
    #[error("its extended attributes are over 256 KiB together")]
    XattrTotal,
}

/// Why a layer was not unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum UnpackError {
    /// The input could not be read.
    #[error("cannot read the layer: {0}")]
    Input(Quoted),
    /// What the input is compressed with is not known.
    #[error("the layer is neither a tar archive nor compressed by gzip or zstd")]
    Compression,
    /// It is no tar archive.
    #[error("the layer is no sound tar archive")]
    Tar(#[source] TarError),
    /// An entry has no place in a layer.
    #[error("the layer's entry {path} cannot be unpacked")]
    Entry {
        /// Its name.
        path: Quoted,
        /// What is wrong.
        #[source]
        source: EntryError,
    },
    /// A limit is exceeded.
    #[error("the layer has over {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: Limited,
        /// How much is allowed.
        limit: u64,
    },
    /// There is no room for the image where it is written.
    #[error("the volume of the store has no room for its file system")]
    NoRoom,
    /// The image could not be written.
    #[error("cannot write the layer's file system: {0}")]
    Output(Quoted),
    /// A layer's image is not as it was made.
    #[error("a layer's file system is damaged: {0} makes no sense")]
    Image(Cow<'static, str>),
}

impl UnpackError {
    pub(crate) fn output(error: &io::Error) -> Self {
        if is_full(error) {
            return Self::NoRoom;
        }
        Self::Output(Quoted::new(error.to_string().as_bytes()))
    }

    pub(crate) fn input(error: &io::Error) -> Self {
        Self::Input(Quoted::new(error.to_string().as_bytes()))
    }
}

/// Whether a volume, or a user's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<TarError> for UnpackError {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}
