//! Flows: what passes between one end of the guest's and one of everybody else's.
//!
//! Owns: each flow's own state, and the table of all. Never does: wait, or know of other flows.

mod datagrams;
mod mapped;
mod streams;
mod table;

pub use datagrams::{Datagrams, Way};
pub use streams::{Streams, TcpToGuest, limits};
pub use table::{FlowId, Table};

use crate::packet::Protocol;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// What a flow is known by, from the guest's side. An echo's own port is its identifier, and its other one is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// What its packets are.
    pub protocol: Protocol,
    /// The guest's end.
    pub guest: SocketAddr,
    /// The other, as the guest knows it.
    pub other: SocketAddr,
}

/// A flow.
#[derive(Debug)]
pub struct Flow {
    /// What it is known by.
    pub key: Key,
    /// What it is.
    pub kind: Kind,
    /// When something of it last came.
    pub last: Instant,
    /// When its alarm rings next.
    pub armed: Option<Instant>,
    /// It is to be seen to before anything is waited for.
    pub queued: bool,
}

/// What a flow is.
#[derive(Debug)]
pub enum Kind {
    /// A connection of TCP.
    Streams(Streams),
    /// Datagrams of UDP, or echoes.
    Datagrams(Datagrams),
}

/// How long datagrams may be away before a flow is forgotten (RFC 4787, 4.3: two minutes or more).
const DATAGRAMS_IDLE: Duration = Duration::from_secs(150);
/// The same of questions for names, and of echoes.
const QUESTIONS_IDLE: Duration = Duration::from_secs(30);
/// How long a connection may be silent before the guest is asked (RFC 5382, REQ-5: two hours and four minutes).
const STREAMS_IDLE: Duration = Duration::from_secs(2 * 3600 + 4 * 60);
/// How long the guest may take to answer that.
const ANSWER_PATIENCE: Duration = Duration::from_secs(75);
const DNS: u16 = 53;

impl Flow {
    /// A flow that begins now.
    pub fn new(key: Key, kind: Kind, now: Instant) -> Self {
        Self { key, kind, last: now, armed: None, queued: false }
    }

    /// Its own socket, if it has one.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            Kind::Streams(streams) => streams.socket(),
            Kind::Datagrams(datagrams) => match datagrams.way() {
                Way::Own(socket) => Some(socket.as_fd()),
                Way::Published(_) => None,
            },
        }
    }

    /// Whether it goes by a port that is also that of others of the same end of the guest's.
    fn is_mapped(&self) -> bool {
        self.key.protocol == Protocol::Udp && self.socket().is_some()
    }

    /// When it is to be looked at, whatever comes.
    pub fn due(&self) -> Instant {
        match &self.kind {
            Kind::Streams(streams) => {
                let idle = self.silent_at(streams);
                streams.connection.again_at().map_or(idle, |again| again.min(idle))
            }
            Kind::Datagrams(_) => {
                let asks = self.key.protocol == Protocol::Icmp || self.key.other.port() == DNS;
                self.last + if asks { QUESTIONS_IDLE } else { DATAGRAMS_IDLE }
            }
        }
    }

    /// Whether the guest has said nothing for so long that it is to be asked.
    pub fn is_silent(&self, now: Instant) -> bool {
        matches!(&self.kind, Kind::Streams(streams) if self.silent_at(streams) <= now)
    }

    fn silent_at(&self, streams: &Streams) -> Instant {
        self.last + STREAMS_IDLE + ANSWER_PATIENCE * streams.probes
    }
}
