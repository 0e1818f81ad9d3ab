use super::*;
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_resolv_conf_is_read_as_the_c_library_does() {
    let text = "# made by an engine\n\
                ; and commented on\n\
                nameserver 127.0.0.11\n\
                nameserver\t2001:db8::53 # the second\n \
                nameserver 10.0.0.1\n\
                nameserver ten\n\
                nameserver fe80::1%eth0\n\
                nameservers 10.0.0.2\n\
                nameserver\n\
                domain first.example second.example\n\
                search a.example  b.example\n\
                options ndots:0 edns0\n\
                options trust-ad\n\
                sortlist 130.155.160.0";
    let resolver = resolver(text);
    assert_eq!(resolver.name_servers, [ip("127.0.0.11"), ip("2001:db8::53")]);
    assert_eq!(resolver.search, ["a.example", "b.example"]);
    assert_eq!(resolver.options, ["ndots:0", "edns0", "trust-ad"]);
    let last = super::resolver("search a\ndomain b c\n");
    assert_eq!(last.search, ["b"]);
}

#[test]
fn no_more_name_servers_are_taken_than_are_asked() {
    let text: String = (1..9).map(|number| format!("nameserver 10.0.0.{number}\n")).collect();
    assert_eq!(resolver(&text).name_servers, [ip("10.0.0.1"), ip("10.0.0.2"), ip("10.0.0.3")]);
    assert_eq!(resolver(""), Resolver::default());
}

#[test]
fn of_a_hosts_file_others_names_are_taken() {
    let text = "127.0.0.1\tlocalhost\n\
                127.0.1.1 other-loopback\n\
                ::1\tlocalhost ip6-localhost ip6-loopback\n\
                ::ffff:127.0.0.1 mapped\n\
                fe00::\tip6-localnet\n\
                ff02::1\tip6-allnodes\n\
                0.0.0.0 nobody\n\
                172.17.0.2\tbox.example box BOX\n\
                10.0.0.7 db db.example # the database\n\
                10.0.0.7 box.other\n\
                2001:db8::7 db6\n\
                10.0.0.8\n\
                10.0.0.9.1 no-address\n\
                #10.0.0.9 commented\n\
                10.0.0.10 na\u{7}me\n";
    let expected = [
        ("10.0.0.7", vec!["db", "db.example"]),
        ("10.0.0.7", vec!["box.other"]),
        ("2001:db8::7", vec!["db6"]),
    ];
    let expected: Vec<Host> = expected
        .into_iter()
        .map(|(address, names)| Host {
            address: ip(address),
            names: names.into_iter().map(str::to_owned).collect(),
        })
        .collect();
    assert_eq!(hosts(text, "box.example"), expected);
}

#[test]
fn a_route_leads_out_only_to_others() {
    let header =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
    let table = |line: &str| has_route(&format!("{header}{line}\n"));
    assert!(!has_route(header) && !has_route(""));
    assert!(table("eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0"));
    assert!(table("eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"));
    for nowhere in [
        "lo\t0000007F\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0",
        "eth0\t0000FEA9\t00000000\t0001\t0\t0\t1000\t0000FFFF\t0\t0\t0",
        "eth0\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0",
        "eth0\t00000000\t010011AC\t0002\t0\t0\t0\t00000000\t0\t0\t0",
        "eth0\tx\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0",
        "eth0",
    ] {
        assert!(!table(nowhere), "{nowhere}");
    }
}

#[test]
fn an_ipv6_address_leads_out_only_if_others_know_it() {
    let loopback = "00000000000000000000000000000001 01 80 10 80       lo\n";
    let link = "fe80000000000000004211fffe000002 02 40 20 80     eth0\n";
    let global = "20010db8000000000000000000000002 02 40 00 80     eth0\n";
    let failed = "20010db8000000000000000000000002 02 40 00 88     eth0\n";
    assert_eq!(ipv6_addresses(""), (false, false));
    assert_eq!(ipv6_addresses("nonsense of six words it is\n"), (false, false));
    assert_eq!(ipv6_addresses(&format!("{loopback}{link}")), (true, false));
    assert_eq!(ipv6_addresses(&format!("{loopback}{failed}")), (true, false));
    assert_eq!(ipv6_addresses(&format!("{loopback}{link}{global}")), (true, true));
}

#[test]
fn the_range_of_groups_is_two_numbers() {
    assert_eq!(groups("0\t2147483647\n"), Some(0..=i32::MAX as u32));
    assert!(groups("1\t0\n").unwrap().is_empty(), "as a kernel that lets nobody has it");
    for nonsense in ["", "1", "1 x", "1 2 3", "-1 2"] {
        assert_eq!(groups(nonsense), None, "{nonsense}");
    }
}

#[test]
fn a_file_that_is_not_there_says_nothing() {
    assert_eq!(text("/proc/net/no-such-file"), "");
    assert!(text("/dev/zero").is_empty());
}

proptest! {
    #[test]
    fn whatever_stands_in_the_files_no_line_of_ours_is_broken(text in "\\PC*(\n\\PC*){0,6}", own in "\\PC*") {
        let resolver = resolver(&text);
        prop_assert!(resolver.name_servers.len() <= MAX_NAME_SERVERS);
        let names = hosts(&text, &own).into_iter().flat_map(|host| host.names);
        for word in names.chain(resolver.search).chain(resolver.options) {
            prop_assert!(!word.is_empty() && !word.contains(char::is_whitespace));
        }
        has_route(&text);
        ipv6_addresses(&text);
    }
}
