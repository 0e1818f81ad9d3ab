//! The two directories: their entries, and the checksum that stands behind them.

use crate::block::Block;
use crate::checksum;
use crate::inode::{LOST_AND_FOUND, ROOT};

const KIND_DIRECTORY: u8 = 2;
/// What looks like an entry and holds the checksum.
const TAIL_BYTES: usize = 12;
const KIND_TAIL: u8 = 0xde;

/// The root directory's block.
pub fn root(seed: u32) -> Block {
    block(seed, ROOT, &[(ROOT, "."), (ROOT, ".."), (LOST_AND_FOUND, "lost+found")])
}

/// The block of lost+found.
pub fn lost_and_found(seed: u32) -> Block {
    block(seed, LOST_AND_FOUND, &[(LOST_AND_FOUND, "."), (ROOT, "..")])
}

#[allow(clippy::cast_possible_truncation, reason = "offsets within a block, names of ours")]
fn block(seed: u32, of: u32, entries: &[(u32, &str)]) -> Block {
    let mut block = Block::new();
    let tail = Block::BYTES - TAIL_BYTES;
    let mut at = 0;
    for (index, (inode, name)) in entries.iter().enumerate() {
        let is_last = index + 1 == entries.len();
        let length = if is_last { tail - at } else { (8 + name.len()).next_multiple_of(4) };
        block.put(at, &inode.to_le_bytes());
        block.put(at + 4, &(length as u16).to_le_bytes());
        block.put(at + 6, &[name.len() as u8, KIND_DIRECTORY]);
        block.put(at + 8, name.as_bytes());
        at += length;
    }
    let sum = checksum::of(checksum::of_inode(seed, of), &block.bytes()[..tail]);
    block.put(tail + 4, &(TAIL_BYTES as u16).to_le_bytes());
    block.put(tail + 7, &[KIND_TAIL]);
    block.put(tail + 8, &sum.to_le_bytes());
    block
}
