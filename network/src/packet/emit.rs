//! Frames for the guest.

use super::Protocol;
use crate::config::{GATEWAY_MAC, GUEST_MAC};
use crate::link::{Link, Offload};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Packet,
    Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpPacket, TcpRepr, checksum,
};
use std::net::{IpAddr, SocketAddr};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
/// The longest header of TCP.
const MOST_TCP: usize = 60;
/// How many routers a packet may pass.
pub const HOPS: u8 = 64;
/// Where the checksum stands in each header.
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;

/// Makes frames for the guest, and sends them.
#[derive(Debug)]
pub struct Emit<'l> {
    /// The link.
    pub link: &'l mut Link,
}

/// The headers of a frame before the transport's: how long they are, and what its checksum begins with.
struct Begun {
    length: usize,
    pseudo: u16,
    is_ipv6: bool,
}

impl Emit<'_> {
    /// A segment of TCP, whose ports are those of the addresses. A payload over `mss` is that many segments.
    pub fn tcp(&mut self, from: SocketAddr, to: SocketAddr, segment: &TcpRepr<'_>, mss: usize) {
        let payload = segment.payload;
        let bare = TcpRepr { src_port: from.port(), dst_port: to.port(), payload: &[], ..*segment };
        let transport = bare.header_len();
        let mut buffer = [0; ETHERNET + IPV6 + MOST_TCP];
        let length = transport + payload.len();
        let ends = (from.ip(), to.ip());
        let Some(begun) = begin(&mut buffer, ends, (IpProtocol::Tcp, HOPS), length) else { return };
        let Some(header) = buffer.get_mut(begun.length..begun.length + transport) else { return };
        let (source, target) = (from.ip().into(), to.ip().into());
        let mut packet = TcpPacket::new_unchecked(&mut *header);
        bare.emit(&mut packet, &source, &target, &ChecksumCapabilities::ignored());
        let over = payload.len() > mss;
        let size = over.then(|| (u16::try_from(mss).unwrap_or(u16::MAX), begun.is_ipv6));
        self.finish(&mut buffer, (begun, transport), payload, (TCP_CHECKSUM, size));
    }

    /// A datagram.
    pub fn udp(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let mut buffer = [0; ETHERNET + IPV6 + UDP];
        let length = UDP + payload.len();
        let ends = (from.ip(), to.ip());
        let Some(begun) = begin(&mut buffer, ends, (IpProtocol::Udp, HOPS), length) else { return };
        let Some(header) = buffer.get_mut(begun.length..begun.length + UDP) else { return };
        let length = u16::try_from(length).unwrap_or(0);
        let words = [from.port(), to.port(), length, 0].map(u16::to_be_bytes);
        header.copy_from_slice(words.as_flattened());
        self.finish(&mut buffer, (begun, UDP), payload, (UDP_CHECKSUM, None));
    }

    /// A control message, whose checksum counts nothing else for IPv4.
    pub fn icmp(&mut self, (from, to): (IpAddr, IpAddr), message: &mut [u8], hops: u8) {
        let mut buffer = [0; ETHERNET + IPV6];
        let protocol = match from {
            IpAddr::V4(_) => IpProtocol::Icmp,
            IpAddr::V6(_) => IpProtocol::Icmpv6,
        };
        let kind = (protocol, hops);
        let Some(begun) = begin(&mut buffer, (from, to), kind, message.len()) else { return };
        let Some(place) = message.get_mut(2..4) else { return };
        place.fill(0);
        let pseudo = if begun.is_ipv6 { begun.pseudo } else { 0 };
        let sum = !checksum::combine(&[pseudo, checksum::data(message)]);
        if let Some(place) = message.get_mut(2..4) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
        self.link.send(buffer.get(..begun.length).unwrap_or_default(), message, None);
    }

    /// Anything else: what follows the Ethernet header.
    pub fn other(&mut self, protocol: EthernetProtocol, payload: &[u8]) {
        let mut buffer = [0; ETHERNET];
        ethernet(&mut buffer, protocol);
        self.link.send(&buffer, payload, None);
    }

    /// Gives the transport its checksum, or what the guest's device makes one of, and sends the frame.
    fn finish(
        &mut self,
        buffer: &mut [u8],
        (begun, transport): (Begun, usize),
        payload: &[u8],
        (at, segments): (u16, Option<(u16, bool)>),
    ) {
        let Some(headers) = buffer.get_mut(..begun.length + transport) else { return };
        let Some(header) = headers.get_mut(begun.length..) else { return };
        let offloads = self.link.offloads();
        let sum = if offloads {
            begun.pseudo
        } else {
            let parts = [begun.pseudo, checksum::data(header), checksum::data(payload)];
            // Zero would say that a datagram has none.
            match !checksum::combine(&parts) {
                0 if at == UDP_CHECKSUM => u16::MAX,
                sum => sum,
            }
        };
        let place = header.get_mut(usize::from(at)..usize::from(at) + 2);
        place.into_iter().for_each(|place| place.copy_from_slice(&sum.to_be_bytes()));
        let start = u16::try_from(begun.length).unwrap_or(0);
        let offload = offloads.then_some(Offload { start, at, segments });
        self.link.send(headers, payload, offload);
    }
}

fn ethernet(buffer: &mut [u8], ethertype: EthernetProtocol) {
    let (src_addr, dst_addr) = (EthernetAddress(GATEWAY_MAC), EthernetAddress(GUEST_MAC));
    EthernetRepr { src_addr, dst_addr, ethertype }.emit(&mut EthernetFrame::new_unchecked(buffer));
}

/// Writes the headers before the transport's; `None` where addresses are not of one kind, or it is too long.
fn begin(
    buffer: &mut [u8],
    (from, to): (IpAddr, IpAddr),
    (next_header, hop_limit): (IpProtocol, u8),
    payload_len: usize,
) -> Option<Begun> {
    let length = u32::try_from(payload_len).ok()?;
    match (from, to) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            u16::try_from(IPV4 + payload_len).ok()?;
            ethernet(buffer, EthernetProtocol::Ipv4);
            let repr = Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            let mut packet = Ipv4Packet::new_unchecked(buffer.get_mut(ETHERNET..)?);
            repr.emit(&mut packet, &ChecksumCapabilities::default());
            let pseudo = checksum::pseudo_header_v4(&src_addr, &dst_addr, next_header, length);
            Some(Begun { length: ETHERNET + IPV4, pseudo, is_ipv6: false })
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            u16::try_from(payload_len).ok()?;
            ethernet(buffer, EthernetProtocol::Ipv6);
            let repr = Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            repr.emit(&mut Ipv6Packet::new_unchecked(buffer.get_mut(ETHERNET..)?));
            let pseudo = checksum::pseudo_header_v6(&src_addr, &dst_addr, next_header, length);
            Some(Begun { length: ETHERNET + IPV6, pseudo, is_ipv6: true })
        }
        _ => None,
    }
}

impl From<Protocol> for u8 {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Icmp => 1,
        }
    }
}
