//! Published ports: whoever comes to one outside comes to the guest.

use super::datagrams::give;
use super::{PUBLISHED, Reactor};
use crate::NetworkError;
use crate::config::{Config, Publication, Transport};
use crate::flow::{Datagrams, Flow, Key, Kind, Way};
use crate::outside;
use crate::packet::{Emit, Protocol};
use crate::route;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketAddrAny, SocketFlags, acceptfrom_with, getsockname, recvfrom};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// How many are let in before others have their turn.
const AT_A_TIME: usize = 32;

/// A published port.
#[derive(Debug)]
pub struct Published {
    /// What it is, with the port that it has.
    pub publication: Publication,
    /// Its socket.
    pub socket: OwnedFd,
}

/// All of them, each by a number that no other ever has.
#[derive(Debug, Default)]
pub struct AllPublished {
    all: BTreeMap<u64, Published>,
    next: u64,
}

impl AllPublished {
    /// Opens all that a configuration has, and has them watched.
    pub fn open(config: &Config, epoll: &OwnedFd) -> Result<Self, NetworkError> {
        let mut published = Self::default();
        let mut before: Option<Publication> = None;
        for wanted in &config.published {
            let mut publication = *wanted;
            // One that is any stands for one port, of both kinds of address.
            if let Some(before) = before
                && wanted.outside.port() == 0
                && (before.inside, before.transport) == (wanted.inside, wanted.transport)
                && before.outside.is_ipv4() != wanted.outside.is_ipv4()
            {
                publication.outside.set_port(before.outside.port());
            }
            before =
                Some(published.add(publication, epoll).map_err(|errno| NetworkError::Publish {
                    publication,
                    source: errno.into(),
                })?);
        }
        Ok(published)
    }

    /// Opens one; gives it with the port that it has.
    pub fn add(
        &mut self,
        mut publication: Publication,
        epoll: &OwnedFd,
    ) -> Result<Publication, Errno> {
        let socket = outside::published(&publication)?;
        let bound = SocketAddr::try_from(getsockname(&socket)?)?;
        let number = self.next;
        epoll::add(epoll, &socket, EventData::new_u64(PUBLISHED | number), EventFlags::IN)?;
        self.next += 1;
        publication.outside.set_port(bound.port());
        self.all.insert(number, Published { publication, socket });
        Ok(publication)
    }

    /// Closes one. Whoever has come stays; datagrams have no way any more.
    pub fn remove(&mut self, publication: &Publication) {
        self.all.retain(|_, it| it.publication != *publication);
    }

    /// The one of this number.
    pub fn get(&self, number: &u64) -> Option<&Published> {
        self.all.get(number)
    }

    /// The one by which datagrams from this end of the guest's go to this place: it is known by it already.
    pub fn of_datagrams(&self, guest: SocketAddr, to: SocketAddr) -> Option<u64> {
        let is_it = |Published { publication: it, .. }: &Published| {
            let outside = it.outside.ip();
            (it.transport, it.inside) == (Transport::Udp, guest.port())
                && outside.is_unspecified()
                && outside.is_ipv4() == to.is_ipv4()
        };
        self.all.iter().find(|(_, published)| is_it(published)).map(|(number, _)| *number)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// All, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Published)> {
        self.all.iter().map(|(number, published)| (*number, published))
    }
}

impl Reactor {
    /// Somebody has come to a published port.
    pub(super) fn came_to(&mut self, number: u64) {
        let Some(transport) = self.published.get(&number).map(|it| it.publication.transport) else {
            return;
        };
        for _ in 0..AT_A_TIME {
            if !self.link.has_room() {
                return;
            }
            let came = match transport {
                Transport::Tcp => self.accept(number),
                Transport::Udp => self.receive(number),
            };
            if came.is_none() {
                return;
            }
        }
    }

    fn accept(&mut self, number: u64) -> Option<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        if !self.has_room() {
            self.shut();
            return None;
        }
        let Published { publication, socket } = self.published.get(&number)?;
        let inside = publication.inside;
        let (socket, peer) = match acceptfrom_with(socket, flags) {
            Ok((socket, peer)) => (socket, SocketAddr::try_from(peer?).ok()?),
            // Whoever that was is gone again.
            Err(Errno::CONNABORTED | Errno::INTR) => return Some(()),
            Err(Errno::AGAIN) => return None,
            Err(_) => {
                self.shut();
                return None;
            }
        };
        if outside::prepare(&socket).is_ok() {
            self.call(key(Protocol::Tcp, peer, inside), outside::Stream::new(socket));
        }
        Some(())
    }

    fn receive(&mut self, number: u64) -> Option<()> {
        let Published { publication, socket } = self.published.get(&number)?;
        let received = recvfrom(socket, self.datagram.as_mut_slice(), RecvFlags::DONTWAIT);
        let (count, peer) = match received {
            Ok((count, _, peer)) => (count, peer_of(peer)?),
            Err(Errno::AGAIN) => return None,
            // Of a datagram that went the other way.
            Err(_) => return Some(()),
        };
        let key = key(Protocol::Udp, peer, publication.inside);
        let known = self.flows.find(&key);
        if let Some(flow) = known.and_then(|id| self.flows.get(id)) {
            flow.last = self.now;
        } else if !self.has_room() {
            return Some(());
        } else {
            let kind = Kind::Datagrams(Datagrams::new(Way::Published(number), peer));
            let id = self.flows.add(Flow::new(key, kind, self.now));
            let Some(id) = id else { return Some(()) };
            self.arm(id);
        }
        let bytes = self.datagram.get_mut(..count).unwrap_or_default();
        give(&mut Emit { link: &mut self.link }, key, bytes);
        Some(())
    }

    /// Lets nobody in by a published port, because there is no room.
    fn shut(&mut self) {
        self.is_open = false;
        self.watch_published(EventFlags::empty());
    }

    /// Lets them in again, where there is room by now.
    pub(super) fn let_in(&mut self) {
        if !self.is_open && !self.flows.is_full() {
            self.is_open = true;
            self.watch_published(EventFlags::IN);
        }
    }

    fn watch_published(&self, flags: EventFlags) {
        for (number, published) in self.published.iter() {
            let data = EventData::new_u64(PUBLISHED | number);
            // It is watched already, so that this does not fail.
            let _ = epoll::modify(&self.epoll, &published.socket, data, flags);
        }
    }
}

fn peer_of(peer: Option<SocketAddrAny>) -> Option<SocketAddr> {
    SocketAddr::try_from(peer?).ok()
}

/// What a flow is known by that began outside.
fn key(protocol: Protocol, peer: SocketAddr, inside: u16) -> Key {
    let other = route::seen_as(peer);
    Key { protocol, guest: SocketAddr::new(route::guest(other.ip()), inside), other }
}
