//! Connections of TCP: asked for, answered, ended.

use super::Reactor;
use crate::config::{GATEWAY_IPV4, GUEST_IPV4, MTU, Transport};
use crate::flow::{Flow, FlowId, Key, Kind, Streams, TcpToGuest, limits};
use crate::outside;
use crate::packet::{Emit, IpPacket, Protocol, Unreachable};
use crate::route;
use crate::tcp::{Connection, State};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
use std::net::SocketAddr;

/// A stream's socket is told of once, when something of it changes.
const EVENTS: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

impl Reactor {
    /// Hears a segment: its flow's, or the first of one.
    pub(super) fn hear_segment(&mut self, packet: &IpPacket<'_>) {
        let Ok(segment) = TcpPacket::new_checked(packet.body) else { return };
        let ends = (packet.source.into(), packet.target.into());
        let capabilities = ChecksumCapabilities::ignored();
        let Ok(segment) = TcpRepr::parse(&segment, &ends.0, &ends.1, &capabilities) else { return };
        let guest = SocketAddr::new(packet.source, segment.src_port);
        let other = SocketAddr::new(packet.target, segment.dst_port);
        let key = Key { protocol: Protocol::Tcp, guest, other };
        let is_first = segment.control == TcpControl::Syn && segment.ack_number.is_none();
        let mut known = self.flows.find(&key);
        if let Some(id) = known
            && is_first
            && self.is_lingering(id)
        {
            self.forget(id);
            known = None;
        }
        match known {
            Some(id) => self.hear_of(id, &segment),
            None if is_first => self.ask(key, &segment),
            None if segment.control != TcpControl::Rst => self.reset(key, &segment),
            None => {}
        }
    }

    fn is_lingering(&mut self, id: FlowId) -> bool {
        let Some(Flow { kind: Kind::Streams(streams), .. }) = self.flows.get(id) else {
            return false;
        };
        streams.connection.state() == State::Lingering
    }

    fn hear_of(&mut self, id: FlowId, segment: &TcpRepr<'_>) {
        let now = self.now;
        let Some(flow) = self.flows.get(id) else { return };
        flow.last = now;
        let key = flow.key;
        if let Kind::Streams(streams) = &mut flow.kind {
            streams.hear(segment, now, &mut TcpToGuest { link: &mut self.link, key });
        }
        self.see_to(id);
    }

    /// The guest asks for a connection.
    fn ask(&mut self, key: Key, syn: &TcpRepr<'_>) {
        let limits = limits(&self.link, MTU, key.other.is_ipv6());
        let mut connection = Connection::asked(syn, self.sequence.next(), limits);
        let to = self.outside(key.other, Some(Transport::Tcp));
        let Some(to) = to else {
            connection.refuse(&mut TcpToGuest { link: &mut self.link, key });
            return;
        };
        // It asks again, and by then there may be room.
        if !self.has_room() {
            return;
        }
        match outside::tcp(to) {
            Ok(socket) => {
                let stream = match route::name_server(&self.config, key.other).is_some() {
                    true => outside::Stream::seen(socket),
                    false => outside::Stream::new(socket),
                };
                let streams = Streams::new(connection, stream);
                self.add_streams(key, streams);
            }
            Err(Errno::CONNREFUSED) => {
                connection.refuse(&mut TcpToGuest { link: &mut self.link, key });
            }
            Err(errno) => self.say_unreachable(key, syn.seq_number, errno),
        }
    }

    fn add_streams(&mut self, key: Key, streams: Streams) -> Option<FlowId> {
        self.add(Flow::new(key, Kind::Streams(streams), self.now), EVENTS)
    }

    /// Says that whoever the guest asked for by this SYN cannot be reached, where it is that.
    fn say_unreachable(&mut self, key: Key, syn: TcpSeqNumber, errno: Errno) {
        let why = match errno {
            Errno::NETUNREACH | Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL => Unreachable::Network,
            Errno::HOSTUNREACH | Errno::HOSTDOWN => Unreachable::Host,
            Errno::ACCESS | Errno::PERM => Unreachable::Prohibited,
            // It has waited as long itself, or asks again.
            _ => return,
        };
        // Without its number a guest takes it for a stranger's word.
        let ports = [key.guest.port(), key.other.port()].map(u16::to_be_bytes);
        let quoted = [ports.as_flattened(), &syn.0.to_be_bytes()].concat();
        let ends = (key.guest.ip(), key.other.ip());
        let quoted = (key.protocol, quoted.as_slice());
        Emit { link: &mut self.link }.unreachable(ends, quoted, why);
    }

    /// Says that there is no such connection (RFC 9293, 3.10.7.1).
    fn reset(&mut self, key: Key, segment: &TcpRepr<'_>) {
        let fin = usize::from(segment.control == TcpControl::Fin);
        let syn = usize::from(segment.control == TcpControl::Syn);
        let end = segment.seq_number + segment.payload.len() + fin + syn;
        let answer = TcpRepr {
            control: TcpControl::Rst,
            seq_number: segment.ack_number.unwrap_or(TcpSeqNumber(0)),
            ack_number: segment.ack_number.is_none().then_some(end),
            window_len: 0,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
            ..*segment
        };
        Emit { link: &mut self.link }.tcp(key.other, key.guest, &answer, usize::MAX);
    }

    /// A connection's socket has something.
    pub(super) fn told_streams(&mut self, id: FlowId, events: EventFlags) {
        let now = self.now;
        let Some(flow) = self.flows.get(id) else { return };
        let key = flow.key;
        let Kind::Streams(streams) = &mut flow.kind else { return };
        let mut inside = TcpToGuest { link: &mut self.link, key };
        match streams.told(events, now, &mut inside) {
            Ok(()) => self.see_to(id),
            Err(errno @ (Errno::CONNREFUSED | Errno::CONNRESET)) => {
                if errno == Errno::CONNRESET {
                    // It stood already.
                    streams.connection.answered(now, &mut inside);
                }
                streams.connection.refuse(&mut inside);
                self.forget(id);
            }
            Err(errno) => {
                let syn = streams.connection.asked_by();
                self.say_unreachable(key, syn, errno);
                self.forget(id);
            }
        }
    }

    /// A connection's alarm rings.
    pub(super) fn remind_streams(&mut self, id: FlowId) {
        let now = self.now;
        let Some(flow) = self.flows.get(id) else { return };
        let is_silent = flow.is_silent(now);
        let key = flow.key;
        let Kind::Streams(streams) = &mut flow.kind else { return };
        streams.remind(is_silent, now, &mut TcpToGuest { link: &mut self.link, key });
        if streams.connection.is_over() {
            self.end_streams(id);
        }
    }

    /// A connection is over. One that came from outside by IPv6, and that the guest does not take so, comes by IPv4: most
    /// programs listen there, and whoever is outside has chosen by a name that stands for both.
    pub(super) fn end_streams(&mut self, id: FlowId) {
        let Some(flow) = self.flows.remove(id) else { return };
        let Kind::Streams(streams) = flow.kind else { return };
        if streams.was_not_answered() && flow.key.guest.is_ipv6() {
            let guest = SocketAddr::new(GUEST_IPV4.into(), flow.key.guest.port());
            let other = SocketAddr::new(GATEWAY_IPV4.into(), flow.key.other.port());
            if let Some(socket) = streams.into_socket() {
                self.call(Key { guest, other, ..flow.key }, socket);
            }
        } else {
            streams.close();
        }
        self.let_in();
    }

    /// Calls the guest for whoever has come.
    pub(super) fn call(&mut self, key: Key, socket: outside::Stream) {
        let limits = limits(&self.link, MTU, key.other.is_ipv6());
        if self.flows.find(&key).is_some() || !self.has_room() {
            socket.reset();
            return;
        }
        let mut inside = TcpToGuest { link: &mut self.link, key };
        let first = self.sequence.next();
        let connection = Connection::called(first, limits, self.now, &mut inside);
        self.add_streams(key, Streams::new(connection, socket));
    }
}
