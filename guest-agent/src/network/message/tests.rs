use super::*;

fn hex(bytes: &[u8]) -> String {
    let words = bytes.chunks(4).map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect());
    words.collect::<Vec<String>>().join(" ")
}

/// In words of four bytes: struct nlmsghdr, then the header of its kind, then each attribute.
#[test]
fn changes_are_the_kernels_bytes() {
    let one = |change| hex(&changes(&[change], 2));
    assert_eq!(
        one(Change::Move(77)),
        "3c000000 13000500 00000000 00000000 00000000 02000000 00000000 00000000 \
         08001c00 4d000000 08003100 02000000 09000300 65746830 00000000"
    );
    assert_eq!(
        one(Change::Loopback),
        "20000000 13000500 00000000 00000000 00000000 01000000 01000000 01000000"
    );
    assert_eq!(
        one(Change::Up(1500)),
        "28000000 13000500 00000000 00000000 00000000 02000000 01000000 01000000 08000400 dc050000"
    );
    assert_eq!(
        one(Change::Address("192.0.0.2".parse().unwrap(), 24)),
        "28000000 14000505 00000000 00000000 02180200 02000000 \
         08000200 c0000002 08000100 c0000002"
    );
    assert_eq!(
        one(Change::Address("fd00::2".parse().unwrap(), 64)),
        "40000000 14000505 00000000 00000000 0a400200 02000000 \
         14000200 fd000000 00000000 00000000 00000002 14000100 fd000000 00000000 00000000 00000002"
    );
    assert_eq!(
        one(Change::Gateway("192.0.0.1".parse().unwrap())),
        "2c000000 18000505 00000000 00000000 02000000 fe040001 00000000 \
         08000500 c0000001 08000400 02000000"
    );
    assert_eq!(
        one(Change::Gateway("fd00::1".parse().unwrap())),
        "38000000 18000505 00000000 00000000 0a000000 fe040001 00000000 \
         14000500 fd000000 00000000 00000000 00000001 08000400 02000000"
    );
    assert_eq!(
        hex(&list()),
        "28000000 12000103 00000000 00000000 00000000 00000000 00000000 00000000 08001d00 08000000"
    );
}

#[test]
fn of_many_changes_the_last_alone_is_answered() {
    let many = changes(&[Change::Loopback, Change::Loopback, Change::Loopback], 2);
    let heads: Vec<String> = many.chunks(32).map(|message| hex(&message[4..12])).collect();
    assert_eq!(heads, ["13000100 00000000", "13000100 01000000", "13000500 02000000"]);
    assert!(changes(&[], 2).is_empty());
}

/// An interface, as the kernel lists it.
fn listed(kind: u16, index: u32, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut header = [0, index, flags, 0].map(u32::to_ne_bytes).concat();
    header[2..4].copy_from_slice(&kind.to_ne_bytes());
    let message = Message::begin(libc::RTM_NEWLINK, 2, 0, &header);
    let add = |message: Message, (kind, value): &(u16, &[u8])| message.attribute(*kind, value);
    attributes.iter().fold(message, add).end()
}

fn ended(kind: u16, sequence: u32, error: i32) -> Vec<u8> {
    Message::begin(kind, 0, sequence, &error.to_ne_bytes()).end()
}

#[test]
fn an_ethernet_device_with_hardware_is_found_among_others() {
    const VIRTIO: (u16, &[u8]) = (link::HARDWARE, b"virtio3\0");
    let lo = listed(libc::ARPHRD_LOOPBACK, 1, 1, &[(link::NAME, b"lo\0")]);
    let dummy = listed(libc::ARPHRD_ETHER, 2, 1, &[(link::NAME, b"dummy0\0")]);
    let odd = listed(libc::ARPHRD_NONE, 3, 0, &[(link::NAME, b"x\0"), VIRTIO]);
    let eth0 = listed(libc::ARPHRD_ETHER, 4, 0, &[(link::NAME, b"eth0\0"), (9, &[7; 5]), VIRTIO]);
    let up = listed(libc::ARPHRD_ETHER, 5, 1, &[VIRTIO, (link::NAME, b"eth1\0")]);
    let done = ended(DONE, 0, 0);
    let device =
        |index, name: &str, is_up| Answer::Device(Device { index, name: name.into(), is_up });
    let all = [lo, dummy, odd, eth0, up, done].concat();
    let expected = [device(4, "eth0", false), device(5, "eth1", true), Answer::Done];
    assert_eq!(answers(&all), expected);
    // What is cut off is not there, wherever that is.
    for length in 0..all.len() {
        assert!(expected.starts_with(&answers(&all[..length])), "{length}");
    }
}

#[test]
fn errors_name_the_message_that_they_are_about() {
    let refused = Answer::Refused { sequence: 3, errno: libc::EPERM };
    assert_eq!(answers(&ended(FAILED, 3, -libc::EPERM)), [refused]);
    assert_eq!(answers(&ended(FAILED, 3, 0)), [Answer::Done]);
    // A length of none would never end.
    assert_eq!(answers(&[0; 64]), []);
}
