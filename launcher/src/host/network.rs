//! What this place knows of networks: whom it asks for names, which names it knows itself, and which kinds of address
//! lead out of it.
//!
//! Owns: the reading of resolv.conf(5), hosts(5) and proc_net(5), each a pure function of the file's text. Never does:
//! ask a network.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// The most of a file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// As many name servers as a resolver asks (MAXNS of resolv.h).
pub const MAX_NAME_SERVERS: usize = 3;
/// A route that is there (RTF_UP of linux/route.h).
const ROUTE_IS_UP: u32 = 1;
/// One that leads nowhere (RTF_REJECT).
const ROUTE_REJECTS: u32 = 0x200;
/// The scope of an address that others can answer to (RFC 4291; as the kernel has it).
const SCOPE_GLOBAL: u32 = 0;
/// An address that is not, or not yet, one: IFA_F_DADFAILED and IFA_F_TENTATIVE of linux/if_addr.h.
const NOT_AN_ADDRESS: u32 = 0x08 | 0x40;

/// What this place knows of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkFacts {
    /// Whom it asks for names, and how.
    pub resolver: Resolver,
    /// Others' names that it knows itself.
    pub hosts: Vec<Host>,
    /// Which kinds of address lead out of it.
    pub leads_out: Kinds,
    /// Whether there is an IPv6 address here at all, and be it loopback's.
    pub has_ipv6: bool,
}

/// Kinds of address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

/// What a resolv.conf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Who is asked, in order.
    pub name_servers: Vec<IpAddr>,
    /// The domains in which a short name is looked for.
    pub search: Vec<String>,
    /// Its options.
    pub options: Vec<String>,
}

/// A line of a hosts file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The address.
    pub address: IpAddr,
    /// Its names.
    pub names: Vec<String>,
}

impl NetworkFacts {
    /// Asks: four small files. What is not there says nothing.
    pub fn ask() -> Self {
        let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let inet6 = text("/proc/net/if_inet6");
        let (has_ipv6, ipv6) = ipv6_addresses(&inet6);
        Self {
            resolver: resolver(&text("/etc/resolv.conf")),
            hosts: hosts(&text("/etc/hosts"), &own),
            leads_out: Kinds { ipv4: has_route(&text("/proc/net/route")), ipv6 },
            has_ipv6,
        }
    }
}

/// Which groups may send an echo without a privilege (icmp(7)).
pub(super) fn echo_groups() -> Option<RangeInclusive<u32>> {
    groups(&text("/proc/sys/net/ipv4/ping_group_range"))
}

/// Reads a range of groups: two numbers.
fn groups(text: &str) -> Option<RangeInclusive<u32>> {
    let numbers: Vec<u32> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [first, last] = numbers.as_slice() else { return None };
    Some(*first..=*last)
}

/// A file's text, as far as it is read: whole lines.
fn text(path: &str) -> String {
    let mut bytes = Vec::new();
    let file = File::open(path);
    // What cannot be read whole says what it has said.
    let _ = file.map(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    if bytes.len() as u64 == MAX_FILE_BYTES {
        bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').unwrap_or(0));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a resolv.conf as the C library does: what it does not understand it passes over.
pub fn resolver(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        // A keyword stands at the line's beginning.
        let Some((keyword, rest)) = line.split_once([' ', '\t']) else { continue };
        let words = || rest.split_whitespace().filter(|word| is_clean(word)).map(str::to_owned);
        match keyword {
            "nameserver" => {
                let server = words().next().and_then(|word| word.parse::<IpAddr>().ok());
                resolver.name_servers.extend(server);
            }
            // Whichever stands last holds.
            "search" => resolver.search = words().collect(),
            "domain" => resolver.search = words().take(1).collect(),
            "options" => resolver.options.extend(words()),
            _ => {}
        }
    }
    resolver.name_servers.truncate(MAX_NAME_SERVERS);
    resolver
}

/// Reads a hosts file: others' names. Those of loopback, of this place itself, whose name is `own`, and those that every
/// such file has are not.
pub fn hosts(text: &str, own: &str) -> Vec<Host> {
    let of_this_place = [own, first_label(own), "localhost"];
    let is_other = |name: &str| {
        let is_ours = of_this_place.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        is_clean(name) && !is_ours && !name.starts_with("ip6-")
    };
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        let names: Vec<String> = words.filter(|name| is_other(name)).map(str::to_owned).collect();
        let is_others = !address.to_canonical().is_loopback() && !address.is_unspecified();
        (is_others && !names.is_empty()).then_some(Host { address, names })
    };
    text.lines().filter_map(line).collect()
}

fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// Whether a word can stand in a file of the guest's as it is.
fn is_clean(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a /proc/net/route has one that leads to somebody else: not over loopback, and not to one's own link alone.
pub fn has_route(text: &str) -> bool {
    text.lines().any(|line| leads_out(line).unwrap_or(false))
}

fn leads_out(line: &str) -> Option<bool> {
    let mut words = line.split_whitespace();
    let interface = words.next()?;
    let number = |word: &str| u32::from_str_radix(word, 16).ok();
    // The kernel prints the four bytes of an address as a number of this machine's.
    let [first, second, ..] = number(words.next()?)?.to_ne_bytes();
    let flags = number(words.nth(1)?)?;
    let leads = flags & ROUTE_IS_UP != 0 && flags & ROUTE_REJECTS == 0;
    Some(leads && interface != "lo" && (first, second) != (169, 254))
}

/// Whether a /proc/net/if_inet6 has any address, and whether it has one that leads out.
pub fn ipv6_addresses(text: &str) -> (bool, bool) {
    let addresses = || text.lines().filter_map(is_global);
    (addresses().next().is_some(), addresses().any(|is_global| is_global))
}

/// `ADDRESS INTERFACE PREFIX SCOPE FLAGS NAME`, numbers in hexadecimal.
fn is_global(line: &str) -> Option<bool> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [address, _, _, scope, flags, interface] = words.as_slice() else { return None };
    let number = |word: &str| u32::from_str_radix(word, 16).ok();
    u128::from_str_radix(address, 16).ok()?;
    let (scope, flags) = (number(scope)?, number(flags)?);
    Some(scope == SCOPE_GLOBAL && flags & NOT_AN_ADDRESS == 0 && *interface != "lo")
}

#[cfg(test)]
mod tests;
