//! The writable disk of a sandbox: an empty ext4 file system of any size.
//!
//! Owns: its layout and its bytes. Never does: read a file system, or write one that has files.
//!
//! There is no mkfs in the outer container, and a template of one size can be neither shrunk nor grown for
//! nothing. All metadata stand together at the front, without backups (`sparse_super2` that names none) and
//! nearly all of them are holes: what is written is a superblock, the group descriptors (64 bytes for each
//! 128 MiB), and some ten blocks more.
//!
//! ```text
//!   superblock │ descriptors │ block bitmaps │ inode bitmaps │ inode tables │ / │ lost+found │ journal │ free …
//! ```
//!
//! After the kernel's Documentation/filesystems/ext4; numbers are little-endian, but for the journal's.

mod block;
mod checksum;
mod directory;
mod group;
mod inode;
mod journal;
mod layout;
mod superblock;

pub use layout::{Layout, MAX_BYTES, MIN_BYTES, SizeError};

use block::Block;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What tells one file system from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its UUID, on which its checksums and the order of its directories depend, too.
    pub uuid: [u8; 16],
    /// When it was made, in seconds since 1970.
    pub made_at: u32,
}

/// Writes an empty file system to `file`, which must be empty itself, and makes the file as long as it is.
///
/// # Errors
/// Those of writing; the file is then good for nothing.
pub fn format(file: &File, layout: &Layout, identity: &Identity) -> io::Result<()> {
    file.set_len(layout.bytes())?;
    for (number, bytes) in blocks(layout, identity) {
        file.write_all_at(&bytes, number * Block::BYTES as u64)?;
    }
    Ok(())
}

/// All that is not zero, by the number of its first block. Pure.
fn blocks(layout: &Layout, identity: &Identity) -> Vec<(u64, Vec<u8>)> {
    let seed = checksum::of(checksum::START, &identity.uuid);
    let groups = group::Groups::of(layout, seed);
    let mut blocks = vec![
        (0, superblock::block(layout, identity, &groups).into()),
        (layout.descriptors(), groups.descriptors()),
        (layout.inode_bitmap(0), group::first_inode_bitmap().into()),
        (layout.inode_table(0), inode::first_block(layout, identity, seed).into()),
        (layout.root(), directory::root(seed).into()),
        (layout.lost_and_found(), directory::lost_and_found(seed).into()),
        (layout.journal(), journal::superblock(layout, identity).into()),
    ];
    blocks.extend(groups.block_bitmaps());
    blocks
}
