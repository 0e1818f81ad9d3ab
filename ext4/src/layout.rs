//! Where everything is.

use crate::block::Block;

/// The least that a disk may have: half of it is the journal's.
pub const MIN_BYTES: u64 = 16 << 20;
/// The most: no file of ext4 outside can have much more.
pub const MAX_BYTES: u64 = 8 << 40;

/// As many as a bitmap of one block has bits.
pub const BLOCKS_PER_GROUP: u64 = 1 << 15;
/// One for each 64 KiB.
pub const INODES_PER_GROUP: u64 = BLOCKS_PER_GROUP * BLOCK_BYTES / (64 << 10);
/// With room for times in nanoseconds and small attributes.
pub const INODE_BYTES: usize = 256;
/// A group's, with numbers of 64 bits.
pub const DESCRIPTOR_BYTES: usize = 64;
const BLOCK_BYTES: u64 = Block::BYTES as u64;
const INODE_TABLE_BLOCKS: u64 = INODES_PER_GROUP * INODE_BYTES as u64 / BLOCK_BYTES;
/// The kernel takes none that is shorter.
const MIN_JOURNAL_BLOCKS: u64 = 1024;
/// Longer ones make a disk no faster on which few write at a time.
const MAX_JOURNAL_BLOCKS: u64 = (64 << 20) / BLOCK_BYTES;

/// A size that no disk of ours has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are not between {MIN_BYTES} and {MAX_BYTES}")]
pub struct SizeError(u64);

/// The layout of a file system: all of it follows from its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    blocks: u64,
}

impl Layout {
    /// That of the smallest.
    pub const SMALLEST: Self = Self { blocks: MIN_BYTES / BLOCK_BYTES };

    /// That of one of so many bytes; what is less than a block is left out.
    ///
    /// # Errors
    /// [`SizeError`] for less than [`MIN_BYTES`] and more than [`MAX_BYTES`].
    pub const fn of_bytes(bytes: u64) -> Result<Self, SizeError> {
        match bytes {
            MIN_BYTES..=MAX_BYTES => Ok(Self { blocks: bytes / BLOCK_BYTES }),
            _ => Err(SizeError(bytes)),
        }
    }

    /// Its size in bytes.
    pub const fn bytes(&self) -> u64 {
        self.blocks * BLOCK_BYTES
    }

    /// Its size in blocks.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// How many groups it has; the last one may be shorter.
    pub const fn groups(&self) -> u64 {
        self.blocks.div_ceil(BLOCKS_PER_GROUP)
    }

    /// How many blocks a group has.
    pub fn blocks_of(&self, group: u64) -> u64 {
        (self.blocks - group * BLOCKS_PER_GROUP).min(BLOCKS_PER_GROUP)
    }

    /// How many inodes there can be.
    pub const fn inodes(&self) -> u64 {
        self.groups() * INODES_PER_GROUP
    }

    /// The first block of the groups' descriptors.
    pub const fn descriptors(&self) -> u64 {
        1
    }

    /// The bitmap of a group's blocks.
    pub const fn block_bitmap(&self, group: u64) -> u64 {
        let descriptor_blocks = (self.groups() * DESCRIPTOR_BYTES as u64).div_ceil(BLOCK_BYTES);
        self.descriptors() + descriptor_blocks + group
    }

    /// The bitmap of a group's inodes.
    pub const fn inode_bitmap(&self, group: u64) -> u64 {
        self.block_bitmap(self.groups()) + group
    }

    /// The first block of a group's inodes.
    pub const fn inode_table(&self, group: u64) -> u64 {
        self.inode_bitmap(self.groups()) + group * INODE_TABLE_BLOCKS
    }

    /// The root directory.
    pub const fn root(&self) -> u64 {
        self.inode_table(self.groups())
    }

    /// The directory that a checker puts what it finds into.
    pub const fn lost_and_found(&self) -> u64 {
        self.root() + 1
    }

    /// The first block of the journal.
    pub const fn journal(&self) -> u64 {
        self.lost_and_found() + 1
    }

    /// How long the journal is: a 64th of the disk, within bounds.
    pub fn journal_blocks(&self) -> u64 {
        (self.blocks / 64).clamp(MIN_JOURNAL_BLOCKS, MAX_JOURNAL_BLOCKS)
    }

    /// The first block that is free; so are all behind it.
    pub fn first_free(&self) -> u64 {
        self.journal() + self.journal_blocks()
    }

    /// How many blocks of a group are free.
    pub fn free_blocks_of(&self, group: u64) -> u64 {
        let begin = group * BLOCKS_PER_GROUP;
        let used = self.first_free().saturating_sub(begin).min(self.blocks_of(group));
        self.blocks_of(group) - used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_their_bounds() {
        assert!(Layout::of_bytes(MIN_BYTES - 1).is_err());
        assert!(Layout::of_bytes(MAX_BYTES + 1).is_err());
        for bytes in [MIN_BYTES, MAX_BYTES] {
            let layout = Layout::of_bytes(bytes).unwrap();
            assert_eq!(layout.bytes(), bytes);
            assert!(layout.first_free() < layout.blocks() / 2, "{layout:?}");
        }
    }

    #[test]
    fn a_part_of_a_block_is_left_out() {
        assert_eq!(Layout::of_bytes(MIN_BYTES + 4095).unwrap().bytes(), MIN_BYTES);
    }
}
