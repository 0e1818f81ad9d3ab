//! The inodes that are there from the beginning: the root, lost+found and the journal.

use crate::block::{Block, halves, put, short_halves};
use crate::layout::{INODE_BYTES, Layout};
use crate::{Identity, checksum};

/// The root directory's.
pub const ROOT: u32 = 2;
/// The journal's.
pub const JOURNAL: u32 = 8;
/// The first that is nobody's by the format, and which lost+found always has.
pub const LOST_AND_FOUND: u32 = 11;
/// How many there are from the beginning; most have nothing in them.
pub const RESERVED_INODES: u64 = LOST_AND_FOUND as u64;
/// How much of an inode is used beyond the first 128 bytes.
pub const EXTRA_BYTES: u16 = 32;
/// Where in an inode its blocks are told, and how long that is.
pub const BLOCKS: (usize, usize) = (0x28, 60);

const DIRECTORY: u16 = 0o040_000;
const FILE: u16 = 0o100_000;
const EXTENTS: u32 = 0x8_0000;
const SECTORS_PER_BLOCK: u64 = 8;

struct Inode {
    number: u32,
    mode: u16,
    links: u16,
    first: u64,
    blocks: u64,
}

/// The inode table's first block, in which all of them are.
pub fn first_block(layout: &Layout, identity: &Identity, seed: u32) -> Block {
    let mut block = Block::new();
    let (root, lost) = (layout.root(), layout.lost_and_found());
    let inodes = [
        Inode { number: ROOT, mode: DIRECTORY | 0o755, links: 3, first: root, blocks: 1 },
        Inode { number: LOST_AND_FOUND, mode: DIRECTORY | 0o700, links: 2, first: lost, blocks: 1 },
        journal(layout),
    ];
    for inode in inodes {
        let part = block.part((inode.number as usize - 1) * INODE_BYTES, INODE_BYTES);
        inode.write(identity, seed, part);
    }
    block
}

/// How the journal's inode tells of its blocks and its size, which the superblock repeats.
pub fn journal_blocks(layout: &Layout) -> ([u8; BLOCKS.1], u64) {
    let journal = journal(layout);
    (journal.extents(), journal.blocks * Block::BYTES as u64)
}

fn journal(layout: &Layout) -> Inode {
    let (first, blocks) = (layout.journal(), layout.journal_blocks());
    Inode { number: JOURNAL, mode: FILE | 0o600, links: 1, first, blocks }
}

impl Inode {
    fn write(&self, identity: &Identity, seed: u32, out: &mut [u8]) {
        let made_at = identity.made_at.to_le_bytes();
        let (size, size_high) = halves(self.blocks * Block::BYTES as u64);
        put(out, 0x00, &self.mode.to_le_bytes());
        put(out, 0x04, &size);
        for time in [0x08, 0x0c, 0x10, 0x90] {
            put(out, time, &made_at);
        }
        put(out, 0x1a, &self.links.to_le_bytes());
        put(out, 0x1c, &halves(self.blocks * SECTORS_PER_BLOCK).0);
        put(out, 0x20, &EXTENTS.to_le_bytes());
        put(out, BLOCKS.0, &self.extents());
        put(out, 0x6c, &size_high);
        put(out, 0x80, &EXTRA_BYTES.to_le_bytes());
        let sum = short_halves(checksum::of(checksum::of_inode(seed, self.number), out));
        put(out, 0x7c, &sum.0);
        put(out, 0x82, &sum.1);
    }

    /// A tree of one leaf with one extent: what a file of at most 2^15 blocks in a row needs.
    fn extents(&self) -> [u8; BLOCKS.1] {
        let mut out = [0; BLOCKS.1];
        put(&mut out, 0x00, &0xf30a_u16.to_le_bytes());
        put(&mut out, 0x02, &1_u16.to_le_bytes());
        put(&mut out, 0x04, &4_u16.to_le_bytes());
        #[allow(clippy::cast_possible_truncation, reason = "a journal has 2^14 at most")]
        put(&mut out, 0x10, &(self.blocks as u16).to_le_bytes());
        let (first, first_high) = halves(self.first);
        put(&mut out, 0x12, &first_high[..2]);
        put(&mut out, 0x14, &first);
        out
    }
}
