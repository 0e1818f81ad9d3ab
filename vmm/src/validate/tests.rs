use super::*;
use crate::config::{Console, DiskConfig, Heard, NetworkDevice};
use std::os::fd::OwnedFd;

fn descriptors(count: usize) -> Descriptors {
    (0..count).map(|_| OwnedFd::from(std::fs::File::open("/dev/null").unwrap())).collect()
}

fn extent(slot: u32, length: u64) -> FileExtent {
    FileExtent { file: FdSlot(slot), offset: 0, length }
}

fn honest() -> VmConfig {
    let disk = |serial: &str, writable| DiskConfig {
        serial: serial.into(),
        extents: vec![extent(2, 8192)],
        writable,
        more: None,
    };
    VmConfig {
        kvm: FdSlot(0),
        memory_mib: 64,
        vcpus: 1,
        kernel: extent(1, 100),
        initramfs: extent(1, 1),
        cmdline: vec!["a=b".into()],
        disks: vec![disk("layers", false), disk("upper", true)],
        shares: None,
        network: Some(NetworkDevice { mac: [2, 0, 0, 0, 0, 1], mtu: 68, connection: FdSlot(2) }),
        console: Some(Console { heard: Heard::Everything, file: FdSlot(2) }),
    }
}

fn refused(change: impl FnOnce(&mut VmConfig)) -> ConfigError {
    let mut config = honest();
    change(&mut config);
    validate(&config, &descriptors(3)).unwrap_err()
}

#[test]
fn an_honest_configuration_passes() {
    validate(&honest(), &descriptors(3)).unwrap();
    let most =
        VmConfig { memory_mib: 256 << 10, vcpus: 32, console: None, network: None, ..honest() };
    validate(&most, &descriptors(3)).unwrap();
}

#[test]
fn sizes_have_bounds() {
    assert_eq!(refused(|config| config.memory_mib = 63), ConfigError::Memory { mib: 63 });
    assert_eq!(refused(|config| config.memory_mib = !0), ConfigError::Memory { mib: !0 });
    assert_eq!(refused(|config| config.vcpus = 0), ConfigError::Vcpus { count: 0 });
    assert_eq!(refused(|config| config.vcpus = 33), ConfigError::Vcpus { count: 33 });
}

#[test]
fn every_file_must_have_come() {
    let refusals = [
        refused(|config| config.kvm = FdSlot(3)),
        refused(|config| config.kernel.file = FdSlot(3)),
        refused(|config| config.initramfs.file = FdSlot(!0)),
        refused(|config| {
            config.console = Some(Console { heard: Heard::LastWords, file: FdSlot(3) })
        }),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, ConfigError::NoFile { count: 3, .. }), "{refusal}");
    }
}

#[test]
fn stretches_are_neither_empty_nor_beyond_any_file() {
    let refusals = [
        refused(|config| config.kernel.length = 0),
        refused(|config| config.initramfs.offset = u64::MAX),
        refused(|config| config.kernel.length = 1 << 63),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, ConfigError::Extent { .. }), "{refusal}");
    }
}

#[test]
fn disks_are_few() {
    let many = refused(|config| config.disks = vec![config.disks[0].clone(); 6]);
    assert_eq!(many, ConfigError::Disks { count: 6, most: 5 });
    let many = refused(|config| {
        config.network = None;
        config.disks = vec![config.disks[0].clone(); 7];
    });
    assert_eq!(many, ConfigError::Disks { count: 7, most: 6 });
}

#[test]
fn a_network_device_is_one_device_and_has_packets() {
    let network = |change: fn(&mut NetworkDevice)| {
        refused(|config| config.network.iter_mut().for_each(change))
    };
    assert_eq!(network(|it| it.mac = [0; 6]), ConfigError::Mac { mac: [0; 6] });
    assert_eq!(network(|it| it.mac[0] = 3), ConfigError::Mac { mac: [3, 0, 0, 0, 0, 1] });
    assert_eq!(network(|it| it.mtu = 67), ConfigError::Mtu { mtu: 67 });
    let refusal = network(|it| it.connection = FdSlot(3));
    assert!(matches!(refusal, ConfigError::NoFile { what: "the network", .. }), "{refusal}");
}

#[test]
fn a_word_is_one_word() {
    for word in ["", "a b", "a\nb", "ä", "a\0"] {
        let refusal = refused(|config| config.cmdline.push(word.into()));
        assert_eq!(refusal, ConfigError::Word { word: word.into() });
    }
}
