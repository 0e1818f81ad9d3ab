//! Where what a guest sends goes. Pure.
//!
//! Owns: what the addresses on the guest's own link stand for, and what a policy makes of all others.

use crate::config::{
    Config, GATEWAY_IPV4, GATEWAY_IPV6, GUEST_IPV4, GUEST_IPV6, NAME_SERVERS, Transport,
};
use crate::policy::Target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where name servers listen.
const DNS: u16 = 53;

/// Whom it goes to outside; `None` where that is closed to the guest. Echoes go by no transport, and to port 0.
pub fn outside(
    config: &Config,
    to: SocketAddr,
    transport: Option<Transport>,
    names: &[(&str, bool)],
) -> Option<SocketAddr> {
    let server = name_server(config, to).filter(|_| transport.is_some());
    if server.is_some() {
        return server;
    }
    let port = transport.map(|_| to.port());
    let is_open = config.policy.permits(Target { address: to.ip(), port, transport, names });
    is_open.then(|| SocketAddr::new(loopback(to.ip()).unwrap_or(to.ip()), to.port()))
}

/// Who is asked for names at this address.
pub fn name_server(config: &Config, to: SocketAddr) -> Option<SocketAddr> {
    let index = NAME_SERVERS.iter().position(|server| to.ip() == *server)?;
    config.name_servers.get(index).filter(|_| to.port() == DNS).copied()
}

/// Whether somebody here answers for this address: the gateway, or a name server's place.
pub fn is_ours(address: IpAddr) -> bool {
    loopback(address).is_some() || NAME_SERVERS.iter().any(|server| address == *server)
}

/// This place's own address, where the gateway's is meant.
fn loopback(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(GATEWAY_IPV4) => Some(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(GATEWAY_IPV6) => Some(Ipv6Addr::LOCALHOST.into()),
        _ => None,
    }
}

/// As whom the guest sees whoever comes to a published port.
pub fn seen_as(peer: SocketAddr) -> SocketAddr {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let address = match peer.ip() {
        IpAddr::V4(address) => {
            let hidden = address.is_loopback() || address.is_link_local() || address == GUEST_IPV4;
            IpAddr::V4(if hidden { GATEWAY_IPV4 } else { address })
        }
        IpAddr::V6(address) => {
            let local = address.is_loopback() || address.is_unicast_link_local();
            IpAddr::V6(if local || address == GUEST_IPV6 { GATEWAY_IPV6 } else { address })
        }
    };
    SocketAddr::new(address, peer.port())
}

/// The guest's own address of the same kind.
pub fn guest(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => GUEST_IPV4.into(),
        IpAddr::V6(_) => GUEST_IPV6.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, LinkKind, Policy, Rule, Whom};

    fn config(rules: Vec<Rule>) -> Config {
        Config {
            link: LinkKind::Packets,
            name_servers: vec!["127.0.0.11:53".parse().unwrap(), "[::1]:5353".parse().unwrap()],
            policy: Policy { rules, open: true },
            published: Vec::new(),
            limits: Limits::default(),
        }
    }

    fn goes(config: &Config, to: &str) -> Option<String> {
        outside(config, to.parse().unwrap(), Some(Transport::Udp), &[]).map(|to| to.to_string())
    }

    #[test]
    fn name_servers_are_asked_wherever_they_are() {
        let config = config(Vec::new());
        assert_eq!(goes(&config, "192.0.0.3:53").as_deref(), Some("127.0.0.11:53"));
        assert_eq!(goes(&config, "192.0.0.4:53").as_deref(), Some("[::1]:5353"));
        assert_eq!(goes(&config, "192.0.0.5:53"), None, "there is no third");
        assert_eq!(goes(&config, "192.0.0.3:54"), None, "nothing else of theirs");
        assert_eq!(goes(&config, "127.0.0.11:53"), None);
        assert_eq!(goes(&config, "8.8.8.8:53").as_deref(), Some("8.8.8.8:53"));
    }

    #[test]
    fn the_gateway_is_this_place_where_that_is_open() {
        assert_eq!(goes(&config(Vec::new()), "192.0.0.1:80"), None);
        let whom = Whom::Network(GATEWAY_IPV4.into(), 32);
        let rule = Rule { open: true, whom, ports: (80, 80), transport: None };
        let config = config(vec![rule]);
        assert_eq!(goes(&config, "192.0.0.1:80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(goes(&config, "192.0.0.1:81"), None);
    }

    #[test]
    fn who_comes_is_seen_as_who_they_are() {
        let seen = |peer: &str| seen_as(peer.parse().unwrap()).to_string();
        assert_eq!(seen("10.1.2.3:9"), "10.1.2.3:9");
        assert_eq!(seen("[::ffff:10.1.2.3]:9"), "10.1.2.3:9");
        assert_eq!(seen("127.0.0.1:9"), "192.0.0.1:9");
        assert_eq!(seen("[::1]:9"), "[fdcf:6665:7264:616d::1]:9");
        assert_eq!(seen("[fe80::1%2]:9"), "[fdcf:6665:7264:616d::1]:9");
        assert_eq!(seen("[2001:db8::1]:9"), "[2001:db8::1]:9");
    }
}
