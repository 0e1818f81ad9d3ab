//! What a layer may cost. A layer that asks for more is a bomb, or needs someone to raise a limit.

use serde::{Deserialize, Serialize};

/// Limits of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Entries of the archive, and inodes, directories that are only implied among them. A full desktop
    /// has some 500,000; each costs the unpacking process about 300 bytes.
    pub entries: u64,
    /// Names walked along on the way to all entries, those of symbolic links' targets among them. A path
    /// has some ten; only what is made to take time has thousands for each entry.
    pub steps: u64,
    /// Bytes of the archive once uncompressed. gzip reaches 1000:1, so that a small download could fill
    /// any disk, or a day.
    pub archive_bytes: u64,
    /// Bytes of names, link targets, extended attributes and sparse files' maps: they stay in memory
    /// until the end.
    pub metadata_bytes: u64,
    /// Bytes of the file system image, holes among them. At most 16 TiB: block numbers have 32 bits.
    pub image_bytes: u64,
    /// Bytes of it that are written. Whoever keeps the image lowers this to what there is room for.
    pub written_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1 << 20,
            steps: 1 << 26,
            archive_bytes: 256 << 30,
            metadata_bytes: 256 << 20,
            image_bytes: 256 << 30,
            written_bytes: 256 << 30,
        }
    }
}
