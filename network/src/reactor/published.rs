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

/// Opens all of them, and has them watched.
pub fn open(config: &Config, epoll: &OwnedFd) -> Result<Vec<Published>, NetworkError> {
    let mut published: Vec<Published> = Vec::new();
    for (number, wanted) in (0u64..).zip(&config.published) {
        let mut publication = *wanted;
        // One that is any stands for one port, of both kinds of address.
        if let Some(before) = published.last().map(|it| it.publication)
            && wanted.outside.port() == 0
            && (before.inside, before.transport) == (wanted.inside, wanted.transport)
            && before.outside.is_ipv4() != wanted.outside.is_ipv4()
        {
            publication.outside.set_port(before.outside.port());
        }
        let failed = |errno: Errno| NetworkError::Publish { publication, source: errno.into() };
        let socket = outside::published(&publication).map_err(failed)?;
        let bound = SocketAddr::try_from(getsockname(&socket).map_err(failed)?).map_err(failed)?;
        epoll::add(epoll, &socket, EventData::new_u64(PUBLISHED | number), EventFlags::IN)
            .map_err(failed)?;
        publication.outside.set_port(bound.port());
        published.push(Published { publication, socket });
    }
    Ok(published)
}

impl Reactor {
    /// Somebody has come to a published port.
    pub(super) fn came_to(&mut self, number: u64) {
        let Ok(index) = usize::try_from(number) else { return };
        let Some(transport) = self.published.get(index).map(|it| it.publication.transport) else {
            return;
        };
        for _ in 0..AT_A_TIME {
            if !self.link.has_room() {
                return;
            }
            let came = match transport {
                Transport::Tcp => self.accept(index),
                Transport::Udp => self.receive(index),
            };
            if came.is_none() {
                return;
            }
        }
    }

    fn accept(&mut self, index: usize) -> Option<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Published { publication, socket } = self.published.get(index)?;
        let inside = publication.inside;
        if self.flows.is_full() {
            self.shut();
            return None;
        }
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

    fn receive(&mut self, index: usize) -> Option<()> {
        let Published { publication, socket } = self.published.get(index)?;
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
        } else {
            let kind = Kind::Datagrams(Datagrams { way: Way::Published(index), peer });
            let id = self.flows.add(Flow::new(key, kind, self.now));
            // Lost, where there is no room.
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
        for (number, published) in (0u64..).zip(&self.published) {
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
