//! Why a layer was not unpacked. These cross from the process that reads hostile bytes to the one that
//! tells the user, so they are plain data, and what they quote is escaped where it is printed.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::{fmt, io};
pub use tarball::{Quoted, TarError};

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
