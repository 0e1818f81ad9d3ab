use super::*;

fn network(addresses: &[&str]) -> Network {
    Network {
        mtu: 65_520,
        addresses: addresses.iter().map(|text| (text.parse().unwrap(), 24)).collect(),
        gateways: vec!["192.0.0.1".parse().unwrap()],
        resolv_conf: String::new(),
        hosts: String::new(),
    }
}

#[test]
fn a_device_is_up_before_it_has_addresses_and_has_them_before_it_is_routed_by() {
    let network = network(&["192.0.0.2"]);
    let own = [
        Change::Up(65_520),
        Change::Address("192.0.0.2".parse().unwrap(), 24),
        Change::Gateway("192.0.0.1".parse().unwrap()),
    ];
    assert_eq!(changes(&network), own);
}

#[test]
fn ipv6_is_off_where_nothing_has_an_address_of_it() {
    assert_eq!(settings(&network(&["192.0.0.2"])), [("disable_ipv6", "1")]);
    let both = network(&["192.0.0.2", "fd00::2"]);
    assert_eq!(settings(&both), [("accept_dad", "0"), ("accept_ra", "0")]);
}
