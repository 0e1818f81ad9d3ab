//! What is open, and to whom.

use super::*;

fn open() -> Policy {
    Policy { rules: Vec::new(), open: true }
}

fn rule(open: bool, network: &str, bits: u8) -> Rule {
    let whom = Whom::Network(network.parse().unwrap(), bits);
    Rule { open, whom, ports: (0, u16::MAX), transport: None }
}

fn to(address: &str) -> Target<'static> {
    let address = address.parse().unwrap();
    Target { address, port: Some(80), transport: Some(Transport::Tcp), names: &[] }
}

fn may(policy: &Policy, address: &str) -> bool {
    policy.permits(to(address))
}

#[test]
fn what_means_this_place_or_its_keeper_is_closed_unasked() {
    let closed = [
        "0.0.0.0",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "169.254.170.2",
        "192.0.0.1",
        "192.0.0.192",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:1.1.1.1",
        "fe80::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "ff02::1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "fdcf:6665:7264:616d::1",
    ];
    for address in closed {
        assert!(!may(&open(), address), "{address}");
    }
    let is_open = [
        "1.1.1.1",
        "10.0.0.1",
        "172.17.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "192.0.0.9",
        "128.0.0.1",
        "2606:4700::1111",
        "fd00::1",
        "64:ff9b::1.1.1.1",
        "2002:101:101::1",
    ];
    for address in is_open {
        assert!(may(&open(), address), "{address}");
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let rules =
        vec![rule(false, "10.1.0.0", 16), rule(true, "10.0.0.0", 8), rule(true, "127.0.0.0", 8)];
    let policy = Policy { rules, open: false };
    assert!(!may(&policy, "10.1.2.3") && may(&policy, "10.2.0.1") && !may(&policy, "1.1.1.1"));
    assert!(may(&policy, "127.0.0.1"));
    // All of a kind of address, and one alone.
    let all =
        Policy { rules: vec![rule(false, "1.2.3.4", 32), rule(true, "0.0.0.0", 0)], open: false };
    assert!(may(&all, "1.2.3.5") && !may(&all, "1.2.3.4") && !may(&all, "2606::2"));
    assert!(!may(&all, "169.254.169.254"), "it is not meant");
    // What is closed for IPv4 is closed in any disguise, and what is open needs both to be.
    let denied = Policy { rules: vec![rule(false, "1.1.1.0", 24)], open: true };
    assert!(!may(&denied, "64:ff9b::1.1.1.1") && !may(&denied, "2002:101:101::"));
    assert!(may(&denied, "64:ff9b::1.1.2.1"));
}

#[test]
fn rules_may_be_about_ports_and_transports() {
    let mut https = rule(true, "::", 0);
    (https.ports, https.transport) = ((443, 443), Some(Transport::Tcp));
    let policy = Policy { rules: vec![https], open: false };
    let may = |port, transport| policy.permits(Target { port, transport, ..to("2606::1") });
    assert!(may(Some(443), Some(Transport::Tcp)));
    assert!(!may(Some(80), Some(Transport::Tcp)) && !may(Some(443), Some(Transport::Udp)));
    // What has neither is part of reaching it at all.
    assert!(may(None, None));
}

#[test]
fn rules_may_be_about_names() {
    let about = |open, name: &str| {
        let whom = Whom::Name(name.to_owned());
        Rule { open, whom, ports: (0, u16::MAX), transport: None }
    };
    let rules =
        vec![about(false, "bad.good.org"), about(true, "*.good.org"), about(true, "one.net")];
    let policy = Policy { rules, open: false };
    let may =
        |address: &str, names: &[(&str, bool)]| policy.permits(Target { names, ..to(address) });
    assert!(may("1.1.1.1", &[("a.good.org", true)]) && may("1.1.1.1", &[("one.net", true)]));
    assert!(may("1.1.1.1", &[("else.com", true), ("a.b.good.org", true)]));
    for names in [&[][..], &[("good.org", true)], &[("xgood.org", true)], &[("a.one.net", true)]] {
        assert!(!may("1.1.1.1", names), "{names:?}");
    }
    // Who is asked for can say that they are another, and are not believed; but what is closed stays so.
    assert!(!may("1.1.1.1", &[("evil.com", true), ("one.net", false)]));
    assert!(!may("1.1.1.1", &[("one.net", true), ("bad.good.org", false)]));
    // And whoever has a name does not open what is not everybody's.
    for address in
        ["127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "fd00::1", "::ffff:1.1.1.1"]
    {
        assert!(!may(address, &[("one.net", true)]), "{address}");
    }
    // It takes a rule of its own.
    let mut rules = policy.rules.clone();
    rules.push(rule(true, "10.0.0.0", 8));
    let policy = Policy { rules, open: false };
    assert!(policy.permits(Target { names: &[("one.net", true)], ..to("10.0.0.1") }));
}
