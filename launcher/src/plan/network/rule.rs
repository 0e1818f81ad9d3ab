//! `--allow` and `--deny`: whom a rule is about.

use super::{Mistake, ports, transport};
use network::config::{GATEWAY_IPV4, GATEWAY_IPV6, Rule, Transport, Whom};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All ports.
const ALL_PORTS: (u16, u16) = (0, u16::MAX);

/// `WHAT[:PORT[-PORT]][/tcp|/udp]`, WHAT being an address, a network, a name, `*.` and the end of names, `loopback`, which is
/// this place's, or `all`. IPv6 stands in brackets before a port, with the length of its prefix within or behind.
///
/// # Errors
/// [`Mistake`].
pub(super) fn rules(typed: &str, open: bool) -> Result<Vec<Rule>, Mistake> {
    let (rest, transport) = with_transport(typed)?;
    let (place, ports) = with_ports(rest)?;
    let each = |ipv4: Ipv4Addr, ipv6: Ipv6Addr, bits: [u8; 2]| {
        vec![Whom::Network(ipv4.into(), bits[0]), Whom::Network(ipv6.into(), bits[1])]
    };
    let whom = match place {
        "all" => each(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, [0, 0]),
        "loopback" => each(GATEWAY_IPV4, GATEWAY_IPV6, [32, 128]),
        place if is_name(place) => vec![Whom::Name(place.to_ascii_lowercase())],
        place => vec![network(place)?],
    };
    Ok(whom.into_iter().map(|whom| Rule { open, whom, ports, transport }).collect())
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

fn network(text: &str) -> Result<Whom, Mistake> {
    let bare = without_brackets(text)?;
    let (address, bits) = match bare.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (bare.as_str(), None),
    };
    let address = address.parse::<IpAddr>().map_err(|_| Mistake::Address(address.to_owned()))?;
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
    Ok(Whom::Network(address, bits))
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

/// A name, or the end of names behind `*.`: no address is one, for each ends in a number.
fn is_name(text: &str) -> bool {
    let bare = text.strip_prefix("*.").unwrap_or(text);
    let last = bare.rsplit('.').next().unwrap_or_default();
    super::is_name(bare) && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}
