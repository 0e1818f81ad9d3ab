//! A block that numbers are put into.

/// A block of a file system, all zeroes at first.
pub struct Block(Vec<u8>);

impl Block {
    /// How long one is.
    pub const BYTES: usize = 4096;

    /// An empty one.
    pub fn new() -> Self {
        Self(vec![0; Self::BYTES])
    }

    /// Puts bytes at an offset, both of which are constants of the format: they fit.
    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.0, offset, bytes);
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A part of it that is filled by itself.
    pub fn part(&mut self, offset: usize, length: usize) -> &mut [u8] {
        &mut self.0[offset..offset + length]
    }

    /// Sets a bit, as bitmaps count them.
    pub fn set(&mut self, bits: std::ops::Range<usize>) {
        for bit in bits {
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }
}

impl From<Block> for Vec<u8> {
    fn from(block: Block) -> Self {
        block.0
    }
}

/// Puts bytes into others.
pub fn put(into: &mut [u8], offset: usize, bytes: &[u8]) {
    into[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// The lower and the upper half of a number that has grown beyond its field.
#[allow(clippy::cast_possible_truncation, reason = "that is what halves are")]
pub fn halves(number: u64) -> ([u8; 4], [u8; 4]) {
    ((number as u32).to_le_bytes(), ((number >> 32) as u32).to_le_bytes())
}

/// The same of 32 bits.
#[allow(clippy::cast_possible_truncation, reason = "that is what halves are")]
pub fn short_halves(number: u32) -> ([u8; 2], [u8; 2]) {
    ((number as u16).to_le_bytes(), ((number >> 16) as u16).to_le_bytes())
}
