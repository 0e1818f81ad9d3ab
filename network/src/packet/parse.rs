//! What a frame holds, as far as anybody here is interested. Every byte of it is the guest's.

use smoltcp::wire::{
    ArpPacket, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6FragmentHeader,
    Ipv6Packet, checksum,
};
use std::net::{IpAddr, Ipv4Addr};

/// What a frame holds.
#[derive(Debug)]
pub enum Held<'f> {
    /// A question for the hardware address of this one.
    WhoHas(Ipv4Addr),
    /// A packet.
    Ip(IpPacket<'f>),
    /// Something else, or nothing that makes sense.
    Other,
}

/// What is in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// The control messages of its kind of address.
    Icmp,
}

/// A piece of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Which packet's.
    pub ident: u32,
    /// Where in it.
    pub offset: usize,
    /// More follows.
    pub more: bool,
}

/// A packet, or a piece of one.
#[derive(Debug, Clone, Copy)]
pub struct IpPacket<'f> {
    /// Who has sent it.
    pub source: IpAddr,
    /// To whom.
    pub target: IpAddr,
    /// What is in it.
    pub protocol: Protocol,
    /// That.
    pub body: &'f [u8],
    /// Where it is no whole packet.
    pub piece: Option<Piece>,
    /// Its sender takes it in pieces: it came so, or nothing in it forbids it.
    pub may_be_cut: bool,
}

impl IpPacket<'_> {
    /// Whether the transport's checksum is right (RFC 9293, 3.1), or it says that it has none. It has to be whole.
    pub fn is_sound(&self) -> bool {
        let length = u32::try_from(self.body.len()).unwrap_or(0);
        let protocol = match (self.protocol, self.source) {
            (Protocol::Tcp, _) => IpProtocol::Tcp,
            (Protocol::Udp, IpAddr::V4(_)) if self.body.get(6..8) == Some(&[0, 0]) => return true,
            (Protocol::Udp, _) => IpProtocol::Udp,
            (Protocol::Icmp, _) => IpProtocol::Icmpv6,
        };
        let pseudo = match (self.source, self.target) {
            (IpAddr::V4(_), _) if self.protocol == Protocol::Icmp => 0,
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                checksum::pseudo_header_v4(&from, &to, protocol, length)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                checksum::pseudo_header_v6(&from, &to, protocol, length)
            }
            _ => return false,
        };
        checksum::combine(&[pseudo, checksum::data(self.body)]) == u16::MAX
    }
}

/// Takes a frame apart.
pub fn parse(frame: &[u8]) -> Held<'_> {
    parts(frame).unwrap_or(Held::Other)
}

fn parts(frame: &[u8]) -> Option<Held<'_>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    match frame.ethertype() {
        EthernetProtocol::Arp => {
            let question = ArpPacket::new_checked(frame.payload()).ok()?;
            let address: [u8; 4] = question.target_protocol_addr().try_into().ok()?;
            let asks = question.operation() == smoltcp::wire::ArpOperation::Request;
            asks.then(|| Held::WhoHas(address.into()))
        }
        EthernetProtocol::Ipv4 => ipv4(frame.payload()).map(Held::Ip),
        EthernetProtocol::Ipv6 => ipv6(frame.payload()).map(Held::Ip),
        EthernetProtocol::Unknown(_) => None,
    }
}

fn ipv4(bytes: &[u8]) -> Option<IpPacket<'_>> {
    let packet = Ipv4Packet::new_checked(bytes).ok()?;
    if packet.version() != 4 || !packet.verify_checksum() {
        return None;
    }
    let protocol = match packet.next_header() {
        IpProtocol::Tcp => Protocol::Tcp,
        IpProtocol::Udp => Protocol::Udp,
        IpProtocol::Icmp => Protocol::Icmp,
        _ => return None,
    };
    let (more, offset) = (packet.more_frags(), usize::from(packet.frag_offset()));
    let piece = Piece { ident: packet.ident().into(), offset, more };
    Some(IpPacket {
        source: packet.src_addr().into(),
        target: packet.dst_addr().into(),
        protocol,
        body: bytes.get(usize::from(packet.header_len())..usize::from(packet.total_len()))?,
        piece: (more || offset > 0).then_some(piece),
        may_be_cut: more || offset > 0 || !packet.dont_frag(),
    })
}

fn ipv6(bytes: &[u8]) -> Option<IpPacket<'_>> {
    let packet = Ipv6Packet::new_checked(bytes).ok()?;
    if packet.version() != 6 {
        return None;
    }
    let mut body = bytes.get(packet.header_len()..packet.total_len())?;
    let mut next = packet.next_header();
    let mut piece = None;
    if next == IpProtocol::Ipv6Frag {
        // A next header, a reserved byte, and then what the library calls the fragment's.
        let (beginning, rest) = body.split_at_checked(8)?;
        let fragment = Ipv6FragmentHeader::new_checked(beginning.get(2..)?).ok()?;
        // In eights of a byte to the library, as on the wire.
        let offset = usize::from(fragment.frag_offset()) * 8;
        let more = fragment.more_frags();
        piece = Some(Piece { ident: fragment.ident(), offset, more });
        (next, body) = (IpProtocol::from(*beginning.first()?), rest);
    }
    let protocol = match next {
        IpProtocol::Tcp => Protocol::Tcp,
        IpProtocol::Udp => Protocol::Udp,
        IpProtocol::Icmpv6 => Protocol::Icmp,
        // What needs further headers is not for us: who is asked for multicast groups.
        _ => return None,
    };
    let (source, target) = (packet.src_addr().into(), packet.dst_addr().into());
    Some(IpPacket { source, target, protocol, body, piece, may_be_cut: piece.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sound(protocol: Protocol, ends: [&str; 2], body: &[u8]) -> bool {
        let [source, target] = ends.map(|it| it.parse().unwrap());
        IpPacket { source, target, protocol, body, piece: None, may_be_cut: true }.is_sound()
    }

    /// With the checksum that it needs, at this place of it, beside what else is counted.
    fn summed(body: &[u8], at: usize, pseudo: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        let all: Vec<u8> = [pseudo, &body].concat();
        let words =
            all.chunks(2).map(|it| u32::from(it[0]) << 8 | u32::from(*it.get(1).unwrap_or(&0)));
        let sum = words.fold(0, |sum, word| (sum + word) % 0xffff);
        body[at..at + 2].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
        body
    }

    #[test]
    fn what_is_spoilt_is_seen() {
        const V4: [&str; 2] = ["192.0.0.2", "198.51.100.1"];
        const V6: [&str; 2] = ["fd00::2", "2001:db8::1"];
        let bytes: Vec<u8> = (1..=31).collect();
        let zeroed = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at..at + 2].fill(0);
            bytes
        };
        let pseudo4 = |protocol| [192, 0, 0, 2, 198, 51, 100, 1, 0, protocol, 0, 31];
        let pseudo6 = |protocol| {
            let ends = V6.map(|it| it.parse::<std::net::Ipv6Addr>().unwrap().octets());
            [ends.as_flattened(), &[0, 0, 0, 31, 0, 0, 0, protocol]].concat()
        };
        let good = [
            (Protocol::Tcp, V4, summed(&zeroed(16), 16, &pseudo4(6))),
            (Protocol::Udp, V4, summed(&zeroed(6), 6, &pseudo4(17))),
            (Protocol::Icmp, V4, summed(&zeroed(2), 2, &[])),
            (Protocol::Tcp, V6, summed(&zeroed(16), 16, &pseudo6(6))),
            (Protocol::Udp, V6, summed(&zeroed(6), 6, &pseudo6(17))),
            (Protocol::Icmp, V6, summed(&zeroed(2), 2, &pseudo6(58))),
        ];
        for (protocol, ends, body) in good {
            assert!(is_sound(protocol, ends, &body), "{protocol:?} of {ends:?}");
            for bit in 0..body.len() * 8 {
                let mut spoilt = body.clone();
                spoilt[bit / 8] ^= 1 << (bit % 8);
                assert!(!is_sound(protocol, ends, &spoilt), "{protocol:?} of {ends:?}, {bit}");
            }
            assert!(!is_sound(protocol, ends, &body[..20]) && !is_sound(protocol, ends, &[]));
        }
        assert!(
            is_sound(Protocol::Udp, V4, &zeroed(6)) && !is_sound(Protocol::Udp, V6, &zeroed(6))
        );
    }
}
