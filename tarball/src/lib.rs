//! Tar archives: read as bytes that may be anything, made of a file tree, and made a tree again.
//!
//! Owns: the format ([`TarReader`]), and how a tree is copied by it, whichever side of a sandbox it is on ([`pack`],
//! [`unpack`]). Never does: keep file data in memory, or unpack anything above or beside where it is to go.
//!
//! ```text
//!   a path ─ pack ──► its entry first, then what is below it ──► unpack ─ place ─► a path
//! ```

mod error;
mod pack;
mod place;
mod reader;
#[cfg(test)]
mod tests;
mod unpack;

pub use error::{CopyError, Quoted, TarError};
pub use pack::pack;
pub use place::label;
pub use reader::{Entry, EntryKind, Mtime, Segment, Stream, TarInput, TarReader};
pub use unpack::{Into, Options, unpack};

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files, directories, links and what else there is.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
}
