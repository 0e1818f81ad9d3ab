//! The journal's own superblock (jbd2): an empty log. Its numbers are big-endian.

use crate::Identity;
use crate::block::Block;
use crate::layout::Layout;

const MAGIC: u32 = 0xc03b_3998;
const SUPERBLOCK_V2: u32 = 4;

/// The first block of a journal with nothing in it.
#[allow(clippy::cast_possible_truncation, reason = "a journal has 2^14 blocks at most")]
pub fn superblock(layout: &Layout, identity: &Identity) -> Block {
    let mut block = Block::new();
    let mut put = |offset: usize, number: u32| block.put(offset, &number.to_be_bytes());
    put(0x00, MAGIC);
    put(0x04, SUPERBLOCK_V2);
    put(0x0c, Block::BYTES as u32);
    put(0x10, layout.journal_blocks() as u32);
    // The log begins behind this block, and with this transaction.
    put(0x14, 1);
    put(0x18, 1);
    // One file system uses it.
    put(0x40, 1);
    block.put(0x30, &identity.uuid);
    block
}
