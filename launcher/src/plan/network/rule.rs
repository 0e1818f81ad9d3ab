//! `--allow` and `--deny`: whom a rule is about.

use super::{Mistake, ports, transport};
use network::config::{GATEWAY_IPV4, GATEWAY_IPV6, Rule, Transport};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All ports.
const ALL_PORTS: (u16, u16) = (0, u16::MAX);

/// `WHAT[:PORT[-PORT]][/tcp|/udp]`, WHAT being an address, a network, `loopback`, which is this place's, or `all`. IPv6 stands in
/// brackets before a port, with the length of its prefix within or behind.
///
/// # Errors
/// [`Mistake`].
pub(super) fn rules(typed: &str, open: bool) -> Result<Vec<Rule>, Mistake> {
    let (rest, transport) = with_transport(typed)?;
    let (place, ports) = with_ports(rest)?;
    let networks = match place {
        "all" => vec![(Ipv4Addr::UNSPECIFIED.into(), 0), (Ipv6Addr::UNSPECIFIED.into(), 0)],
        "loopback" => vec![(GATEWAY_IPV4.into(), 32), (GATEWAY_IPV6.into(), 128)],
        place => vec![network(place)?],
    };
    Ok(networks.into_iter().map(|network| Rule { open, network, ports, transport }).collect())
}

/// A transport stands behind the last slash; a number there is a prefix's length.
fn with_transport(text: &str) -> Result<(&str, Option<Transport>), Mistake> {
    match text.rsplit_once('/') {
        Some((rest, name)) if name.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            Ok((rest, Some(transport(name)?)))
        }
        _ => Ok((text, None)),
    }
}

fn with_ports(text: &str) -> Result<(&str, (u16, u16)), Mistake> {
    // Without brackets, more than one colon is an address of IPv6's, and there is no port.
    let is_ipv6 = !text.starts_with('[') && text.matches(':').count() > 1;
    let at = if is_ipv6 { None } else { text.rfind(':').filter(|&at| !text[at..].contains(']')) };
    match at {
        Some(at) => Ok((&text[..at], ports(&text[at + 1..])?)),
        None => Ok((text, ALL_PORTS)),
    }
}

fn network(text: &str) -> Result<(IpAddr, u8), Mistake> {
    let bare = without_brackets(text)?;
    let (address, bits) = match bare.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (bare.as_str(), None),
    };
    let address = address.parse::<IpAddr>().map_err(|_| no_address(address))?;
    if address.to_canonical().is_loopback() {
        return Err(Mistake::OwnLoopback);
    }
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => {
            let number = bits.parse().ok().filter(|&number| number <= most);
            number.ok_or_else(|| Mistake::Prefix(bits.to_owned()))?
        }
    };
    Ok((address, bits))
}

/// `[fd00::/8]` and `[fd00::]/8` are both written.
fn without_brackets(text: &str) -> Result<String, Mistake> {
    let Some(rest) = text.strip_prefix('[') else { return Ok(text.to_owned()) };
    let (within, behind) = rest.split_once(']').ok_or(Mistake::Brackets)?;
    // Brackets are IPv6's.
    if !within.contains(':') {
        return Err(Mistake::Address(text.to_owned()));
    }
    Ok(format!("{within}{behind}"))
}

fn no_address(text: &str) -> Mistake {
    let is_name = super::is_name(text) && text.bytes().any(|byte| byte.is_ascii_alphabetic());
    let wildcard = text.strip_prefix("*.").is_some_and(super::is_name);
    if is_name || wildcard {
        Mistake::ByName(text.to_owned())
    } else {
        Mistake::Address(text.to_owned())
    }
}
