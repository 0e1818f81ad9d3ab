//! The network: what was typed of it, against what this place knows. Pure.
//!
//! Owns: the defaults, and every refusal. Never does: open a port, or look a name up.

mod publish;
mod rule;

pub use publish::inner;

use super::size;
use crate::cli::network::{Egress, NetworkArgs, NetworkKind};
use crate::cli::{self, RunArgs};
use crate::error::Explain;
use crate::host::network::{Kinds, MAX_NAME_SERVERS, NetworkFacts};

use network::config::{self, Config, Limits, LinkKind, Policy, Publication, Transport, Whom};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The most ports of one sandbox: each is an open socket of its network process.
pub const MAX_PUBLISHED: usize = 1024;
/// The most rules, each way it is typed.
pub const MAX_RULES: usize = 256;
/// Where name servers are asked.
const DNS_PORT: u16 = 53;
/// Names are at most so long (RFC 1035), in bytes.
const MAX_NAME_BYTES: usize = 253;
/// What stands for this place's address.
const HOST_GATEWAY: &str = "host-gateway";

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    /// Who is asked for names, in order.
    pub name_servers: Vec<SocketAddr>,
    /// What of the outside is open to it.
    pub policy: Policy,
    /// What of it is open to the outside.
    pub published: Vec<Publication>,
    /// How what Docker publishes in the container is published, if it is.
    pub docker_ports: Option<DockerPublishing>,
    /// How much of it there may be.
    pub limits: Limits,
    /// What the container is given.
    pub guest: protocol::Network,
}

/// How what Docker publishes in a container is published outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DockerPublishing {
    /// On this address, and not where Docker has it.
    pub address: Option<IpAddr>,
}

/// What is wrong with something that was typed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A port that is none.
    #[error("{0:?} is no port")]
    Port(String),
    /// Ports that end before they begin, or that are not as many inside as outside.
    #[error("its ranges of ports do not fit")]
    Range,
    /// A transport that is not carried.
    #[error("{0:?} is neither tcp nor udp")]
    Transport(String),
    /// An address that is none.
    #[error("{0:?} is no address")]
    Address(String),
    /// An IPv6 address before a port, without brackets.
    #[error("an address of IPv6 stands in brackets before a port")]
    Brackets,
    /// A prefix that is too long.
    #[error("{0:?} is no length of a prefix")]
    Prefix(String),
    /// The container's own loopback.
    #[error("it is the container's own loopback, which no rule is about")]
    OwnLoopback,
    /// A name that is none.
    #[error("{0:?} is no name of a host")]
    Name(String),
    /// No name and address.
    #[error("it is not NAME:ADDRESS")]
    NoHost,
    /// A size that is none, or nothing.
    #[error("{0:?} is no amount of bytes")]
    Amount(String),
    /// A number that is none, or nothing.
    #[error("{0:?} is no number of connections")]
    Count(String),
    /// An option with what would end its line.
    #[error("it is no option of a resolver")]
    Option,
}

/// Why there can be no such network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Something that was typed is wrong.
    #[error("{flag} {typed:?}: {mistake}")]
    Typed {
        /// The flag.
        flag: &'static str,
        /// What was typed.
        typed: String,
        /// What is wrong with it.
        mistake: Mistake,
    },
    /// A flag about a network that there is not to be.
    #[error("{0} is about a network, and --network none gives it none")]
    None(&'static str),
    /// The same port of this place, twice.
    #[error("--publish: {} is published twice", shown(.0))]
    Twice(Publication),
    /// More than there can be of something.
    #[error("{count} {what} are over the limit of {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl Explain for NetworkError {
    fn hint(&self) -> Option<String> {
        let NetworkError::Typed { flag, mistake, .. } = self else {
            return match self {
                NetworkError::None(_) => Some("leave one of them out".into()),
                NetworkError::Twice(_) => {
                    Some("each port of this place leads to one of the container's".into())
                }
                _ => None,
            };
        };
        Some(match mistake {
            Mistake::Port(_) => "a port is a number from 1 to 65535".into(),
            Mistake::Range => "as many ports outside as inside: 8000-8009:80-89".into(),
            Mistake::Transport(_) => "for example 53/udp; without it, a port is TCP's".into(),
            Mistake::Brackets => "for example [::1]:8080:80".into(),
            Mistake::Prefix(_) => "an IPv4 prefix has 0 to 32 bits, an IPv6 prefix 0 to 128".into(),
            Mistake::OwnLoopback => "this place's is called loopback: --allow loopback:5432".into(),
            Mistake::Name(_) => "a name is letters, digits, '-', '_' and '.'".into(),
            Mistake::NoHost => "for example --add-host db:10.0.0.7".into(),
            Mistake::Amount(_) => size::SIZE_HINT.into(),
            Mistake::Count(_) => "for example --limit-connections 1000".into(),
            Mistake::Option => "for example --dns-option ndots:1".into(),
            Mistake::Address(_) if *flag == "--publish" => {
                "it is [[IP:]OUTER:]INNER[/udp], as in 127.0.0.1:8080:80".into()
            }
            Mistake::Address(_) => "for example 10.0.0.7, or fd00::7".into(),
        })
    }
}

/// A published port as Docker names it.
pub fn shown(publication: &Publication) -> String {
    format!("{}/{}", publication.outside, name_of(publication.transport))
}

/// A transport's name.
pub fn name_of(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

/// A transport by its name.
///
/// # Errors
/// [`Mistake::Transport`].
pub fn transport(name: &str) -> Result<Transport, Mistake> {
    match name.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Transport::Tcp),
        "udp" => Ok(Transport::Udp),
        _ => Err(Mistake::Transport(name.to_owned())),
    }
}

/// Whether there is to be a network.
///
/// # Errors
/// [`NetworkError::None`], where there is none and something was said of it.
pub fn is_wanted(args: &RunArgs) -> Result<bool, NetworkError> {
    let typed = &args.network;
    if typed.network == NetworkKind::Default {
        return Ok(true);
    }
    let flags = [
        ("--publish", &typed.publish),
        ("--allow", &typed.allow),
        ("--deny", &typed.deny),
        ("--dns", &typed.dns),
        ("--dns-search", &typed.dns_search),
        ("--dns-option", &typed.dns_option),
        ("--add-host", &typed.add_host),
    ];
    let others = [
        ("--bandwidth", typed.bandwidth.is_some()),
        ("--limit-connections", typed.limit_connections.is_some()),
        ("--pcap", typed.pcap.is_some()),
        ("--publish-docker", typed.publish_docker.is_some()),
    ];
    if let Some((flag, _)) = others.into_iter().find(|(_, typed)| *typed) {
        return Err(NetworkError::None(flag));
    }
    match flags.into_iter().find(|(_, typed)| !typed.is_empty()) {
        Some((flag, _)) => Err(NetworkError::None(flag)),
        None => Ok(false),
    }
}

impl NetworkPlan {
    /// Resolves what was typed of a network that is wanted.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn resolve(args: &RunArgs, facts: &NetworkFacts) -> Result<Self, NetworkError> {
        let typed = &args.network;
        let name_servers = name_servers(typed, facts)?;
        let policy = policy(typed)?;
        let published = published(typed, facts.has_ipv6)?;
        let docker_ports = docker_ports(typed)?;
        let gateways = gateways(&policy, facts.leads_out);
        let guest = protocol::Network {
            mtu: config::MTU,
            addresses: vec![
                (config::GUEST_IPV4.into(), config::PREFIX_IPV4),
                (config::GUEST_IPV6.into(), config::PREFIX_IPV6),
            ],
            gateways,
            resolv_conf: resolv_conf(typed, facts, name_servers.len())?,
            hosts: hosts(typed, facts)?,
        };
        let limits = limits(typed)?;
        Ok(Self { name_servers, policy, published, docker_ports, limits, guest })
    }

    /// What the network process is told.
    pub fn config(&self, link: LinkKind) -> Config {
        Config {
            link,
            name_servers: self.name_servers.clone(),
            policy: self.policy.clone(),
            published: self.published.clone(),
            limits: self.limits,
        }
    }

    /// The TCP ports of this place that it listens on; 0 is any.
    pub fn tcp_ports(&self) -> Vec<u16> {
        let tcp = self.published.iter().filter(|it| it.transport == Transport::Tcp);
        let mut ports: Vec<u16> = tcp.map(|it| it.outside.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// Reads each of what was typed after a flag.
fn each<T>(
    flag: &'static str,
    typed: &[String],
    read: impl Fn(&str) -> Result<T, Mistake>,
) -> Result<Vec<T>, NetworkError> {
    let of = |typed: &String| {
        let wrong = |mistake| NetworkError::Typed { flag, typed: typed.clone(), mistake };
        read(typed).map_err(wrong)
    };
    typed.iter().map(of).collect()
}

fn limit(what: &'static str, count: usize, limit: usize) -> Result<(), NetworkError> {
    if count > limit { Err(NetworkError::TooMany { what, count, limit }) } else { Ok(()) }
}

fn name_servers(
    typed: &NetworkArgs,
    facts: &NetworkFacts,
) -> Result<Vec<SocketAddr>, NetworkError> {
    let typed = each("--dns", &typed.dns, address)?;
    limit("name servers (--dns)", typed.len(), MAX_NAME_SERVERS)?;
    let servers = if typed.is_empty() { &facts.resolver.name_servers } else { &typed };
    Ok(servers.iter().map(|&server| SocketAddr::new(server, DNS_PORT)).collect())
}

fn limits(typed: &NetworkArgs) -> Result<Limits, NetworkError> {
    let read = |flag, typed: &Option<String>, read: fn(&str) -> Result<u64, Mistake>| {
        Ok::<_, NetworkError>(each(flag, typed.as_slice(), read)?.pop())
    };
    let amount = |text: &str| match size::parse(text) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err(Mistake::Amount(text.to_owned())),
    };
    let count = |text: &str| match text.parse::<u32>() {
        Ok(count) if count > 0 => Ok(count.into()),
        _ => Err(Mistake::Count(text.to_owned())),
    };
    let flows = read("--limit-connections", &typed.limit_connections, count)?;
    Ok(Limits {
        flows: flows.and_then(|flows| flows.try_into().ok()),
        bytes_per_second: read("--bandwidth", &typed.bandwidth, amount)?,
    })
}

fn policy(typed: &NetworkArgs) -> Result<Policy, NetworkError> {
    let (allowed, denied) = (&typed.allow, &typed.deny);
    limit("rules (--allow, --deny)", allowed.len() + denied.len(), MAX_RULES)?;
    // What is closed by name stays closed, whatever is open with more.
    let mut rules = each("--deny", denied, |text| rule::rules(text, false))?.concat();
    rules.extend(each("--allow", allowed, |text| rule::rules(text, true))?.concat());
    Ok(Policy { rules, open: typed.egress == Egress::Allow })
}

fn published(typed: &NetworkArgs, has_ipv6: bool) -> Result<Vec<Publication>, NetworkError> {
    let read = |text: &str| publish::publications(text, has_ipv6);
    let published = each("--publish", &typed.publish, read)?.concat();
    limit("published ports", published.len(), MAX_PUBLISHED)?;
    let mut known = std::collections::BTreeSet::new();
    let mut is_known = |it: &Publication| {
        let is_udp = it.transport == Transport::Udp;
        it.outside.port() != 0 && !known.insert((it.outside.ip(), it.outside.port(), is_udp))
    };
    match published.iter().find(|it| is_known(it)) {
        Some(&again) => Err(NetworkError::Twice(again)),
        None => Ok(published),
    }
}

/// How what Docker publishes is published.
fn docker_ports(typed: &NetworkArgs) -> Result<Option<DockerPublishing>, NetworkError> {
    let Some(typed) = &typed.publish_docker else { return Ok(None) };
    let at = match typed.as_str() {
        cli::network::WHERE_DOCKER_DOES => None,
        typed => Some(typed.to_owned()),
    };
    let at = each("--publish-docker", at.as_slice(), address)?;
    Ok(Some(DockerPublishing { address: at.first().copied() }))
}

/// Whom the container sends to what is beyond its link: for each kind of address that leads out, or by which this place's
/// loopback is open. Who comes to a published port by another kind comes from loopback, and that is on the link.
fn gateways(policy: &Policy, leads_out: Kinds) -> Vec<IpAddr> {
    let is_needed = |gateway: IpAddr, leads_out: bool| {
        let is_named = |rule: &config::Rule| {
            rule.open && matches!(rule.whom, Whom::Network(address, _) if address == gateway)
        };
        leads_out || policy.rules.iter().any(is_named)
    };
    let kinds = [
        (config::GATEWAY_IPV4.into(), leads_out.ipv4),
        (config::GATEWAY_IPV6.into(), leads_out.ipv6),
    ];
    let needed = kinds.into_iter().filter(|&(gateway, leads_out)| is_needed(gateway, leads_out));
    needed.map(|(gateway, _)| gateway).collect()
}

/// The container's resolv.conf: of what was typed, and for the rest of what this place's says.
fn resolv_conf(
    typed: &NetworkArgs,
    facts: &NetworkFacts,
    name_servers: usize,
) -> Result<String, NetworkError> {
    let mut search = each("--dns-search", &typed.dns_search, domain)?;
    if typed.dns_search.is_empty() {
        search.clone_from(&facts.resolver.search);
    }
    // To Docker, the root is how one says that there are none.
    search.retain(|domain| domain != ".");
    let mut options = each("--dns-option", &typed.dns_option, option)?;
    if typed.dns_option.is_empty() {
        options.clone_from(&facts.resolver.options);
    }
    let servers = config::NAME_SERVERS.iter().take(name_servers);
    let mut text: String = servers.map(|server| format!("nameserver {server}\n")).collect();
    for (keyword, words) in [("search", search), ("options", options)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", words.join(" "));
        }
    }
    Ok(text)
}

/// What stands in the container's hosts besides its own names: others that this place knows, then what was typed.
fn hosts(typed: &NetworkArgs, facts: &NetworkFacts) -> Result<String, NetworkError> {
    let known =
        facts.hosts.iter().map(|host| format!("{}\t{}\n", host.address, host.names.join(" ")));
    let added = each("--add-host", &typed.add_host, added_host)?;
    Ok(known.chain(added).collect())
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`, as a line.
fn added_host(typed: &str) -> Result<String, Mistake> {
    let (name, place) = typed.split_once([':', '=']).ok_or(Mistake::NoHost)?;
    if !is_name(name) {
        return Err(Mistake::Name(name.to_owned()));
    }
    let address = match place {
        HOST_GATEWAY => config::GATEWAY_IPV4.into(),
        place => {
            let bare = place.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            address(bare.unwrap_or(place))?
        }
    };
    Ok(format!("{address}\t{name}\n"))
}

fn address(typed: &str) -> Result<IpAddr, Mistake> {
    typed.parse().map_err(|_| Mistake::Address(typed.to_owned()))
}

fn domain(typed: &str) -> Result<String, Mistake> {
    let is_fine = typed == "." || is_name(typed.strip_suffix('.').unwrap_or(typed));
    if is_fine { Ok(typed.to_owned()) } else { Err(Mistake::Name(typed.to_owned())) }
}

fn option(typed: &str) -> Result<String, Mistake> {
    let is_fine = !typed.is_empty() && typed.bytes().all(|byte| byte.is_ascii_graphic());
    if is_fine { Ok(typed.to_owned()) } else { Err(Mistake::Option) }
}

fn is_name(text: &str) -> bool {
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.len() <= MAX_NAME_BYTES
        && text.split('.').all(|label| !label.is_empty() && label.bytes().all(is_of_a_name))
}

/// A port, or a range of them: both ends.
fn ports(text: &str) -> Result<(u16, u16), Mistake> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last { Err(Mistake::Range) } else { Ok((first, last)) }
}

fn port(text: &str) -> Result<u16, Mistake> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|&number: &u16| number != 0 && is_number);
    number.ok_or_else(|| Mistake::Port(text.to_owned()))
}

#[cfg(test)]
mod tests;
