//! What of the outside is open to a guest. Pure.
//!
//! Owns: the answer, by address, port and transport. Never does: know a name: rules about names become rules about the
//! addresses that their server has told.

use crate::config::{GATEWAY_IPV4, GATEWAY_IPV6, PREFIX_IPV6, Policy, Rule, Transport, Whom};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is closed unless a rule opens it: addresses that mean this place itself, its link, or whoever runs the machine it
/// is on and tells it secrets.
const CLOSED_IPV4: [([u8; 4], u8); 9] = [
    // This host, and this place's loopback.
    ([0, 0, 0, 0], 8),
    ([127, 0, 0, 0], 8),
    // Link-local: most clouds' metadata are at 169.254.169.254, credentials of tasks at 169.254.170.2.
    ([169, 254, 0, 0], 16),
    // The guest's own link.
    ([192, 0, 0, 0], 29),
    // Metadata of Oracle's, Alibaba's and Microsoft's clouds.
    ([192, 0, 0, 192], 32),
    ([100, 100, 100, 200], 32),
    ([168, 63, 129, 16], 32),
    // Groups, and what is kept; broadcasts.
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// The same for IPv6.
const CLOSED_IPV6: [([u16; 8], u8); 9] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128),
    // IPv4 in disguise, which no honest packet has.
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    // Metadata of Amazon's and Google's clouds.
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128),
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// Where a guest wants to send.
#[derive(Debug, Clone, Copy)]
pub struct Target<'n> {
    /// The address.
    pub address: IpAddr,
    /// The port there, where there are ports.
    pub port: Option<u16>,
    /// By what, where it is one of those.
    pub transport: Option<Transport>,
    /// The names of the address that are known, and whether each was itself asked for.
    pub names: &'n [(&'n str, bool)],
}

impl Policy {
    /// Whether a guest may send there.
    pub fn permits(&self, to: Target<'_>) -> bool {
        let within = embedded(to.address).map(|within| Target { address: within.into(), ..to });
        self.permits_as_it_is(to) && within.is_none_or(|within| self.permits_as_it_is(within))
    }

    fn permits_as_it_is(&self, to: Target<'_>) -> bool {
        let rule = self.rules.iter().find(|rule| rule.fits(to));
        rule.map_or_else(|| self.open && !is_closed(to.address), |rule| rule.open)
    }
}

impl Rule {
    fn fits(&self, to: Target<'_>) -> bool {
        let (from, until) = self.ports;
        self.is_about(to)
            && to.port.is_none_or(|port| (from..=until).contains(&port))
            && (self.transport.is_none()
                || to.transport.is_none()
                || self.transport == to.transport)
    }

    fn is_about(&self, to: Target<'_>) -> bool {
        let wanted = match &self.whom {
            // Whoever opens all there is does not mean what is closed to all.
            Whom::Network(_, 0) if self.open && is_closed(to.address) => return false,
            Whom::Network(network, bits) => return is_within(to.address, (*network, *bits)),
            Whom::Name(wanted) => wanted,
        };
        // A name that only stands between what was asked for and its address can be anybody's word: it closes, and opens
        // nothing.
        let mut names = to.names.iter().filter(|(_, is_asked)| *is_asked || !self.open);
        let has_name = names.any(|(name, _)| match wanted.strip_prefix('*') {
            Some(end) => name.strip_suffix(end).is_some_and(|before| !before.is_empty()),
            None => name == wanted,
        });
        has_name && !(self.open && (is_closed(to.address) || is_private(to.address)))
    }
}

/// Whether it is of a network that is not everybody's (RFC 1918, 6598, 4193).
fn is_private(address: IpAddr) -> bool {
    const IPV4: [([u8; 4], u8); 4] =
        [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([100, 64, 0, 0], 10)];
    const IPV6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);
    let mut ipv4 = IPV4.iter().map(|(network, bits)| (Ipv4Addr::from(*network).into(), *bits));
    ipv4.any(|network| is_within(address, network)) || is_within(address, (IPV6.0.into(), IPV6.1))
}

/// Whether it is closed where no rule is about it.
fn is_closed(address: IpAddr) -> bool {
    let own_link = (IpAddr::V6(GATEWAY_IPV6), PREFIX_IPV6);
    address == IpAddr::V4(GATEWAY_IPV4)
        || is_within(address, own_link)
        || match address {
            IpAddr::V4(_) => CLOSED_IPV4.iter().any(|(network, bits)| {
                is_within(address, (Ipv4Addr::from(*network).into(), *bits))
            }),
            IpAddr::V6(_) => CLOSED_IPV6.iter().any(|(network, bits)| {
                is_within(address, (Ipv6Addr::from(*network).into(), *bits))
            }),
        }
}

fn is_within(address: IpAddr, (network, bits): (IpAddr, u8)) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differ = u32::from(address) ^ u32::from(network);
            differ.checked_shr(32u32.saturating_sub(bits.into())).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differ = u128::from(address) ^ u128::from(network);
            differ.checked_shr(128u32.saturating_sub(bits.into())).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// The IPv4 address that somebody on the way may make of one for IPv6: translated (RFC 6052), or by a tunnel (RFC 3056).
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let bytes = address.octets();
    let part = |at: usize| {
        let part: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(part))
    };
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => part(12),
        [0x2002, ..] => part(2),
        _ => address.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests;
