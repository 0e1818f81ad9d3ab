//! What is answered at once, by whoever the guest takes for its neighbours: ARP, neighbour discovery, and that something
//! cannot be reached.

use super::emit::HOPS;
use super::{Emit, IpPacket, Protocol};
use crate::config::{GATEWAY_MAC, GUEST_IPV4, GUEST_IPV6, GUEST_MAC, MTU};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol, Icmpv4Message,
    Icmpv6Message,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The most of a packet that is told back (RFC 1812, 4.3.2.3; RFC 4443 has more).
const MOST_QUOTED: usize = 576 - 20 - 8;
/// The longest packet that a control message about another may be, without its own header.
const MOST_MESSAGE: usize = MOST_QUOTED + 8;

/// A neighbour's word comes over no router (RFC 4861, 7.1).
const NEIGHBOUR_HOPS: u8 = 255;

/// Why something cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// There is no way there.
    Network,
    /// Nobody is there.
    Host,
    /// Nobody listens there.
    Port,
    /// It is not allowed.
    Prohibited,
    /// It is longer than what gets there, which is so many bytes, and must not be cut (RFC 1191, RFC 4443).
    TooLong(u16),
}

impl Unreachable {
    /// Type and code.
    fn code(self, is_ipv6: bool) -> [u8; 2] {
        match (self, is_ipv6) {
            (Self::Network, false) => [3, 0],
            (Self::Host, false) => [3, 1],
            (Self::Port, false) => [3, 3],
            (Self::Prohibited, false) => [3, 13],
            (Self::TooLong(_), false) => [3, 4],
            (Self::Network, true) => [1, 0],
            (Self::Host, true) => [1, 3],
            (Self::Port, true) => [1, 4],
            (Self::Prohibited, true) => [1, 1],
            (Self::TooLong(_), true) => [2, 0],
        }
    }

    /// What stands behind the checksum: at its end for both kinds of address, for a packet has no more than 65535 bytes.
    fn detail(self) -> [u8; 4] {
        let [high, low] = if let Self::TooLong(most) = self { most.to_be_bytes() } else { [0; 2] };
        [0, 0, high, low]
    }
}

/// The number of control messages for IPv6.
const ICMPV6: u8 = 58;

impl Emit<'_> {
    /// Tells the guest whose hardware address this is: the gateway's, whoever's it is.
    pub fn arp(&mut self, asked: Ipv4Addr) {
        if asked == GUEST_IPV4 {
            // It looks whether another has its own.
            return;
        }
        let mut answer = [0; 28];
        let repr = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: EthernetAddress(GATEWAY_MAC),
            source_protocol_addr: asked,
            target_hardware_addr: EthernetAddress(GUEST_MAC),
            target_protocol_addr: GUEST_IPV4,
        };
        repr.emit(&mut ArpPacket::new_unchecked(&mut answer[..]));
        self.other(EthernetProtocol::Arp, &answer);
    }

    /// Tells the guest that what it has sent from here to there does not arrive. `quoted` is what stood behind the header
    /// of that packet.
    pub fn unreachable(
        &mut self,
        (from, to): (IpAddr, IpAddr),
        (protocol, quoted): (Protocol, &[u8]),
        why: Unreachable,
    ) {
        let mut message = [0; MOST_MESSAGE];
        let [kind, code] = why.code(from.is_ipv6());
        message[..2].copy_from_slice(&[kind, code]);
        message[4..8].copy_from_slice(&why.detail());
        let mut length = 8;
        let mut put = |bytes: &[u8]| {
            let room = message.get_mut(length..length + bytes.len());
            room.into_iter().for_each(|room| room.copy_from_slice(bytes));
            length = (length + bytes.len()).min(MOST_MESSAGE);
        };
        let body = u16::try_from(quoted.len()).unwrap_or(u16::MAX - 20);
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                put(&[0x45, 0]);
                put(&body.saturating_add(20).to_be_bytes());
                put(&[0, 0, 0x40, 0, 64, u8::from(protocol), 0, 0]);
                put(&from.octets());
                put(&to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                put(&[0x60, 0, 0, 0]);
                put(&body.to_be_bytes());
                put(&[if protocol == Protocol::Icmp { ICMPV6 } else { protocol.into() }, 64]);
                put(&from.octets());
                put(&to.octets());
            }
            _ => return,
        }
        put(quoted.get(..quoted.len().min(MOST_QUOTED - 40)).unwrap_or_default());
        let message = message.get_mut(..length).unwrap_or_default();
        self.icmp((to, from), message, HOPS);
    }

    /// The same of a datagram of which only its ends are known.
    pub fn datagram_unreachable(&mut self, from: SocketAddr, to: SocketAddr, why: Unreachable) {
        let words = [from.port(), to.port(), 8, 0].map(u16::to_be_bytes);
        self.unreachable((from.ip(), to.ip()), (Protocol::Udp, words.as_flattened()), why);
    }
}

/// Answers a control message that needs nobody outside: a neighbour's question, or an echo of ours. Whether it did.
pub fn answer(packet: &IpPacket<'_>, emit: &mut Emit<'_>, is_ours: bool) -> bool {
    match (packet.source, packet.target) {
        (IpAddr::V4(from), IpAddr::V4(to)) => is_ours && echo_ipv4(packet.body, (from, to), emit),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let kind = packet.body.first().map(|kind| Icmpv6Message::from(*kind));
            match kind {
                Some(Icmpv6Message::NeighborSolicit) => {
                    neighbour(packet.body, from, emit);
                    true
                }
                Some(Icmpv6Message::RouterSolicit) => true,
                Some(Icmpv6Message::EchoRequest) if is_ours => {
                    echo_ipv6(packet.body, (from, to), emit)
                }
                // Reports of groups and the like, to nobody in particular.
                _ => to.is_multicast(),
            }
        }
        _ => true,
    }
}

fn echo_ipv4(body: &[u8], (from, to): (Ipv4Addr, Ipv4Addr), emit: &mut Emit<'_>) -> bool {
    let asks = body.first() == Some(&u8::from(Icmpv4Message::EchoRequest));
    if asks {
        echo(body, Icmpv4Message::EchoReply.into(), (to.into(), from.into()), emit);
    }
    asks
}

fn echo_ipv6(body: &[u8], (from, to): (Ipv6Addr, Ipv6Addr), emit: &mut Emit<'_>) -> bool {
    echo(body, Icmpv6Message::EchoReply.into(), (to.into(), from.into()), emit);
    true
}

fn echo(body: &[u8], kind: u8, (from, to): (IpAddr, IpAddr), emit: &mut Emit<'_>) {
    // No longer than a packet, for it came in one.
    let mut message = body.to_vec();
    message.truncate(usize::from(MTU) - 40);
    if let Some(place) = message.first_mut() {
        *place = kind;
        emit.icmp((from, to), &mut message, HOPS);
    }
}

/// Answers who asks for a neighbour's hardware address (RFC 4861, 4.3 and 4.4).
fn neighbour(body: &[u8], from: Ipv6Addr, emit: &mut Emit<'_>) {
    const ADVERT: u8 = 136;
    const SOLICITED_OVERRIDE: u8 = 0x60;
    const TARGET_HARDWARE: [u8; 2] = [2, 1];
    let Some(asked) = body.get(8..24).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) else {
        return;
    };
    let asked = Ipv6Addr::from(asked);
    // Who asks as nobody looks whether another has the address.
    if asked == GUEST_IPV6 || from.is_unspecified() || asked.is_multicast() {
        return;
    }
    let mut message = [0; 32];
    message[0] = ADVERT;
    message[4] = SOLICITED_OVERRIDE;
    message[8..24].copy_from_slice(&asked.octets());
    message[24..26].copy_from_slice(&TARGET_HARDWARE);
    message[26..].copy_from_slice(&GATEWAY_MAC);
    emit.icmp((asked.into(), from.into()), &mut message, NEIGHBOUR_HOPS);
}
