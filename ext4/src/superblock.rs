//! The superblock.

use crate::block::{Block, halves, put};
use crate::group::Groups;
use crate::inode::{EXTRA_BYTES, JOURNAL, LOST_AND_FOUND, RESERVED_INODES, journal_blocks};
use crate::layout::{BLOCKS_PER_GROUP, DESCRIPTOR_BYTES, INODE_BYTES, INODES_PER_GROUP, Layout};
use crate::{Identity, checksum};

/// Where in the first block it is, and how long.
const PLACE: (usize, usize) = (1024, 1024);
const CHECKSUM: usize = 0x3fc;

/// has_journal, ext_attr, dir_index, sparse_super2.
const COMPATIBLE: u32 = 0x4 | 0x8 | 0x20 | 0x200;
/// filetype, extents, 64bit, flex_bg.
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// large_file, huge_file, dir_nlink, extra_isize, metadata_csum.
const READ_ONLY_COMPATIBLE: u32 = 0x2 | 0x8 | 0x20 | 0x40 | 0x400;
/// Extended attributes of users, and ACLs.
const MOUNT_OPTIONS: u32 = 0x4 | 0x8;
/// Names are hashed as signed characters, as all of x86 does it.
const SIGNED_HASH: u32 = 1;
const HALF_MD4: u8 = 1;
const CRC32C: u8 = 1;
/// 4096 is 1024 << 2.
const BLOCK_SIZE: u32 = 2;
/// Groups that share their inodes' places: 2^4.
const FLEX_GROUPS: u8 = 4;
const NAME: &[u8] = b"cofferdam";

/// The first block, in which it is.
pub fn block(layout: &Layout, identity: &Identity, groups: &Groups) -> Block {
    let mut block = Block::new();
    let out = block.part(PLACE.0, PLACE.1);
    sizes(out, layout, groups);
    constants(out);
    put(out, 0x68, &identity.uuid);
    put(out, 0xec, &identity.uuid);
    for time in [0x30, 0x40, 0x108] {
        put(out, time, &identity.made_at.to_le_bytes());
    }
    let (blocks, size) = journal_blocks(layout);
    let (size, size_high) = halves(size);
    put(out, 0x10c, &blocks);
    put(out, 0x10c + blocks.len(), &size_high);
    put(out, 0x10c + blocks.len() + 4, &size);
    let sum = checksum::of(checksum::START, &out[..CHECKSUM]);
    put(out, CHECKSUM, &sum.to_le_bytes());
    block
}

#[allow(clippy::cast_possible_truncation, reason = "fewer than 2^32 inodes, 2^16 of a group")]
fn sizes(out: &mut [u8], layout: &Layout, groups: &Groups) {
    let mut put_halves = |low: usize, high: usize, number: u64| {
        let halves = halves(number);
        put(out, low, &halves.0);
        put(out, high, &halves.1);
    };
    put_halves(0x04, 0x150, layout.blocks());
    put_halves(0x0c, 0x158, groups.free_blocks());
    put(out, 0x00, &(layout.inodes() as u32).to_le_bytes());
    put(out, 0x10, &((layout.inodes() - RESERVED_INODES) as u32).to_le_bytes());
    for per_group in [0x20, 0x24] {
        put(out, per_group, &(BLOCKS_PER_GROUP as u32).to_le_bytes());
    }
    put(out, 0x28, &(INODES_PER_GROUP as u32).to_le_bytes());
    put(out, 0x58, &(INODE_BYTES as u16).to_le_bytes());
    put(out, 0xfe, &(DESCRIPTOR_BYTES as u16).to_le_bytes());
}

fn constants(out: &mut [u8]) {
    let words: [(usize, u32); 11] = [
        (0x18, BLOCK_SIZE),
        (0x1c, BLOCK_SIZE),
        // The format's revision, with inodes of any length.
        (0x4c, 1),
        (0x54, LOST_AND_FOUND),
        (0x5c, COMPATIBLE),
        (0x60, INCOMPATIBLE),
        (0x64, READ_ONLY_COMPATIBLE),
        (0xe0, JOURNAL),
        (0x100, MOUNT_OPTIONS),
        (0x15c, u32::from(EXTRA_BYTES) << 16 | u32::from(EXTRA_BYTES)),
        (0x160, SIGNED_HASH),
    ];
    for (offset, word) in words {
        put(out, offset, &word.to_le_bytes());
    }
    // Never checked for the number of its mounts; clean; errors are the caller's.
    for (offset, half) in [(0x36, u16::MAX), (0x38, 0xef53), (0x3a, 1), (0x3c, 1)] {
        put(out, offset, &half.to_le_bytes());
    }
    put(out, 0x78, NAME);
    put(out, 0xfc, &[HALF_MD4, 1]);
    put(out, 0x174, &[FLEX_GROUPS, CRC32C]);
}
