//! Sockets outside. None ever waits.
//!
//! Owns: how they are made, and what one is known to have for us. Never does: decide whether it may be made.

use crate::config::{Publication, Transport};
use crate::tcp::{Outside, READ_BYTES};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu, ipv6_mtu, set_ip_mtu_discover,
    set_ipv6_mtu_discover, set_ipv6_v6only, set_socket_keepalive, set_socket_linger,
    set_socket_reuseaddr, set_tcp_nodelay,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, bind, connect,
    getsockname, ipproto, listen, recv, send, shutdown, socket_with,
};
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
/// How many may wait to be let in by a published port.
const BACKLOG: i32 = 1024;

fn family(of: IpAddr) -> AddressFamily {
    match of {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    }
}

/// A socket that is, or is about to be, connected to this place.
pub fn tcp(to: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = socket_with(family(to.ip()), SocketType::STREAM, FLAGS, None)?;
    prepare(&socket)?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// Sets what every stream has: what the guest sends goes out as it comes, and whoever is gone is noticed.
pub fn prepare(socket: &OwnedFd) -> Result<(), Errno> {
    set_tcp_nodelay(socket, true)?;
    set_socket_keepalive(socket, true)
}

/// A socket for datagrams to and from this place alone, by the port of a `sibling` where there is one.
pub fn udp(to: SocketAddr, sibling: Option<BorrowedFd<'_>>) -> Result<OwnedFd, Errno> {
    let socket = socket_with(family(to.ip()), SocketType::DGRAM, FLAGS, None)?;
    if let Some(sibling) = sibling {
        // Of the other kind of address it may be another's: then this one gets a port of its own.
        let _ = share_port(&socket, to, sibling);
    }
    connect(&socket, &to)?;
    if sibling.is_some() {
        // Between its port and its peer it has been open to anybody.
        while recv(&socket, &mut [0u8; 1], RecvFlags::DONTWAIT | RecvFlags::TRUNC).is_ok() {}
    }
    Ok(socket)
}

/// Binds a socket to the port of another. The kernel gives each what comes from its peer.
fn share_port(socket: &OwnedFd, to: SocketAddr, sibling: BorrowedFd<'_>) -> Result<(), Errno> {
    let any: IpAddr = match to.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let port = SocketAddr::try_from(getsockname(sibling)?)?.port();
    // Only now: a port that is not asked for by its number is given to nobody who may share it.
    set_socket_reuseaddr(sibling, true)?;
    set_socket_reuseaddr(socket, true)?;
    bind(socket, &SocketAddr::new(any, port))
}

/// Has datagrams sent whole or not at all, or else cut where they are too long.
pub fn keep_whole(socket: &OwnedFd, to: SocketAddr, whole: bool) -> Result<(), Errno> {
    match (to, whole) {
        (SocketAddr::V4(_), true) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DO),
        (SocketAddr::V4(_), false) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::WANT),
        (SocketAddr::V6(_), true) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DO),
        (SocketAddr::V6(_), false) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::WANT),
    }
}

/// The longest packet that gets to a socket's peer, as far as the kernel knows.
pub fn path_mtu(socket: &OwnedFd, to: SocketAddr) -> Option<u16> {
    let most = if to.is_ipv4() { ip_mtu(socket) } else { ipv6_mtu(socket) };
    u16::try_from(most.ok()?).ok()
}

/// A socket for echoes to and from this address alone, where the kernel lets its user have one.
pub fn ping(to: IpAddr) -> Result<OwnedFd, Errno> {
    let protocol = if to.is_ipv4() { ipproto::ICMP } else { ipproto::ICMPV6 };
    let socket = socket_with(family(to), SocketType::DGRAM, FLAGS, Some(protocol))?;
    connect(&socket, &SocketAddr::new(to, 0))?;
    Ok(socket)
}

/// A socket that others reach at a published port.
pub fn published(publication: &Publication) -> Result<OwnedFd, Errno> {
    let kind = match publication.transport {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let address = publication.outside;
    let socket = socket_with(family(address.ip()), kind, FLAGS, None)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    if publication.transport == Transport::Tcp {
        // Connections of the last sandbox that are not forgotten yet are no reason to refuse.
        set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    if publication.transport == Transport::Tcp {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

/// A stream, and what it is known to have: it is told once, when that changes.
#[derive(Debug)]
pub struct Stream {
    socket: OwnedFd,
    readable: bool,
    writable: bool,
    /// The other side has said that no more comes, or is gone: a short read is not the last then.
    ended: bool,
    /// What came, where somebody wants to see that, too.
    seen: Option<Vec<u8>>,
}

impl Stream {
    /// A stream that may have anything.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, readable: true, writable: true, ended: false, seen: None }
    }

    /// The same, where what comes is kept to be looked at.
    pub fn seen(socket: OwnedFd) -> Self {
        Self { seen: Some(Vec::new()), ..Self::new(socket) }
    }

    /// What came and was not taken off by who looks at it.
    pub fn what_came(&mut self) -> Option<&mut Vec<u8>> {
        self.seen.as_mut()
    }

    /// The socket.
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Takes in what is told of it.
    pub fn told(&mut self, events: EventFlags) {
        let lost = EventFlags::HUP | EventFlags::ERR;
        self.readable |= events.intersects(EventFlags::IN | EventFlags::RDHUP | lost);
        self.writable |= events.intersects(EventFlags::OUT | lost);
        self.ended |= events.intersects(EventFlags::RDHUP | lost);
    }

    /// Has the other side told that the connection is gone, and not that it has ended.
    pub fn reset(&self) {
        let _ = set_socket_linger(&self.socket, Some(Duration::ZERO));
    }
}

impl Outside for Stream {
    fn read(&mut self, into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        if !self.readable {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut block = [MaybeUninit::uninit(); READ_BYTES];
        let room = block.get_mut(..most.min(READ_BYTES)).unwrap_or_default();
        let asked = room.len();
        match rustix::io::read(&self.socket, room) {
            Ok((came, _)) => {
                // All that was there has come; what comes from now on is told.
                self.readable = came.len() == asked || self.ended;
                into.extend_from_slice(came);
                if let Some(seen) = &mut self.seen {
                    seen.extend_from_slice(came);
                }
                Ok(came.len())
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                Err(ErrorKind::WouldBlock.into())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if !self.writable {
            return Err(ErrorKind::WouldBlock.into());
        }
        match send(&self.socket, from, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN) => {
                self.writable = false;
                Err(ErrorKind::WouldBlock.into())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn end(&mut self) {
        // Where that fails the connection is gone, and reading says so.
        let _ = shutdown(&self.socket, Shutdown::Write);
    }
}
