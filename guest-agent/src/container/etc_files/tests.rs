use super::*;
use crate::container::mount_points::open_root;
use std::os::unix::fs::symlink;

#[test]
fn links_that_lead_nowhere_inside_make_room_and_others_stay() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("etc")).unwrap();
    fs::create_dir_all(at("run")).unwrap();
    fs::write(at("run/hosts"), "kept").unwrap();
    symlink("../run/hosts", at("etc/hosts")).unwrap();
    // There outside, but not inside.
    symlink("/proc/self/status", at("etc/hostname")).unwrap();
    symlink("resolv.conf", at("etc/resolv.conf")).unwrap();
    make_room(&open_root(root.path()).unwrap()).unwrap();
    assert!(at("etc/hosts").symlink_metadata().is_ok());
    assert!(at("etc/hostname").symlink_metadata().is_err());
    assert!(at("etc/resolv.conf").symlink_metadata().is_err());
}

#[test]
fn an_etc_that_leads_outside_is_looked_for_inside() {
    let outside = tempfile::tempdir().unwrap();
    symlink("nowhere", outside.path().join("hosts")).unwrap();
    let root = tempfile::tempdir().unwrap();
    symlink(outside.path(), root.path().join("etc")).unwrap();
    make_room(&open_root(root.path()).unwrap()).unwrap();
    assert!(outside.path().join("hosts").symlink_metadata().is_ok());
    // And a root without any has nothing to make room in.
    make_room(&open_root(tempfile::tempdir().unwrap().path()).unwrap()).unwrap();
}

#[test]
fn the_host_name_stands_in_two_of_the_files() {
    assert_eq!(contents("hostname", "box", None), "box\n");
    assert!(contents("hosts", "box", None).ends_with("127.0.1.1\tbox\n"));
    assert!(contents("hosts", "box", None).starts_with("127.0.0.1\tlocalhost\n"));
    assert_eq!(contents("resolv.conf", "box", None), "");
}

#[test]
fn a_network_names_the_container_by_its_addresses_and_others_besides() {
    let address = |text: &str| (text.parse().unwrap(), 24);
    let network = |addresses: &[&str]| Network {
        mtu: 1500,
        addresses: addresses.iter().map(|text| address(text)).collect(),
        gateways: Vec::new(),
        resolv_conf: "nameserver 192.0.0.1\n".to_owned(),
        hosts: "192.0.0.1\tgateway\n".to_owned(),
    };
    let all = ["127.0.0.2", "fe80::2", "192.0.0.2", "fd00::2", "192.0.0.3", "fd00::3"];
    let hosts = contents("hosts", "box", Some(&network(&all)));
    let lines = "ff02::2\tip6-allrouters\n192.0.0.2\tbox\nfd00::2\tbox\n192.0.0.1\tgateway\n";
    assert!(hosts.ends_with(lines), "{hosts}");
    assert!(hosts.starts_with("127.0.0.1\tlocalhost\n"));
    let hosts = contents("hosts", "box", Some(&network(&["192.0.0.2"])));
    assert!(hosts.ends_with("ip6-allrouters\n192.0.0.2\tbox\n192.0.0.1\tgateway\n"), "{hosts}");
    let names = contents("resolv.conf", "box", Some(&network(&[])));
    assert_eq!(names, "nameserver 192.0.0.1\n");
}
