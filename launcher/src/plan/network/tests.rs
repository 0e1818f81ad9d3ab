use super::*;
use crate::error::Failure;
use crate::host::network::{Host, Resolver};
use crate::plan::tests::args;
use network::config::{GATEWAY_IPV4, GATEWAY_IPV6, Rule};
use proptest::prelude::*;

/// A place with a resolver and both kinds of address.
fn facts() -> NetworkFacts {
    let text = |words: &[&str]| words.iter().map(|&it| it.to_owned()).collect();
    NetworkFacts {
        resolver: Resolver {
            name_servers: vec![ip("10.0.0.53"), ip("fd00::53")],
            search: text(&["a.example", "b.example"]),
            options: text(&["ndots:5"]),
        },
        hosts: vec![Host { address: ip("10.0.0.7"), names: text(&["db", "db.example"]) }],
        leads_out: Kinds { ipv4: true, ipv6: true },
        has_ipv6: true,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn plan(line: &[&str]) -> NetworkPlan {
    NetworkPlan::resolve(&args(line), &facts()).unwrap()
}

fn refusal(line: &[&str]) -> String {
    let args = args(line);
    let error = is_wanted(&args).err();
    let error = error.or_else(|| NetworkPlan::resolve(&args, &facts()).err());
    Failure::from(error.unwrap()).to_string()
}

fn published(typed: &str) -> Vec<(String, u16, Transport)> {
    let published = plan(&["-p", typed]).published.into_iter();
    published.map(|it| (it.outside.to_string(), it.inside, it.transport)).collect()
}

#[test]
fn nothing_typed_is_all_that_this_place_reaches() {
    let plan = plan(&[]);
    assert!(is_wanted(&args(&[])).unwrap());
    assert_eq!(plan.policy, Policy { rules: Vec::new(), open: true });
    assert!(plan.published.is_empty() && plan.tcp_ports().is_empty());
    let servers: Vec<String> = plan.name_servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.53:53", "[fd00::53]:53"]);
    assert_eq!(plan.guest.gateways, [IpAddr::from(GATEWAY_IPV4), GATEWAY_IPV6.into()]);
    assert_eq!(plan.guest.addresses, [(ip("192.0.0.2"), 29), (ip("fdcf:6665:7264:616d::2"), 64)]);
    assert_eq!(plan.guest.mtu, 65520);
    assert_eq!(
        plan.guest.resolv_conf,
        "nameserver 192.0.0.3\nnameserver 192.0.0.4\nsearch a.example b.example\noptions ndots:5\n"
    );
    assert_eq!(plan.guest.hosts, "10.0.0.7\tdb db.example\n");
    for kind in [LinkKind::Packets, LinkKind::Stream] {
        let config = plan.config(kind);
        assert_eq!((config.link, config.policy), (kind, plan.policy.clone()));
    }
}

#[test]
fn a_place_that_knows_nobody_has_no_name_server() {
    let plan = NetworkPlan::resolve(&args(&[]), &NetworkFacts::default()).unwrap();
    assert_eq!((plan.guest.resolv_conf.as_str(), plan.guest.hosts.as_str()), ("", ""));
    assert!(plan.name_servers.is_empty() && plan.guest.gateways.is_empty());
}

#[test]
fn what_is_typed_of_names_replaces_its_part_alone() {
    let resolv_conf = |line: &[&str]| plan(line).guest.resolv_conf;
    assert_eq!(
        resolv_conf(&["--dns", "1.1.1.1"]),
        "nameserver 192.0.0.3\nsearch a.example b.example\noptions ndots:5\n"
    );
    assert_eq!(plan(&["--dns", "fd00::1"]).name_servers, ["[fd00::1]:53".parse().unwrap()]);
    let both = "nameserver 192.0.0.3\nnameserver 192.0.0.4\n";
    let searched = resolv_conf(&["--dns-search", "c.example.", "--dns-option", "ndots:1"]);
    assert_eq!(searched, format!("{both}search c.example.\noptions ndots:1\n"));
    assert_eq!(resolv_conf(&["--dns-search", "."]), format!("{both}options ndots:5\n"));
    assert_eq!(
        resolv_conf(&["--dns-opt", "a", "--dns-option", "b"]),
        format!("{both}search a.example b.example\noptions a b\n")
    );
    let flags = ["--add-host", "a_b.c:10.0.0.1", "--add-host", "v6=fd00::1"];
    let more = ["--add-host", "v6b:[fd00::2]", "--add-host", "up:host-gateway"];
    assert_eq!(
        plan(&[flags, more].concat()).guest.hosts,
        "10.0.0.7\tdb db.example\n10.0.0.1\ta_b.c\nfd00::1\tv6\nfd00::2\tv6b\n192.0.0.1\tup\n"
    );
}

#[test]
fn a_port_is_published_as_docker_publishes_it() {
    use Transport::{Tcp, Udp};
    for (typed, expected) in [
        ("80", vec![("0.0.0.0:0", 80, Tcp), ("[::]:0", 80, Tcp)]),
        ("0:80", vec![("0.0.0.0:0", 80, Tcp), ("[::]:0", 80, Tcp)]),
        (":80", vec![("0.0.0.0:0", 80, Tcp), ("[::]:0", 80, Tcp)]),
        ("8080:80", vec![("0.0.0.0:8080", 80, Tcp), ("[::]:8080", 80, Tcp)]),
        ("8080:80/UDP", vec![("0.0.0.0:8080", 80, Udp), ("[::]:8080", 80, Udp)]),
        ("127.0.0.1:8080:80/tcp", vec![("127.0.0.1:8080", 80, Tcp)]),
        ("127.0.0.1::80", vec![("127.0.0.1:0", 80, Tcp)]),
        ("127.0.0.1:80", vec![("127.0.0.1:0", 80, Tcp)]),
        ("[::1]:8080:80", vec![("[::1]:8080", 80, Tcp)]),
        ("[::1]::80", vec![("[::1]:0", 80, Tcp)]),
        ("[::1]:80", vec![("[::1]:0", 80, Tcp)]),
        ("10.0.0.1:90-91:80-81", vec![("10.0.0.1:90", 80, Tcp), ("10.0.0.1:91", 81, Tcp)]),
        ("10.0.0.1::80-81", vec![("10.0.0.1:0", 80, Tcp), ("10.0.0.1:0", 81, Tcp)]),
        ("10.0.0.1:65535:65535", vec![("10.0.0.1:65535", 65535, Tcp)]),
    ] {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(outside, inside, it)| (outside.to_owned(), inside, it))
            .collect();
        assert_eq!(published(typed), expected, "{typed}");
    }
    let ipv4_alone = NetworkFacts { has_ipv6: false, ..facts() };
    let plan = NetworkPlan::resolve(&args(&["-p", "80:80"]), &ipv4_alone).unwrap();
    assert_eq!(plan.published.len(), 1);
    let flags = ["-p", "90:80", "-p", "90:80/udp", "-p", "1.2.3.4:80:80", "-p", "7"];
    assert_eq!(self::plan(&flags).tcp_ports(), [0, 80, 90]);
}

#[test]
fn rules_are_asked_in_order_and_what_is_denied_first() {
    let rule = |open, network: &str, bits, ports, transport| Rule {
        open,
        whom: Whom::Network(ip(network), bits),
        ports,
        transport,
    };
    const ALL: (u16, u16) = (0, u16::MAX);
    for (typed, expected) in [
        ("10.0.0.0/8", vec![rule(true, "10.0.0.0", 8, ALL, None)]),
        ("10.0.0.1", vec![rule(true, "10.0.0.1", 32, ALL, None)]),
        ("10.0.0.1:443", vec![rule(true, "10.0.0.1", 32, (443, 443), None)]),
        ("10.0.0.0/8:1-9/udp", vec![rule(true, "10.0.0.0", 8, (1, 9), Some(Transport::Udp))]),
        ("fd00::/8", vec![rule(true, "fd00::", 8, ALL, None)]),
        ("fd00::1", vec![rule(true, "fd00::1", 128, ALL, None)]),
        ("fd00::1/tcp", vec![rule(true, "fd00::1", 128, ALL, Some(Transport::Tcp))]),
        ("[fd00::/8]:443", vec![rule(true, "fd00::", 8, (443, 443), None)]),
        ("[fd00::]/8:443", vec![rule(true, "fd00::", 8, (443, 443), None)]),
        ("[fd00::1]:443/tcp", vec![rule(true, "fd00::1", 128, (443, 443), Some(Transport::Tcp))]),
        (
            "loopback:5432",
            vec![
                rule(true, "192.0.0.1", 32, (5432, 5432), None),
                rule(true, "fdcf:6665:7264:616d::1", 128, (5432, 5432), None),
            ],
        ),
        ("all", vec![rule(true, "0.0.0.0", 0, ALL, None), rule(true, "::", 0, ALL, None)]),
    ] {
        assert_eq!(
            plan(&["--allow", typed]).policy,
            Policy { rules: expected, open: true },
            "{typed}"
        );
    }
    let policy = plan(&["--egress", "deny", "--allow", "10.0.0.1", "--deny", "10.0.0.0/8"]).policy;
    assert!(!policy.open);
    let expected = [rule(false, "10.0.0.0", 8, ALL, None), rule(true, "10.0.0.1", 32, ALL, None)];
    assert_eq!(policy.rules, expected);
}

#[test]
fn rules_may_be_about_names() {
    let whom = |typed: &str| plan(&["--allow", typed]).policy.rules.remove(0);
    assert_eq!(whom("Example.org:443").whom, Whom::Name("example.org".into()));
    assert_eq!(whom("Example.org:443").ports, (443, 443));
    assert_eq!(whom("*.example.org/tcp").whom, Whom::Name("*.example.org".into()));
    assert_eq!(whom("1.2.3.4").whom, Whom::Network(ip("1.2.3.4"), 32));
}

#[test]
fn there_may_be_limits() {
    let limits = plan(&["--bandwidth", "10m", "--limit-connections", "7"]).limits;
    assert_eq!((limits.flows, limits.bytes_per_second), (Some(7), Some(10 << 20)));
    assert_eq!(plan(&[]).limits, Limits::default());
}

#[test]
fn the_container_has_a_gateway_where_one_is_needed() {
    let nothing = NetworkFacts { has_ipv6: true, ..NetworkFacts::default() };
    let gateways = |facts: &NetworkFacts, line: &[&str]| {
        NetworkPlan::resolve(&args(line), facts).unwrap().guest.gateways
    };
    let (ipv4, ipv6) = (IpAddr::from(GATEWAY_IPV4), IpAddr::from(GATEWAY_IPV6));
    assert!(gateways(&nothing, &["--deny", "loopback", "--allow", "10.0.0.1"]).is_empty());
    assert_eq!(gateways(&nothing, &["--allow", "loopback:80"]), [ipv4, ipv6]);
    assert!(gateways(&nothing, &["-p", "80:80"]).is_empty(), "who comes there is on its link");
    let leads_out = Kinds { ipv4: false, ipv6: true };
    assert_eq!(gateways(&NetworkFacts { leads_out, ..nothing }, &[]), [ipv6]);
}

fn refused_so(cases: &[(&[&str], &str)]) {
    for (line, said) in cases {
        assert_eq!(refusal(line), format!("cofferdam: {said}"), "{line:?}");
    }
}

#[test]
fn what_cannot_be_published_is_refused_with_what_helps() {
    refused_so(&[
        (
            &["-p", "0"][..],
            "--publish \"0\": \"0\" is no port\nhint: a port is a number from 1 to 65535\n",
        ),
        (
            &["-p", "x:80"],
            "--publish \"x:80\": \"x\" is no port\nhint: a port is a number from 1 to 65535\n",
        ),
        (
            &["-p", "80-81:80"],
            "--publish \"80-81:80\": its ranges of ports do not fit\n\
             hint: as many ports outside as inside: 8000-8009:80-89\n",
        ),
        (
            &["-p", "80/sctp"],
            "--publish \"80/sctp\": \"sctp\" is neither tcp nor udp\n\
             hint: for example 53/udp; without it, a port is TCP's\n",
        ),
        (
            &["-p", "::1:80:80"],
            "--publish \"::1:80:80\": an address of IPv6 stands in brackets before a port\n\
             hint: for example [::1]:8080:80\n",
        ),
        (
            &["-p", "localhost:80:80"],
            "--publish \"localhost:80:80\": \"localhost\" is no address\n\
             hint: it is [[IP:]OUTER:]INNER[/udp], as in 127.0.0.1:8080:80\n",
        ),
        (
            &["-p", "80:80", "-p", "80:81"],
            "--publish: 0.0.0.0:80/tcp is published twice\n\
             hint: each port of this place leads to one of the container's\n",
        ),
        (&["-p", "1-1000:1-1000"], "2000 published ports are over the limit of 1024\n"),
    ]);
}

#[test]
fn what_cannot_be_is_refused_with_what_helps() {
    refused_so(&[
        (
            &["--allow", "a.*.example.org:443"],
            "--allow \"a.*.example.org:443\": \"a.*.example.org\" is no address\n\
             hint: for example 10.0.0.7, or fd00::7\n",
        ),
        (
            &["--deny", "127.0.0.1:80"],
            "--deny \"127.0.0.1:80\": it is the container's own loopback, which no rule is about\n\
             hint: this place's is called loopback: --allow loopback:5432\n",
        ),
        (
            &["--allow", "10.0.0.0/33"],
            "--allow \"10.0.0.0/33\": \"33\" is no length of a prefix\n\
             hint: an IPv4 prefix has 0 to 32 bits, an IPv6 prefix 0 to 128\n",
        ),
        (
            &["--dns", "dns.example"],
            "--dns \"dns.example\": \"dns.example\" is no address\nhint: for example 10.0.0.7, or fd00::7\n",
        ),
        (
            &["--dns", "1.1.1.1", "--dns", "1.1.1.2", "--dns", "1.1.1.3", "--dns", "1.1.1.4"],
            "4 name servers (--dns) are over the limit of 3\n",
        ),
        (
            &["--dns-option", "a b"],
            "--dns-option \"a b\": it is no option of a resolver\nhint: for example --dns-option ndots:1\n",
        ),
        (
            &["--dns-search", "a b"],
            "--dns-search \"a b\": \"a b\" is no name of a host\nhint: a name is letters, digits, '-', '_' and '.'\n",
        ),
        (
            &["--bandwidth", "fast"],
            "--bandwidth \"fast\": \"fast\" is no amount of bytes\nhint: a size is a number with an optional unit b, k, m, g or t, as in 512m\n",
        ),
        (
            &["--limit-connections", "0"],
            "--limit-connections \"0\": \"0\" is no number of connections\nhint: for example --limit-connections 1000\n",
        ),
        (
            &["--add-host", "db"],
            "--add-host \"db\": it is not NAME:ADDRESS\nhint: for example --add-host db:10.0.0.7\n",
        ),
        (
            &["--network", "none", "-p", "80"],
            "--publish is about a network, and --network none gives it none\nhint: leave one of them out\n",
        ),
    ]);
    assert!(!is_wanted(&args(&["--network", "none", "--egress", "deny"])).unwrap());
    assert!(is_wanted(&args(&["--network", "bridge"])).unwrap());
}

proptest! {
    #[test]
    fn what_is_published_reads_back(
        octets: [u8; 4],
        outer in 1u16..65000,
        inner in 1u16..65000,
        count in 0u16..9,
        udp: bool,
    ) {
        let address = IpAddr::from(octets);
        let transport = if udp { Transport::Udp } else { Transport::Tcp };
        let (last_outer, last_inner) = (outer + count, inner + count);
        let typed = format!(
            "{address}:{outer}-{last_outer}:{inner}-{last_inner}/{}", name_of(transport)
        );
        let read = publish::publications(&typed, true).unwrap();
        prop_assert_eq!(read.len(), usize::from(count) + 1);
        for (at, it) in (0u16..).zip(read) {
            let expected = Publication {
                outside: SocketAddr::new(address, outer + at),
                inside: inner + at,
                transport,
            };
            prop_assert_eq!(it, expected);
        }
    }

    #[test]
    fn whatever_is_typed_is_read_or_refused(text in "[\\[\\]0-9a-f.:/ltcpudx*-]{0,24}") {
        let ports = |it: &Publication| it.inside > 0;
        if let Ok(published) = publish::publications(&text, true) {
            prop_assert!(!published.is_empty() && published.iter().all(ports), "{published:?}");
        }
        for rule in rule::rules(&text, true).into_iter().flatten() {
            prop_assert!(rule.ports.0 <= rule.ports.1, "{rule:?}");
            if let Whom::Network(address, bits) = rule.whom {
                let most = if address.is_ipv4() { 32 } else { 128 };
                prop_assert!(bits <= most);
            }
        }
        if let Ok(line) = added_host(&text) {
            prop_assert!(line.matches('\n').count() == 1 && line.ends_with('\n'), "{line:?}");
        }
    }
}
