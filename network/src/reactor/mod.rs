//! The one thread of a network: waits for frames, sockets and alarms, and has each flow do what it does.
//!
//! Owns: all of them. Never does: wait for one of them alone, but for a guest that takes none of its frames.
//!
//! ```text
//!   wait ─▶ sockets: told to their flows ─▶ frames: heard by theirs ─▶ flows that were: settle ─▶ alarms ─▶ wait
//! ```

mod datagrams;
mod orders;
mod published;
mod streams;

use crate::NetworkError;
use crate::config::{Config, Publication, Transport};
use crate::flow::{Flow, FlowId, Kind, Table, TcpToGuest};
use crate::fragments::Fragments;
use crate::link::{Frame, Heard, Link};
use crate::names::{self, Names};
use crate::owner::{Owner, Word};
use crate::packet::{Emit, Held, IpPacket, Protocol, answer, parse};
use crate::refusals::Refusals;
use crate::route;
use published::AllPublished;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Resource;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How many frames are heard before others have their turn.
const FRAMES: usize = 64;
/// How many events are taken at a time.
const EVENTS: usize = 256;
/// What is left of the descriptors for whatever is no flow.
const OTHER_DESCRIPTORS: u64 = 64;
/// More flows than this are not wanted from one guest.
const MOST_FLOWS: usize = 1 << 17;

/// How long datagrams have to be away for others to take their place where there is no other.
const SILENT: Duration = Duration::from_secs(1);
/// How many flows are looked at for such a place.
const LOOKED_AT: usize = 8;

/// How many alarms of flows that are gone may be kept beside one for each that is there.
const SPARE_ALARMS: usize = 1024;

/// What an event is of.
const LINK: u64 = u64::MAX;
const OWNER: u64 = u64::MAX - 1;
const PUBLISHED: u64 = 1 << 63;

/// A guest's network.
pub struct Reactor {
    config: Config,
    link: Link,
    epoll: OwnedFd,
    owner: Option<Box<dyn Owner>>,
    published: AllPublished,
    is_open: bool,
    flows: Table,
    /// How often there was no room for one more.
    turned_away: u64,
    /// Flows that are to be seen to at once.
    queue: VecDeque<FlowId>,
    alarms: BinaryHeap<Reverse<(Instant, FlowId)>>,
    fragments: Fragments,
    names: Names,
    refusals: Refusals,
    /// Room for what is told of sockets.
    events: Vec<epoll::Event>,
    frame: Frame,
    datagram: Vec<u8>,
    now: Instant,
    sequence: Sequence,
}

/// First sequence numbers: nobody but the guest sees any, and it has no use for them.
#[derive(Debug)]
struct Sequence(u32);

impl Sequence {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9);
        self.0
    }
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "a network of {} flows", self.flows.len())
    }
}

impl Reactor {
    /// Takes the link and opens the published ports.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn new(config: &Config, link: OwnedFd) -> Result<Self, NetworkError> {
        let watch = |errno: Errno| NetworkError::Watch(errno.into());
        let link = Link::new(config.link, link, config.limits.bytes_per_second);
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(watch)?;
        epoll::add(&epoll, link.socket(), EventData::new_u64(LINK), EventFlags::IN)
            .map_err(watch)?;
        let published = AllPublished::open(config, &epoll)?;
        let most = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = usize::try_from(most.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(MOST_FLOWS);
        let wanted = config.limits.flows.and_then(|flows| usize::try_from(flows).ok());
        let most = most.min(wanted.unwrap_or(MOST_FLOWS)).min(MOST_FLOWS);
        Ok(Self {
            config: config.clone(),
            link,
            epoll,
            owner: None,
            published,
            is_open: true,
            flows: Table::new(most),
            turned_away: 0,
            queue: VecDeque::new(),
            alarms: BinaryHeap::new(),
            fragments: Fragments::default(),
            names: Names::default(),
            refusals: Refusals::default(),
            events: Vec::with_capacity(EVENTS),
            frame: Frame::default(),
            datagram: vec![0; usize::from(u16::MAX)],
            now: Instant::now(),
            sequence: Sequence(0),
        })
    }

    /// The published ports, as they are.
    pub fn publications(&self) -> Vec<Publication> {
        self.published.iter().map(|(_, it)| it.publication).collect()
    }

    /// Writes all frames to a file, as libpcap's tools read it.
    pub fn capture(&mut self, file: OwnedFd) {
        self.link.capture(file);
    }

    /// Serves until the guest's end of the link is closed, or the owner is gone.
    ///
    /// # Errors
    /// Where it cannot be watched any more.
    pub fn serve(mut self) -> io::Result<()> {
        while self.turn()? {}
        Ok(())
    }

    /// Waits until there is something to do, and does it. False where the guest is gone, or the owner.
    ///
    /// # Errors
    /// Where nothing can be watched any more.
    pub fn turn(&mut self) -> io::Result<bool> {
        if let Some(rest) = self.link.rest(Instant::now()) {
            // Whatever comes meanwhile waits where it is.
            let rest = Timespec::try_from(rest).unwrap_or_default();
            let _ = poll(&mut [], Some(&rest));
            return Ok(true);
        }
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        if self.link.has_room() {
            let patience = self.patience();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, patience.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        } else if !self.wait_for_room()? {
            return Ok(false);
        }
        self.now = Instant::now();
        let (mut frames, mut is_owned) = (false, true);
        for event in &events {
            let (flags, number) = (event.flags, event.data.u64());
            match number {
                LINK => frames = true,
                OWNER => is_owned = self.hear_owner(),
                _ if number & PUBLISHED != 0 => self.came_to(number & !PUBLISHED),
                _ => self.told(FlowId::of(number), flags),
            }
        }
        self.events = events;
        if !is_owned || (frames && !self.hear_frames()?) {
            return Ok(false);
        }
        self.settle();
        self.ring();
        Ok(true)
    }

    /// Waits until a guest that took none takes frames again; false where nobody owns it any more.
    fn wait_for_room(&mut self) -> io::Result<bool> {
        let speaks = {
            let socket = self.link.socket();
            let owner = self.owner.as_ref().map(|owner| owner.socket());
            let mut watched = vec![PollFd::new(&socket, PollFlags::OUT)];
            watched.extend(owner.iter().map(|owner| PollFd::new(owner, PollFlags::IN)));
            match poll(&mut watched, self.patience().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            watched.get(1).is_some_and(|owner| !owner.revents().is_empty())
        };
        self.link.flush();
        Ok(!speaks || self.hear_owner())
    }

    /// How long may be waited; `None` is for ever.
    fn patience(&self) -> Option<Timespec> {
        if !self.queue.is_empty() && self.link.has_room() {
            return Some(Timespec::default());
        }
        let Reverse((next, _)) = self.alarms.peek()?;
        // Not too early by less than what is told.
        let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        Timespec::try_from(left).ok()
    }

    /// Hears some of the guest's frames; false where it is gone.
    fn hear_frames(&mut self) -> io::Result<bool> {
        let mut frame = std::mem::take(&mut self.frame);
        let mut heard = Ok(true);
        for _ in 0..FRAMES {
            if !self.link.has_room() {
                break;
            }
            match self.link.receive(&mut frame) {
                Ok(Some(heard)) => self.hear(heard),
                Ok(None) => break,
                Err(_) => {
                    heard = Ok(false);
                    break;
                }
            }
        }
        self.frame = frame;
        heard
    }

    fn hear(&mut self, heard: Heard<'_>) {
        match parse(heard.bytes) {
            Held::WhoHas(address) => Emit { link: &mut self.link }.arp(address),
            Held::Ip(packet) => self.hear_packet(&packet, heard.is_unsummed),
            Held::Other => {}
        }
    }

    fn hear_packet(&mut self, packet: &IpPacket<'_>, is_unsummed: bool) {
        let whole;
        let packet = match packet.piece {
            None => packet,
            Some(piece) => {
                let Some(body) = self.fragments.add(packet, piece, self.now) else { return };
                whole = body;
                &IpPacket { body: &whole, piece: None, ..*packet }
            }
        };
        // The guest may have it from elsewhere: it is spoilt for whoever the bytes go to, too.
        if !is_unsummed && !packet.is_sound() {
            return;
        }
        let is_control = packet.protocol == Protocol::Icmp;
        let is_ours = route::is_ours(packet.target);
        if is_control && answer(packet, &mut Emit { link: &mut self.link }, is_ours) {
            return;
        }
        // Nobody else has an address on this link.
        if packet.source != route::guest(packet.source) {
            return;
        }
        match packet.protocol {
            Protocol::Tcp => self.hear_segment(packet),
            Protocol::Udp => self.hear_datagram(packet),
            Protocol::Icmp => self.hear_echo(packet),
        }
    }

    /// Whom something goes to outside, where that is open to the guest.
    fn outside(&mut self, to: SocketAddr, transport: Option<Transport>) -> Option<SocketAddr> {
        let names: Vec<(&str, bool)> = self.names.of(to.ip(), self.now).collect();
        let outside = route::outside(&self.config, to, transport, &names);
        if outside.is_none() {
            let asked = names.iter().find(|(_, is_asked)| *is_asked).map(|(name, _)| *name);
            let refusal = self.refusals.add(to, transport, asked);
            refusal.into_iter().for_each(|it| self.tell(Word::Refused(it)));
        }
        outside
    }

    /// A flow's socket has something.
    fn told(&mut self, id: FlowId, events: EventFlags) {
        let Some(flow) = self.flows.get(id) else { return };
        match flow.kind {
            Kind::Streams(_) => self.told_streams(id, events),
            Kind::Datagrams(_) => self.told_datagrams(id),
        }
    }

    /// Sees to the flows that something was told of, as far as the link has room.
    fn settle(&mut self) {
        for _ in 0..self.queue.len() {
            if !self.link.has_room() {
                return;
            }
            let Some(id) = self.queue.pop_front() else { return };
            let Some(flow) = self.flows.get(id) else { continue };
            flow.queued = false;
            let key = flow.key;
            if let Kind::Streams(streams) = &mut flow.kind {
                let mut inside = TcpToGuest { link: &mut self.link, key };
                let is_held_up = streams.settle(self.now, &mut inside);
                let answers = streams.what_came().map(names::read_all).unwrap_or_default();
                answers.into_iter().for_each(|answer| self.names.learn(answer, self.now));
                if streams.connection.is_over() {
                    self.end_streams(id);
                    continue;
                }
                if is_held_up {
                    self.see_to(id);
                }
            }
            self.arm(id);
        }
    }

    /// Has a flow seen to before anything is waited for.
    fn see_to(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get(id)
            && !std::mem::replace(&mut flow.queued, true)
        {
            self.queue.push_back(id);
        }
    }

    /// Sets a flow's alarm. One that rings too early is set again then, which is rarer than that it is moved.
    fn arm(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else { return };
        let due = flow.due();
        if flow.armed.is_none_or(|armed| due < armed) {
            flow.armed = Some(due);
            self.alarms.push(Reverse((due, id)));
            if self.alarms.len() > 2 * self.flows.len() + SPARE_ALARMS {
                let flows = &mut self.flows;
                let is_set = |at, id| flows.get(id).is_some_and(|flow| flow.armed == Some(at));
                let mut is_set = is_set;
                self.alarms.retain(|Reverse((at, id))| is_set(*at, *id));
            }
        }
    }

    fn ring(&mut self) {
        while let Some(Reverse((at, id))) = self.alarms.peek().copied()
            && at <= self.now
        {
            self.alarms.pop();
            let Some(flow) = self.flows.get(id) else { continue };
            if flow.armed != Some(at) {
                continue;
            }
            flow.armed = None;
            let is_due = flow.due() <= self.now;
            match flow.kind {
                _ if !is_due => {}
                Kind::Streams(_) => self.remind_streams(id),
                Kind::Datagrams(_) => self.forget(id),
            }
            self.arm(id);
        }
    }

    /// Whether there is room for one more flow. Where there is none, the datagrams that have been away for longest give way:
    /// a guest that sends to many does not keep itself from all else for as long as those are remembered.
    fn has_room(&mut self) -> bool {
        for _ in 0..LOOKED_AT {
            if !self.flows.is_full() {
                return true;
            }
            let Some(Reverse((at, id))) = self.alarms.pop() else { break };
            let Some(flow) = self.flows.get(id).filter(|flow| flow.armed == Some(at)) else {
                continue;
            };
            flow.armed = None;
            let is_silent = self.now.saturating_duration_since(flow.last) >= SILENT;
            if is_silent && matches!(flow.kind, Kind::Datagrams(_)) {
                self.forget(id);
            } else {
                self.arm(id);
            }
        }
        let has_room = !self.flows.is_full();
        self.turned_away += u64::from(!has_room);
        has_room
    }

    /// Forgets a flow, and closes its socket.
    fn forget(&mut self, id: FlowId) {
        drop(self.flows.remove(id));
        self.let_in();
    }

    /// Adds a flow, with what is to be told of its socket.
    fn add(&mut self, flow: Flow, events: EventFlags) -> Option<FlowId> {
        let id = self.flows.add(flow)?;
        let number = EventData::new_u64(id.number());
        let socket = self.flows.get(id)?.socket()?;
        let watched = match epoll::add(&self.epoll, socket, number, events) {
            // It was another flow's.
            Err(Errno::EXIST) => epoll::modify(&self.epoll, socket, number, events),
            watched => watched,
        };
        if watched.is_err() {
            self.flows.remove(id);
            return None;
        }
        self.arm(id);
        Some(id)
    }
}

#[cfg(test)]
mod tests;
