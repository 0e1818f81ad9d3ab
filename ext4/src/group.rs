//! Block groups: their descriptors, and the bitmaps of those that are not empty.

use crate::block::{Block, halves, put, short_halves};
use crate::checksum;
use crate::inode::RESERVED_INODES;
use crate::layout::{BLOCKS_PER_GROUP, DESCRIPTOR_BYTES, INODES_PER_GROUP, Layout};

const BITS: usize = Block::BYTES * 8;
const CHECKSUM: usize = 0x1e;

/// `bg_flags`: the inode bitmap is a hole, the block bitmap is one, the inode table is all zeroes.
const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const INODE_ZEROED: u16 = 4;

/// The groups of a file system.
pub struct Groups {
    layout: Layout,
    seed: u32,
    /// The block bitmaps that are written, by group.
    bitmaps: Vec<(u64, Block)>,
}

impl Groups {
    /// Those of a layout.
    pub fn of(layout: &Layout, seed: u32) -> Self {
        let first_empty = layout.first_free().div_ceil(BLOCKS_PER_GROUP);
        let last = layout.groups() - 1;
        // The last one's is never left to the kernel, which is how mkfs.ext4 has it.
        let written = (0..first_empty.min(last)).chain([last]);
        let bitmaps = written.map(|group| (group, block_bitmap(layout, group))).collect();
        Self { layout: *layout, seed, bitmaps }
    }

    /// How many blocks of all of them are free.
    pub fn free_blocks(&self) -> u64 {
        (0..self.layout.groups()).map(|group| self.layout.free_blocks_of(group)).sum()
    }

    /// The bitmaps that are written, by their blocks.
    pub fn block_bitmaps(self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let layout = self.layout;
        self.bitmaps.into_iter().map(move |(group, bits)| (layout.block_bitmap(group), bits.into()))
    }

    /// All descriptors, one after the other.
    pub fn descriptors(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for group in 0..self.layout.groups() {
            all.extend_from_slice(&self.descriptor(group));
        }
        all
    }

    fn descriptor(&self, group: u64) -> [u8; DESCRIPTOR_BYTES] {
        let mut out = [0; DESCRIPTOR_BYTES];
        let mut flags = INODE_ZEROED;
        let mut put_halves = |low: usize, high: usize, number: u64| {
            let halves = halves(number);
            put(&mut out, low, &halves.0);
            put(&mut out, high, &halves.1);
        };
        put_halves(0x00, 0x20, self.layout.block_bitmap(group));
        put_halves(0x04, 0x24, self.layout.inode_bitmap(group));
        put_halves(0x08, 0x28, self.layout.inode_table(group));
        let mut put_short = |low: usize, high: usize, number: u64| {
            #[allow(clippy::cast_possible_truncation, reason = "of one group")]
            let halves = short_halves(number as u32);
            put(&mut out, low, &halves.0);
            put(&mut out, high, &halves.1);
        };
        let unused_inodes = INODES_PER_GROUP - if group == 0 { RESERVED_INODES } else { 0 };
        put_short(0x0c, 0x2c, self.layout.free_blocks_of(group));
        put_short(0x0e, 0x2e, unused_inodes);
        put_short(0x10, 0x30, if group == 0 { 2 } else { 0 });
        put_short(0x1c, 0x32, unused_inodes);
        match self.bitmaps.iter().find(|(of, _)| *of == group) {
            Some((_, bits)) => {
                put_short(0x18, 0x38, checksum::of(self.seed, bits.bytes()).into());
            }
            None => flags |= BLOCK_UNINIT,
        }
        if group == 0 {
            let bits = first_inode_bitmap();
            #[allow(clippy::cast_possible_truncation, reason = "2048")]
            let used = &bits.bytes()[..INODES_PER_GROUP as usize / 8];
            put_short(0x1a, 0x3a, checksum::of(self.seed, used).into());
        } else {
            flags |= INODE_UNINIT;
        }
        put(&mut out, 0x12, &flags.to_le_bytes());
        #[allow(clippy::cast_possible_truncation, reason = "at most 2^17 groups")]
        let sum = checksum::of(checksum::of(self.seed, &(group as u32).to_le_bytes()), &out);
        put(&mut out, CHECKSUM, &short_halves(sum).0);
        out
    }
}

/// The bits of the blocks that are used, and of those that are not there.
#[allow(clippy::cast_possible_truncation, reason = "a group has 2^15 blocks")]
fn block_bitmap(layout: &Layout, group: u64) -> Block {
    let mut bits = Block::new();
    let there = layout.blocks_of(group);
    bits.set(0..(there - layout.free_blocks_of(group)) as usize);
    bits.set(there as usize..BITS);
    bits
}

/// The inodes that have their purpose, and those beyond the group.
#[allow(clippy::cast_possible_truncation, reason = "a group has 2^11 inodes")]
pub fn first_inode_bitmap() -> Block {
    let mut bits = Block::new();
    bits.set(0..RESERVED_INODES as usize);
    bits.set(INODES_PER_GROUP as usize..BITS);
    bits
}
