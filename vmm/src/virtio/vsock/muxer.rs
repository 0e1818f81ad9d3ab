//! The table of connections: which packet belongs to which, who is refused, and who speaks next.
//!
//! Pure but for the streams a [`Host`] gives: knows no queue, no epoll, no thread. Bounds what a guest
//! can make it keep: connections by their number, RSTs by [`Muxer::can_hear`].

use super::MAX_CONNECTIONS;
use super::connection::{Connection, Readiness};
use super::packet::{FromGuest, Key, Operation, TYPE_STREAM, ToGuest};
use super::stream::Host;
use crate::virtio::buffers::Slices;
use std::collections::{HashMap, HashSet, VecDeque};

/// How many RSTs may wait for the guest to give buffers before its packets are left in the queue.
const MAX_RESETS: usize = 256;

/// The table.
pub struct Muxer<H: Host> {
    host: H,
    connections: HashMap<u64, Connection<H::Stream>>,
    by_key: HashMap<Key, u64>,
    /// Of guests' connections that ended while the host had not taken all: no packet reaches them.
    lingering: HashMap<u64, Connection<H::Stream>>,
    speakers: VecDeque<u64>,
    is_speaker: HashSet<u64>,
    resets: VecDeque<Key>,
    last_id: u64,
    is_closing: bool,
}

impl<H: Host> Muxer<H> {
    /// An empty table over a host.
    pub fn new(host: H) -> Self {
        Self {
            host,
            connections: HashMap::new(),
            by_key: HashMap::new(),
            lingering: HashMap::new(),
            speakers: VecDeque::new(),
            is_speaker: HashSet::new(),
            resets: VecDeque::new(),
            last_id: 0,
            is_closing: false,
        }
    }

    /// Whether it can take in a packet: false while too many RSTs wait to be spoken.
    pub fn can_hear(&self) -> bool {
        self.resets.len() < MAX_RESETS
    }

    /// Whether [`Muxer::speak`] may have a packet.
    pub fn wants_to_speak(&self) -> bool {
        !self.resets.is_empty() || !self.speakers.is_empty()
    }

    /// Refuses every connection that is asked for from now on: nobody would serve it.
    pub fn close_to_new(&mut self) {
        self.is_closing = true;
    }

    /// How many bytes of the guest the host has not taken yet.
    pub fn kept_bytes(&self) -> usize {
        let all = self.connections.values().chain(self.lingering.values());
        all.map(Connection::kept_bytes).sum()
    }

    /// Takes in a packet from the guest; `payload` is `None` where the packet is shorter than it says.
    pub fn hear(&mut self, header: &FromGuest, payload: Option<Slices<'_>>) {
        if !header.addressed {
            return;
        }
        let known = self.by_key.get(&header.key).copied();
        let operation = Operation::from_number(header.operation);
        let operation = operation.filter(|_| header.kind == TYPE_STREAM);
        match (known, operation, payload) {
            (None, Some(Operation::Request), Some(_)) => self.open(header),
            (None, Some(Operation::Reset), _) => {}
            (None, ..) => self.resets.push_back(header.key),
            (Some(id), Some(Operation::Reset), _) => self.close(id),
            (Some(id), Some(operation), Some(payload)) => {
                let connection = self.connections.get_mut(&id);
                let heard = connection.map(|it| it.hear(operation, header, payload));
                if heard.is_some_and(|result| result.is_ok()) {
                    self.line_up(id);
                } else {
                    self.refuse(id, header.key);
                }
            }
            (Some(id), ..) => self.refuse(id, header.key),
        }
    }

    /// Takes in what the host side of a connection says; of a connection that is gone, nothing.
    pub fn host_event(&mut self, id: u64, readiness: Readiness) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.host_event(readiness);
            self.line_up(id);
        } else if let Some(connection) = self.lingering.get_mut(&id) {
            connection.host_event(readiness);
            if connection.kept_bytes() == 0 {
                self.lingering.remove(&id);
            }
        }
    }

    /// The next packet for the guest; its bytes are in `room`.
    pub fn speak(&mut self, room: &Slices<'_>) -> Option<ToGuest> {
        if let Some(key) = self.resets.pop_front() {
            return Some(ToGuest::reset(key));
        }
        // Each speaker once: one that has nothing after all, or no room for it, does not hold the others.
        for _ in 0..self.speakers.len() {
            let id = self.speakers.pop_front()?;
            self.is_speaker.remove(&id);
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let packet = connection.speak(&mut room.clone());
            if packet.is_some_and(|packet| packet.operation == Operation::Reset) {
                self.close(id);
            } else {
                self.line_up(id);
            }
            if packet.is_some() {
                return packet;
            }
        }
        None
    }

    fn open(&mut self, request: &FromGuest) {
        let id = self.last_id + 1;
        let full = self.connections.len() + self.lingering.len() >= MAX_CONNECTIONS;
        // Taken also where there is no room for it: whoever has offered it would wait for ever.
        let stream = match self.is_closing {
            true => None,
            false => self.host.connect(request.key.host_port, id),
        };
        let Some(stream) = stream.filter(|_| !full) else {
            self.resets.push_back(request.key);
            return;
        };
        self.last_id = id;
        self.connections.insert(id, Connection::accept(request, stream));
        self.by_key.insert(request.key, id);
        self.line_up(id);
    }

    fn refuse(&mut self, id: u64, key: Key) {
        self.close(id);
        self.resets.push_back(key);
    }

    /// Ends a connection for the guest; what it sent before still goes to the host.
    fn close(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.by_key.remove(&connection.key());
        if connection.kept_bytes() > 0 {
            self.lingering.insert(id, connection);
        }
    }

    fn line_up(&mut self, id: u64) {
        let wants = self.connections.get(&id).is_some_and(Connection::wants_to_speak);
        if wants && self.is_speaker.insert(id) {
            self.speakers.push_back(id);
        }
    }
}
