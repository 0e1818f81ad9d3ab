//! What a network is, as plain data: what whoever starts the process decides.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The guest's own hardware address.
pub const GUEST_MAC: [u8; 6] = [0x02, 0xcf, 0, 0, 0, 2];
/// That of all else on its link.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0xcf, 0, 0, 0, 1];
/// The largest packet on the guest's link, in bytes. As large as one can be without a header that grows.
pub const MTU: u16 = 65520;

/// The guest's addresses: a prefix that is kept for the two ends of one link (RFC 7335), so that no network out there is hidden.
pub const GUEST_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);
/// Whom it sends to what lies beyond. It is this place, too.
pub const GATEWAY_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);
/// The length of the prefix that they share.
pub const PREFIX_IPV4: u8 = 29;
/// The same for IPv6: a prefix of nobody else's (RFC 4193).
pub const GUEST_IPV6: Ipv6Addr = Ipv6Addr::new(0xfdcf, 0x6665, 0x7264, 0x616d, 0, 0, 0, 2);
/// The same for IPv6.
pub const GATEWAY_IPV6: Ipv6Addr = Ipv6Addr::new(0xfdcf, 0x6665, 0x7264, 0x616d, 0, 0, 0, 1);
/// The same for IPv6.
pub const PREFIX_IPV6: u8 = 64;
/// Where the guest asks for names: the first address stands for the first name server, and so on.
pub const NAME_SERVERS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(192, 0, 0, 3), Ipv4Addr::new(192, 0, 0, 4), Ipv4Addr::new(192, 0, 0, 5)];

/// One guest's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How frames come.
    pub link: LinkKind,
    /// Whom the addresses of [`NAME_SERVERS`] stand for, in order; more are not asked.
    pub name_servers: Vec<SocketAddr>,
    /// What of the outside is open to the guest.
    pub policy: Policy,
    /// What of the guest is open to the outside.
    pub published: Vec<Publication>,
    /// How much of it there may be.
    pub limits: Limits,
}

/// How much of a network there may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The most flows at a time; without, what the limit of descriptors has room for.
    pub flows: Option<u32>,
    /// The most bytes in a second, each way.
    pub bytes_per_second: Option<u64>,
}

/// How frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkKind {
    /// A socket of packets: each is a `virtio_net_hdr_v1` (12 bytes, VirtIO 1.2 §5.1.6) and a frame. Our own VMM's.
    Packets,
    /// A socket of bytes: each frame comes behind its length, four bytes, the largest first. QEMU's `-netdev stream`.
    Stream,
}

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What of the outside is open to the guest. The first rule that fits decides; then what is never open unasked is not
/// (loopback, link-local and metadata addresses); then the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// In the order in which they are asked.
    pub rules: Vec<Rule>,
    /// What no rule fits is open.
    pub open: bool,
}

/// A rule of a [`Policy`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Open, or closed.
    pub open: bool,
    /// Whom it is about.
    pub whom: Whom,
    /// Which ports, both ends with them; ICMP has none, and fits all.
    pub ports: (u16, u16),
    /// Which transport, if not all.
    pub transport: Option<Transport>,
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// An address, of which this many bits count. The gateway's is this place's loopback.
    Network(IpAddr, u8),
    /// Whoever has this name, as the guest's name servers told it: `example.org`, or `*.example.org` for all that end so.
    /// Such a rule opens no address that is closed unasked, nor a private one: who has a name has it say what they like.
    Name(String),
}

/// A port outside that leads to one of the guest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Publication {
    /// Where it is outside; port 0 is any that is free.
    pub outside: SocketAddr,
    /// The guest's port.
    pub inside: u16,
    /// Its transport.
    pub transport: Transport,
}
