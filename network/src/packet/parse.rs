//! What a frame holds, as far as anybody here is interested. Every byte of it is the guest's.

use smoltcp::wire::{
    ArpPacket, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6FragmentHeader,
    Ipv6Packet,
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
