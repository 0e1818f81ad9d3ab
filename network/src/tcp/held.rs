//! Bytes of a stream that are kept until they are no more needed, in one piece.

use std::io;

/// Bytes in order: more come at the end, and go at the front. It keeps no memory while it is empty.
#[derive(Debug, Default)]
pub struct Held {
    bytes: Vec<u8>,
    gone: usize,
}

impl Held {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.gone
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All from this one on.
    pub fn from(&self, first: usize) -> &[u8] {
        self.bytes.get(self.gone + first..).unwrap_or_default()
    }

    /// Adds what `fill` puts at the end.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn fill(
        &mut self,
        fill: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let filled = fill(&mut self.bytes);
        self.rest();
        filled
    }

    /// Adds these.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops as many at the front.
    pub fn drop_front(&mut self, count: usize) {
        self.gone += count.min(self.len());
        self.rest();
    }

    /// Gives back memory that is not needed, where that costs less than it is worth.
    fn rest(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        } else if self.gone > self.len() {
            self.bytes.drain(..self.gone);
            self.gone = 0;
        }
    }
}
