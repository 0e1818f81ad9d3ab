//! The header before each frame (VirtIO 1.2 §5.1.6), as one driver may be given it.
//!
//! Owns: what of a header needs which feature. Never sees the frame. It comes from the host's side and is copied
//! out before it is judged.

use super::{HEADER_BYTES, feature};

const FLAG_NEEDS_CSUM: u8 = 1;
const FLAG_DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;

/// `struct virtio_net_hdr_v1`: flags, the kind of segmentation, four words of it, and how many buffers the packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header([u8; HEADER_BYTES]);

impl Header {
    /// The header that a packet came with, for a driver that accepted these features; `None` where it needs others
    /// (VirtIO 1.2 §5.1.6.4.1). That a checksum is right, the driver need not be told.
    pub fn for_driver(mut bytes: [u8; HEADER_BYTES], features: u64) -> Option<Self> {
        let [flags, segmentation, ..] = bytes;
        let checks = features & feature::GUEST_CSUM != 0;
        let needed = match segmentation {
            GSO_NONE => 0,
            GSO_TCPV4 => feature::GUEST_TSO4,
            GSO_TCPV6 => feature::GUEST_TSO6,
            _ => return None,
        };
        let is_known = flags & !(FLAG_NEEDS_CSUM | FLAG_DATA_VALID) == 0;
        let is_unfinished = flags & FLAG_NEEDS_CSUM != 0;
        if !is_known || features & needed != needed || (is_unfinished && !checks) {
            return None;
        }
        if !checks {
            bytes[0] = 0;
        }
        Some(Self(bytes))
    }

    /// The header of a packet in so many buffers.
    pub fn of_buffers(self, count: u16) -> [u8; HEADER_BYTES] {
        let Self(mut bytes) = self;
        [bytes[10], bytes[11]] = count.to_le_bytes();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = feature::GUEST_CSUM | feature::GUEST_TSO4 | feature::GUEST_TSO6;

    fn given(flags: u8, segmentation: u8, features: u64) -> Option<[u8; HEADER_BYTES]> {
        let bytes = [flags, segmentation, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        Header::for_driver(bytes, features).map(|header| header.of_buffers(0x201))
    }

    #[test]
    fn a_header_is_given_as_it_came_but_for_its_count() {
        for (flags, segmentation) in [(0, 0), (1, 0), (2, 0), (1, 1), (1, 4), (3, 4)] {
            let expected = [flags, segmentation, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2];
            assert_eq!(given(flags, segmentation, ALL), Some(expected));
        }
    }

    #[test]
    fn what_was_not_accepted_is_not_given() {
        assert_eq!(given(1, 0, !feature::GUEST_CSUM), None);
        assert_eq!(given(1, 1, !feature::GUEST_TSO4), None);
        assert_eq!(given(1, 4, !feature::GUEST_TSO6), None);
        for (flags, segmentation) in [(4, 0), (0x80, 0), (1, 3), (1, 5), (1, 0x81), (0, 0xff)] {
            assert_eq!(given(flags, segmentation, u64::MAX), None, "{flags} {segmentation}");
        }
    }

    #[test]
    fn a_driver_that_checks_nothing_is_not_told_that_it_need_not() {
        assert_eq!(given(2, 0, 0).map(|header| header[0]), Some(0));
    }
}
