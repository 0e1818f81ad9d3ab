//! What is said to the kernel of network devices, and what it says, as bytes: the few messages of rtnetlink(7)
//! that a container's network takes. Pure.
//!
//! Ours, because the crates for it know every attribute that there is, and six are wanted.

#![allow(
    clippy::cast_possible_truncation,
    reason = "constants and lengths that fit the kernel's types"
)]

use std::fmt;
use std::net::IpAddr;
use std::os::fd::RawFd;

/// What the device is called where a container sees it.
pub const NAME: &str = "eth0";

/// struct nlmsghdr.
const HEADER_BYTES: usize = 16;
/// struct ifinfomsg.
const LINK_BYTES: usize = 16;
/// struct nlattr.
const ATTRIBUTE_BYTES: usize = 4;

const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACKNOWLEDGE: u16 = libc::NLM_F_ACK as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
/// What is there already is no error.
const PUT: u16 = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;

const FAILED: u16 = libc::NLMSG_ERROR as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;

const UP: u32 = libc::IFF_UP as u32;
/// The first interface of every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Attributes of an interface, from linux/if_link.h.
mod link {
    pub const NAME: u16 = 3;
    pub const MTU: u16 = 4;
    pub const NAMESPACE_BY_FILE: u16 = 28;
    pub const WANTED: u16 = 29;
    pub const NEW_INDEX: u16 = 49;
    pub const HARDWARE: u16 = 56;
}

/// One thing to be done, mostly to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Into the network namespace of this open file, as [`NAME`] and under the same index.
    Move(RawFd),
    /// The loopback interface comes up.
    Loopback,
    /// The device comes up, for packets of so many bytes at most.
    Up(u16),
    /// It has this address, on a link of all that have this many bits of it in common.
    Address(IpAddr, u8),
    /// What is on no link goes this way.
    Gateway(IpAddr),
}

impl Change {
    /// What is done to that which it is shown as.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Move(_) => "move",
            Self::Loopback | Self::Up(_) => "bring up",
            Self::Address(..) => "give the network device",
            Self::Gateway(_) => "route by",
        }
    }

    fn message(self, device: u32, sequence: u32, flags: u16) -> Message {
        match self {
            Self::Move(namespace) => {
                let name = [NAME.as_bytes(), &[0]].concat();
                Message::begin(libc::RTM_SETLINK, flags, sequence, &interface(device, 0))
                    .attribute(link::NAMESPACE_BY_FILE, &namespace.to_ne_bytes())
                    .attribute(link::NEW_INDEX, &device.to_ne_bytes())
                    .attribute(link::NAME, &name)
            }
            Self::Loopback => {
                let header = interface(LOOPBACK_INDEX, UP);
                Message::begin(libc::RTM_SETLINK, flags, sequence, &header)
            }
            Self::Up(mtu) => {
                Message::begin(libc::RTM_SETLINK, flags, sequence, &interface(device, UP))
                    .attribute(link::MTU, &u32::from(mtu).to_ne_bytes())
            }
            Self::Address(address, prefix) => {
                // struct ifaddrmsg. Nobody else is on the link: the address is not looked for there first.
                let kind = [family(address), prefix, libc::IFA_F_NODAD as u8, 0];
                let header = [kind, device.to_ne_bytes()].concat();
                let octets = octets(address);
                Message::begin(libc::RTM_NEWADDR, flags | PUT, sequence, &header)
                    .attribute(libc::IFA_LOCAL, &octets)
                    .attribute(libc::IFA_ADDRESS, &octets)
            }
            Self::Gateway(address) => {
                // struct rtmsg: to everywhere, from everywhere.
                let header = [
                    [family(address), 0, 0, 0],
                    [
                        libc::RT_TABLE_MAIN,
                        libc::RTPROT_STATIC,
                        libc::RT_SCOPE_UNIVERSE,
                        libc::RTN_UNICAST,
                    ],
                    [0; 4],
                ];
                Message::begin(libc::RTM_NEWROUTE, flags | PUT, sequence, &header.concat())
                    .attribute(libc::RTA_GATEWAY, &octets(address))
                    .attribute(libc::RTA_OIF, &device.to_ne_bytes())
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Move(_) => write!(f, "the machine's network device to the container"),
            Self::Loopback => write!(f, "the loopback interface"),
            Self::Up(mtu) => write!(f, "the network device for packets of {mtu} bytes"),
            Self::Address(address, prefix) => write!(f, "{address}/{prefix}"),
            Self::Gateway(address) => write!(f, "{address}"),
        }
    }
}

/// Asks for all interfaces, without their statistics.
pub fn list() -> Vec<u8> {
    let wanted = libc::RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    Message::begin(libc::RTM_GETLINK, REQUEST | DUMP, 0, &interface(0, 0))
        .attribute(link::WANTED, &wanted)
        .end()
}

/// All changes to the device of this index, one after the other; their numbers are their places. The kernel answers to
/// those that fail, and to the last.
pub fn changes(changes: &[Change], device: u32) -> Vec<u8> {
    let last = changes.len().saturating_sub(1);
    let mut bytes = Vec::with_capacity(512);
    for ((index, change), sequence) in changes.iter().enumerate().zip(0..) {
        let flags = if index == last { REQUEST | ACKNOWLEDGE } else { REQUEST };
        bytes.extend(change.message(device, sequence, flags).end());
    }
    bytes
}

/// A network device that is more than a name: there is hardware behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number in its network namespace.
    pub index: u32,
    /// Its name there.
    pub name: String,
    /// Whether somebody has brought it up.
    pub is_up: bool,
}

/// What the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// There is this Ethernet device.
    Device(Device),
    /// All that was asked for has been said, or done.
    Done,
    /// The message of this number came to nothing, for this error.
    Refused {
        /// Its number.
        sequence: u32,
        /// The error's number.
        errno: i32,
    },
}

/// What of interest is in something that was received.
pub fn answers(mut received: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    while let Some((message, rest)) = split(received, word(received, 0), HEADER_BYTES) {
        received = rest;
        let kind = half(message, 4).unwrap_or_default();
        let body = message.get(HEADER_BYTES..).unwrap_or_default();
        match kind {
            DONE => found.push(Answer::Done),
            FAILED => found.push(match word(body, 0).unwrap_or_default().cast_signed() {
                0 => Answer::Done,
                error => Answer::Refused {
                    sequence: word(message, 8).unwrap_or_default(),
                    errno: error.wrapping_neg(),
                },
            }),
            libc::RTM_NEWLINK => found.extend(device(body).map(Answer::Device)),
            _ => {}
        }
    }
    found
}

/// An interface, where it is an Ethernet device with hardware.
fn device(body: &[u8]) -> Option<Device> {
    let (kind, index, flags) = (half(body, 2)?, word(body, 4)?, word(body, 8)?);
    let mut attributes = body.get(LINK_BYTES..)?;
    let (mut name, mut is_hardware) = (None, false);
    let length = |bytes| half(bytes, 0).map(u32::from);
    while let Some((attribute, rest)) = split(attributes, length(attributes), ATTRIBUTE_BYTES) {
        attributes = rest;
        match half(attribute, 2)? {
            link::NAME => name = attribute.get(ATTRIBUTE_BYTES..),
            link::HARDWARE => is_hardware = true,
            _ => {}
        }
    }
    let name = String::from_utf8_lossy(name?).trim_end_matches('\0').to_owned();
    let is_up = flags & UP != 0;
    (kind == libc::ARPHRD_ETHER && is_hardware).then_some(Device { index, name, is_up })
}

/// The first part of some bytes, which is this long and not shorter than `least`, and what follows it: every part begins at a
/// multiple of four. `None` where nothing more is whole.
fn split(bytes: &[u8], length: Option<u32>, least: usize) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(length?).ok().filter(|length| *length >= least)?;
    let part = bytes.get(..length)?;
    Some((part, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// struct ifinfomsg, with these of its flags set and all others left.
fn interface(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].map(u32::to_ne_bytes).concat()
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A message that attributes are added to.
struct Message(Vec<u8>);

impl Message {
    fn begin(kind: u16, flags: u16, sequence: u32, header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        // Its length comes at its end.
        bytes.extend([0; 4]);
        bytes.extend([kind, flags].map(u16::to_ne_bytes).concat());
        bytes.extend([sequence, 0].map(u32::to_ne_bytes).concat());
        bytes.extend(header);
        Self(bytes)
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = (ATTRIBUTE_BYTES + value.len()) as u16;
        self.0.extend([length, kind].map(u16::to_ne_bytes).concat());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn end(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests;
