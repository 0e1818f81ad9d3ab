//! A block that numbers are put into.

use std::ops::Range;

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

    /// Sets bits, as bitmaps count them: whole bytes at once.
    pub fn set(&mut self, bits: Range<usize>) {
        let (first, last) = (bits.start.next_multiple_of(8).min(bits.end), bits.end & !7);
        self.0[first / 8..last.max(first) / 8].fill(u8::MAX);
        for bit in (bits.start..first).chain(last.max(first)..bits.end) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_wherever_they_begin_and_end() {
        for bits in [0..0, 0..1, 0..8, 3..5, 3..8, 3..9, 7..17, 8..16, 9..33, 31..31, 5..64] {
            let mut block = Block::new();
            block.set(bits.clone());
            let is_set = |bit: usize| block.bytes()[bit / 8] >> (bit % 8) & 1 == 1;
            assert!((0..80).all(|bit| is_set(bit) == bits.contains(&bit)), "{bits:?}");
        }
    }
}
