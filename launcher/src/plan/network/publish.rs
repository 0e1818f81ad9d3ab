//! `--publish`: which port of this place leads to which of the container's.

use super::{Mistake, port, ports, transport};
use network::config::{Publication, Transport};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `[IP:][OUTER[-OUTER]:]INNER[-INNER][/tcp|/udp]`. Without an address it is all of this place's, those of IPv6 where it has
/// such; without a port outside, or with 0, any that is free.
///
/// # Errors
/// [`Mistake`].
pub(super) fn publications(typed: &str, has_ipv6: bool) -> Result<Vec<Publication>, Mistake> {
    let (rest, transport) = match typed.rsplit_once('/') {
        Some((rest, name)) => (rest, transport(name)?),
        None => (typed, Transport::Tcp),
    };
    let (address, rest) = address(rest)?;
    let (outer, inner) = match rest.rsplit_once(':') {
        Some((outer, inner)) => (Some(outer), inner),
        None => (None, rest),
    };
    let inner = ports(inner)?;
    let outer = match outer {
        None | Some("" | "0") => None,
        Some(outer) => Some(ports(outer)?),
    };
    if outer.is_some_and(|(first, last)| last - first != inner.1 - inner.0) {
        return Err(Mistake::Range);
    }
    let addresses = match address {
        Some(address) => vec![address],
        None => {
            let ipv6 = has_ipv6.then_some(Ipv6Addr::UNSPECIFIED.into());
            [IpAddr::from(Ipv4Addr::UNSPECIFIED)].into_iter().chain(ipv6).collect()
        }
    };
    let pair = |inside: u16| {
        let outside = outer.map_or(0, |(first, _)| first + (inside - inner.0));
        addresses.iter().map(move |&address| Publication {
            outside: SocketAddr::new(address, outside),
            inside,
            transport,
        })
    };
    Ok((inner.0..=inner.1).flat_map(pair).collect())
}

/// The address at the beginning, where there is one, and what follows its colon.
fn address(text: &str) -> Result<(Option<IpAddr>, &str), Mistake> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once("]:").ok_or(Mistake::Brackets)?;
        let address: Ipv6Addr =
            address.parse().map_err(|_| Mistake::Address(address.to_owned()))?;
        return Ok((Some(address.into()), rest));
    }
    let Some((first, rest)) = text.split_once(':') else { return Ok((None, text)) };
    match (first.parse::<Ipv4Addr>(), rest.matches(':').count()) {
        (Ok(address), 0 | 1) => Ok((Some(address.into()), rest)),
        // As with Docker, an address may be left empty.
        (Err(_), 1) if first.is_empty() => Ok((None, rest)),
        (Err(_), 1) => Err(Mistake::Address(first.to_owned())),
        (Err(_), 0) if first.is_empty() || first == "0" || ports(first).is_ok() => Ok((None, text)),
        (Err(_), 0) => Err(ports(first).err().unwrap_or(Mistake::Range)),
        _ => Err(Mistake::Brackets),
    }
}

/// A port of the container's, as `cofferdam port` takes it: `INNER[/tcp|/udp]`.
///
/// # Errors
/// [`Mistake`].
pub fn inner(typed: &str) -> Result<(u16, Transport), Mistake> {
    match typed.rsplit_once('/') {
        Some((number, name)) => Ok((port(number)?, transport(name)?)),
        None => Ok((port(typed)?, Transport::Tcp)),
    }
}
