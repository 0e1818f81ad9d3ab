//! Packets that come in pieces, put together again (RFC 791, 3.2; RFC 8200, 4.5).
//!
//! Owns: the pieces, of a few packets and not for long. Never does: guess: of pieces that lie over each other the whole
//! packet is dropped (RFC 5722).

use crate::packet::{IpPacket, Piece, Protocol};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Of how many packets pieces are kept.
const MOST_PACKETS: usize = 8;
/// Into how many pieces one may fall.
const MOST_PIECES: usize = 64;
/// How long they are kept.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest packet.
const MOST_BYTES: usize = 65535;

/// What all pieces of a packet have.
type Key = (IpAddr, IpAddr, Protocol, u32);

#[derive(Debug)]
struct Parts {
    key: Key,
    begun: Instant,
    bytes: Vec<u8>,
    /// From where to where there is something, in order.
    there: Vec<(usize, usize)>,
    length: Option<usize>,
    is_wrong: bool,
}

/// Pieces of packets.
#[derive(Debug, Default)]
pub struct Fragments(Vec<Parts>);

impl Fragments {
    /// Takes a piece; gives the body of its packet once that is whole.
    pub fn add(&mut self, packet: &IpPacket<'_>, piece: Piece, now: Instant) -> Option<Vec<u8>> {
        self.0.retain(|parts| now.duration_since(parts.begun) < PATIENCE);
        let key = (packet.source, packet.target, packet.protocol, piece.ident);
        let index = self.0.iter().position(|parts| parts.key == key).unwrap_or_else(|| {
            if self.0.len() == MOST_PACKETS {
                self.0.remove(0);
            }
            self.0.push(Parts::new(key, now));
            self.0.len() - 1
        });
        let parts = self.0.get_mut(index)?;
        parts.is_wrong |= parts.put(packet.body, piece).is_none();
        let is_whole = !parts.is_wrong && parts.length.is_some_and(|it| parts.there == [(0, it)]);
        is_whole.then(|| self.0.swap_remove(index).bytes)
    }
}

impl Parts {
    fn new(key: Key, begun: Instant) -> Self {
        let (bytes, there) = (Vec::new(), Vec::new());
        Self { key, begun, bytes, there, length: None, is_wrong: false }
    }

    fn put(&mut self, body: &[u8], Piece { offset, more, .. }: Piece) -> Option<()> {
        let end = offset.checked_add(body.len()).filter(|end| *end <= MOST_BYTES)?;
        let is_piece = !body.is_empty() && (!more || body.len().is_multiple_of(8));
        let overlaps = self.there.iter().any(|(from, until)| offset < *until && *from < end);
        let is_past_the_end = self.length.is_some_and(|length| end > length || !more);
        let before_others = !more && self.there.iter().any(|(_, until)| *until > end);
        if !is_piece || overlaps || is_past_the_end || before_others || self.is_wrong {
            return None;
        }
        if !more {
            self.length = Some(end);
        }
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes.get_mut(offset..end)?.copy_from_slice(body);
        let at = self.there.partition_point(|(from, _)| *from < offset);
        self.there.insert(at, (offset, end));
        self.there.dedup_by(|later, earlier| {
            let touches = later.0 == earlier.1;
            if touches {
                earlier.1 = later.1;
            }
            touches
        });
        (self.there.len() <= MOST_PIECES).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(body: &[u8]) -> IpPacket<'_> {
        let address = IpAddr::from([10, 0, 0, 1]);
        IpPacket {
            source: address,
            target: address,
            protocol: Protocol::Udp,
            body,
            piece: None,
            may_be_cut: true,
        }
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_are_a_packet(
            body in prop::collection::vec(any::<u8>(), 1..4000),
            size in 1usize..40,
            turn in any::<prop::sample::Index>(),
        ) {
            let size = size * 8;
            let mut pieces: Vec<(usize, &[u8])> =
                body.chunks(size).enumerate().map(|(index, piece)| (index * size, piece)).collect();
            prop_assume!(pieces.len() <= MOST_PIECES);
            let by = turn.index(pieces.len());
            pieces.rotate_left(by);
            let (mut fragments, now) = (Fragments::default(), Instant::now());
            let mut last = None;
            for (offset, piece) in pieces {
                prop_assert!(last.is_none());
                let more = offset + piece.len() < body.len();
                last = fragments.add(&packet(piece), Piece { ident: 7, offset, more }, now);
            }
            prop_assert_eq!(last, Some(body));
            prop_assert!(fragments.0.is_empty());
        }

        #[test]
        fn any_pieces_are_borne(
            pieces in prop::collection::vec((0u32..12, 0usize..70_000, any::<bool>(), 0usize..9000), 0..80),
        ) {
            let (mut fragments, now) = (Fragments::default(), Instant::now());
            for (ident, offset, more, length) in pieces {
                let body = vec![0; length];
                fragments.add(&packet(&body), Piece { ident, offset, more }, now);
                prop_assert!(fragments.0.len() <= MOST_PACKETS);
            }
        }
    }

    #[test]
    fn pieces_over_each_other_are_none() {
        let (mut fragments, now) = (Fragments::default(), Instant::now());
        let mut add = |offset, more, body: &[u8]| {
            fragments.add(&packet(body), Piece { ident: 1, offset, more }, now)
        };
        assert_eq!(add(0, true, &[1; 16]), None);
        assert_eq!(add(8, false, &[2; 16]), None);
        assert_eq!(add(16, false, &[2; 8]), None, "it is spoilt");
    }
}
