//! OpenPGP's packets and their parts (RFC 9580, 3 and 4): lengths, and nothing of meaning.

use std::borrow::Cow;

/// More packets than any file of keys or signed document here has.
const MAX_PACKETS: usize = 4096;

pub(super) const SIGNATURE: u8 = 2;
pub(super) const ONE_PASS: u8 = 4;
pub(super) const SECRET_KEY: u8 = 5;
pub(super) const PUBLIC_KEY: u8 = 6;
pub(super) const SECRET_SUBKEY: u8 = 7;
pub(super) const COMPRESSED: u8 = 8;
pub(super) const MARKER: u8 = 10;
pub(super) const LITERAL: u8 = 11;
pub(super) const USER_ID: u8 = 13;
pub(super) const PUBLIC_SUBKEY: u8 = 14;
pub(super) const USER_ATTRIBUTE: u8 = 17;

/// A packet: its type, and what is in it.
pub(super) type Packet<'a> = (u8, Cow<'a, [u8]>);

/// All packets; `None` where these bytes are something else.
pub(super) fn packets(bytes: &[u8]) -> Option<Vec<Packet<'_>>> {
    let mut reader = Reader(bytes);
    let mut packets = Vec::new();
    while !reader.0.is_empty() {
        if packets.len() == MAX_PACKETS {
            return None;
        }
        packets.push(reader.packet()?);
    }
    Some(packets)
}

/// Bytes that are read from their beginning.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(count)?;
        self.0 = left;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number of so many bytes, the highest first.
    pub(super) fn number(&mut self, bytes: usize) -> Option<usize> {
        let taken = self.take(bytes)?;
        Some(taken.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    pub(super) fn time(&mut self) -> Option<u32> {
        u32::try_from(self.number(4)?).ok()
    }

    /// A multiprecision integer, without leading zeroes.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        let bits = self.number(2)?;
        let bytes = self.take(bits.div_ceil(8))?;
        let zeroes = bytes.iter().take_while(|&&byte| byte == 0).count();
        bytes.get(zeroes..)
    }

    fn packet(&mut self) -> Option<Packet<'a>> {
        let head = self.byte()?;
        match head >> 6 {
            0b10 => {
                let body = match head & 3 {
                    // To the end of what there is.
                    3 => std::mem::take(&mut self.0),
                    size => {
                        let length = self.number(1 << size)?;
                        self.take(length)?
                    }
                };
                Some((head >> 2 & 15, body.into()))
            }
            0b11 => Some((head & 63, self.body()?)),
            _ => None,
        }
    }

    /// A body in the newer form, which may come in parts.
    fn body(&mut self) -> Option<Cow<'a, [u8]>> {
        let mut parts = Vec::new();
        loop {
            let first = self.number(1)?;
            let (length, is_last) = match first {
                0..192 => (first, true),
                192..224 => (((first - 192) << 8) + self.number(1)? + 192, true),
                255 => (self.number(4)?, true),
                _ => (1 << (first & 31), false),
            };
            let part = self.take(length)?;
            match (is_last, parts.is_empty()) {
                (true, true) => return Some(part.into()),
                (_, _) => parts.extend_from_slice(part),
            }
            if is_last {
                return Some(parts.into());
            }
        }
    }
}
