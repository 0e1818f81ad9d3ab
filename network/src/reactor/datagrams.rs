//! Datagrams and echoes: each goes to its flow's other end.

use super::Reactor;
use crate::config::Transport;
use crate::flow::{Datagrams, Flow, FlowId, Key, Kind, Way};
use crate::names;
use crate::outside;
use crate::packet::{Emit, IpPacket, Protocol, Unreachable};
use crate::route;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use smoltcp::wire::UdpPacket;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// Datagrams that are shorter get anywhere (RFC 8200, 5), and need not be looked at.
const ANYWHERE: usize = 1280;
/// Longer ones are cut outside, whatever their sender says: on the link that it takes this for they would have been.
const USUAL: usize = 1500;
/// How many are taken from a socket before others have their turn.
const AT_A_TIME: usize = 32;
/// Types of echoes.
const ASKS: [u8; 2] = [8, 128];
/// Where an echo's identifier stands.
const IDENTIFIER: std::ops::Range<usize> = 4..6;

impl Reactor {
    /// Hears a datagram.
    pub(super) fn hear_datagram(&mut self, packet: &IpPacket<'_>) {
        let Ok(datagram) = UdpPacket::new_checked(packet.body) else { return };
        let guest = SocketAddr::new(packet.source, datagram.src_port());
        let other = SocketAddr::new(packet.target, datagram.dst_port());
        let key = Key { protocol: Protocol::Udp, guest, other };
        let id = match self.flows.find(&key) {
            Some(id) => Ok(id),
            None => self.begin(key, Some(Transport::Udp)),
        };
        match id {
            Ok(id) => self.send(id, datagram.payload(), packet),
            Err(Some(why)) => self.say(key, packet, why),
            Err(None) => {}
        }
    }

    /// Hears a question for an echo.
    pub(super) fn hear_echo(&mut self, packet: &IpPacket<'_>) {
        let asks = packet.body.first().is_some_and(|kind| ASKS.contains(kind));
        let Some(&[high, low]) = packet.body.get(IDENTIFIER).filter(|_| asks) else { return };
        let guest = SocketAddr::new(packet.source, u16::from_be_bytes([high, low]));
        let key = Key { protocol: Protocol::Icmp, guest, other: (packet.target, 0).into() };
        let id = match self.flows.find(&key) {
            Some(id) => Ok(id),
            None => self.begin(key, None),
        };
        match id {
            Ok(id) => self.send(id, packet.body, packet),
            Err(Some(why)) => self.say(key, packet, why),
            Err(None) => {}
        }
    }

    fn say(&mut self, key: Key, packet: &IpPacket<'_>, why: Unreachable) {
        let ends = (key.guest.ip(), key.other.ip());
        Emit { link: &mut self.link }.unreachable(ends, (key.protocol, packet.body), why);
    }

    /// Makes a flow; where it cannot, why the guest is told so, if it is.
    fn begin(
        &mut self,
        key: Key,
        transport: Option<Transport>,
    ) -> Result<FlowId, Option<Unreachable>> {
        let to = self.outside(key.other, transport).ok_or(Some(Unreachable::Prohibited))?;
        if !self.has_room() {
            return Err(None);
        }
        // Not to a name server or loopback, who are others to the guest: what they answer has to be known for theirs.
        let by = transport.filter(|_| to == key.other);
        if let Some(number) = by.and_then(|_| self.published.of_datagrams(key.guest, to)) {
            let kind = Kind::Datagrams(Datagrams::new(Way::Published(number), to));
            let id = self.flows.add(Flow::new(key, kind, self.now)).ok_or(None)?;
            self.arm(id);
            return Ok(id);
        }
        let socket = match transport {
            Some(_) => outside::udp(to, self.flows.sibling(&key.guest)),
            None => outside::ping(to.ip()),
        };
        let kind = Kind::Datagrams(Datagrams::new(Way::Own(socket.map_err(why)?), to));
        self.add(Flow::new(key, kind, self.now), EventFlags::IN).ok_or(None)
    }

    /// Sends what came in this packet.
    fn send(&mut self, id: FlowId, bytes: &[u8], packet: &IpPacket<'_>) {
        let Some(flow) = self.flows.get(id) else { return };
        flow.last = self.now;
        let (key, Kind::Datagrams(datagrams)) = (flow.key, &mut flow.kind) else { return };
        let published = match datagrams.way() {
            Way::Published(number) => self.published.get(number).map(|it| it.socket.as_fd()),
            Way::Own(_) => None,
        };
        let uncut = uncut(packet);
        match datagrams.send(bytes, uncut, published) {
            Ok(()) => {}
            Err(Errno::MSGSIZE) => {
                if let Some(why) = datagrams.most().map(Unreachable::TooLong) {
                    self.say(key, packet, why);
                }
            }
            // That was told of an earlier one: this one goes now.
            Err(errno @ (Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH)) => {
                let _ = datagrams.send(bytes, uncut, published);
                self.say_lost(key, why(errno));
            }
            Err(_) => {}
        }
    }

    /// Tells the guest that a datagram of its has not arrived.
    fn say_lost(&mut self, key: Key, why: Option<Unreachable>) {
        if let (Protocol::Udp, Some(why)) = (key.protocol, why) {
            Emit { link: &mut self.link }.datagram_unreachable(key.guest, key.other, why);
        }
    }

    /// A flow's own socket has something.
    pub(super) fn told_datagrams(&mut self, id: FlowId) {
        for _ in 0..AT_A_TIME {
            // What cannot go on stays where it is, and is told of again.
            if !self.link.has_room() {
                return;
            }
            let Some(flow) = self.flows.get(id) else { return };
            let (key, Kind::Datagrams(datagrams)) = (flow.key, &flow.kind) else { return };
            match datagrams.receive(&mut self.datagram) {
                Ok(count) => {
                    flow.last = self.now;
                    let bytes = self.datagram.get_mut(..count).unwrap_or_default();
                    let is_answer = key.protocol == Protocol::Udp
                        && route::name_server(&self.config, key.other).is_some();
                    if let Some(answer) = is_answer.then(|| names::read(bytes)).flatten() {
                        self.names.learn(answer, self.now);
                    }
                    give(&mut Emit { link: &mut self.link }, key, bytes);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::MSGSIZE) => {
                    let why = datagrams.most().map(Unreachable::TooLong);
                    self.say_lost(key, why);
                }
                Err(errno) => self.say_lost(key, why(errno)),
            }
        }
    }
}

/// Gives the guest what has come.
pub(super) fn give(emit: &mut Emit<'_>, key: Key, bytes: &mut [u8]) {
    if key.protocol != Protocol::Icmp {
        emit.udp(key.other, key.guest, bytes);
        return;
    }
    // It has the socket's own identifier.
    if let Some(place) = bytes.get_mut(IDENTIFIER) {
        place.copy_from_slice(&key.guest.port().to_be_bytes());
        emit.icmp((key.other.ip(), key.guest.ip()), bytes, crate::packet::HOPS);
    }
}

/// Whether what came in a packet may go outside whole only; `None` where it is short.
fn uncut(packet: &IpPacket<'_>) -> Option<bool> {
    let headers = if packet.source.is_ipv4() { 20 } else { 40 };
    match packet.body.len() + headers {
        ..=ANYWHERE => None,
        length => Some(!packet.may_be_cut && length <= USUAL),
    }
}

/// What the guest is told of an error, if it is.
fn why(errno: Errno) -> Option<Unreachable> {
    match errno {
        Errno::CONNREFUSED => Some(Unreachable::Port),
        Errno::HOSTUNREACH | Errno::HOSTDOWN => Some(Unreachable::Host),
        Errno::NETUNREACH | Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL => Some(Unreachable::Network),
        // Where ping sockets are closed, for one.
        Errno::ACCESS | Errno::PERM => Some(Unreachable::Prohibited),
        _ => None,
    }
}
