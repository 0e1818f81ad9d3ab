//! Archives that no one should make. Nothing here may panic, hang, or take memory that they ask for.

use super::{Archive, entry_error, unpack_bytes};
use crate::layer::{EntryError, TarError, UnpackError};
use proptest::prelude::*;
use tar::EntryType;

fn tar_error(layer: &[u8]) -> TarError {
    match unpack_bytes(layer).unwrap_err() {
        UnpackError::Tar(error) => error,
        other => panic!("{other:?}"),
    }
}

fn good() -> Vec<u8> {
    Archive::new()
        .pax(&[("SCHILY.xattr.user.a", b"b"), ("mtime", b"1.5")])
        .file("dir/file", &[9; 1500])
        .symlink("link", "dir")
        .hard_link("link/other", "dir/file")
        .file(".wh.gone", b"")
        .bytes()
}

/// A header for these fields, and its checksum.
fn header(path: &[u8], kind: u8, size: &[u8]) -> [u8; 512] {
    let mut block = [0; 512];
    block[..path.len()].copy_from_slice(path);
    block[124..124 + size.len()].copy_from_slice(size);
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    sum(&mut block);
    block
}

fn sum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn names_that_lead_elsewhere() {
    let of = |path: &str| entry_error(Archive::new().file(path, b""));
    assert_eq!(of("../a"), EntryError::ParentComponent);
    assert_eq!(of("a/../../b"), EntryError::ParentComponent);
    assert_eq!(of(""), EntryError::EmptyName);
    assert_eq!(entry_error(Archive::new().symlink("/.", "a")), EntryError::ReplacesRoot);
    let upward = Archive::new().file("a", b"").hard_link("b", "../a");
    assert_eq!(entry_error(upward), EntryError::ParentComponent);
    let long = Archive::new().pax(&[("path", "n".repeat(256).as_bytes())]).file("a", b"");
    assert_eq!(entry_error(long), EntryError::NameTooLong);
    let deep = Archive::new().pax(&[("path", "n/".repeat(2100).as_bytes())]).file("a", b"");
    assert_eq!(entry_error(deep), EntryError::PathTooLong);
    let rooted = Archive::new().file("/./a//b", b"x").seen();
    assert_eq!(rooted[&b"a/b"[..]].content, b"x");
}

/// As Go has it: the version behind the magic may be anything; GNU's magic has no prefix.
#[test]
fn a_prefix_needs_the_magic_alone() {
    let name = |magic: &[u8; 8]| {
        let mut block = header(b"name", b'0', b"0\0");
        block[257..265].copy_from_slice(magic);
        block[345..351].copy_from_slice(b"prefix");
        sum(&mut block);
        let (_, image) = unpack_bytes(&block).unwrap();
        super::read_image(&image).keys().last().cloned().unwrap()
    };
    for magic in [b"ustar\x0000", b"ustar\0\0\0", b"ustar\0 \0"] {
        assert_eq!(name(magic), b"prefix/name");
    }
    assert_eq!(name(b"ustar  \0"), b"name");
    assert_eq!(name(&[0; 8]), b"name");
}

#[test]
fn every_cut_is_noticed() {
    let layer = good();
    // What follows the last entry is two blocks of zeroes; without them it ends well too.
    let end = layer.len() - 1024;
    for length in 1..end {
        let boundary = [0, 3072 + 512, 3072 + 1024].contains(&length);
        let result = unpack_bytes(&layer[..length]);
        match result {
            Ok(_) => assert!(boundary || length.is_multiple_of(512), "{length}"),
            Err(error) => assert!(
                matches!(error, UnpackError::Tar(TarError::Truncated { .. })),
                "{length}: {error:?}"
            ),
        }
    }
    assert!(matches!(tar_error(&layer[..1000]), TarError::Truncated { .. }));
}

#[test]
fn numbers_that_ask_for_too_much() {
    // An extension of 8 GiB, and one that is longer than there are bytes.
    let long = header(b"x", b'L', b"77777777777\0");
    assert!(matches!(tar_error(&long), TarError::ExtensionTooLong { .. }));
    let cut = header(b"x", b'x', b"00000001000\0");
    assert!(matches!(tar_error(&cut), TarError::Truncated { .. }));
    // The largest size there is, in base 256; and a negative one.
    let mut large = [0xffu8; 12];
    large[0] = 0x80;
    assert!(matches!(tar_error(&header(b"x", b'0', &large)), TarError::Number { .. }));
    assert!(matches!(tar_error(&header(b"x", b'0', &[0xff; 12])), TarError::Number { .. }));
    let mut most = [0xffu8; 12];
    most[..5].copy_from_slice(&[0x80, 0, 0, 0, 0x7f]);
    assert!(matches!(
        unpack_bytes(&header(b"x", b'0', &most)),
        Err(UnpackError::Limit { .. } | UnpackError::Tar(TarError::Truncated { .. }))
    ));
    assert!(matches!(tar_error(&header(b"x", b'g', &most)), TarError::Truncated { .. }));
    assert!(matches!(tar_error(&header(b"x", b'0', b"12345678x\0")), TarError::Number { .. }));
    let owner = Archive::new().pax(&[("uid", b"4294967295")]).file("a", b"").error();
    assert!(matches!(owner, UnpackError::Tar(TarError::Number { .. })));
    let device = Archive::new().device(EntryType::Char, "a", 4096, 0);
    assert_eq!(entry_error(device), EntryError::Device);
}

#[test]
fn malformed_extensions() {
    for record in [
        "5 a=b\n",
        "7 a=b\n",
        "x a=b\n",
        "6 a=b",
        "",
        "99999999999999999999 a=b\n",
        "6 abc\n",
        "11 path=\0b\n",
        "10 uid=-1\n",
        "13 mtime=1.x\n",
    ] {
        let mut layer = header(b"x", b'x', format!("{:011o}\0", record.len()).as_bytes()).to_vec();
        layer.extend(record.as_bytes());
        layer.resize(layer.len().next_multiple_of(512), 0);
        layer.extend(header(b"a", b'0', b"0\0"));
        match record {
            // No records, and one of no meaning, are well formed.
            "" => drop(unpack_bytes(&layer).unwrap()),
            _ if record == "6 a=b\n" => drop(unpack_bytes(&layer).unwrap()),
            _ => assert!(
                matches!(tar_error(&layer), TarError::MalformedExtension { .. }),
                "{record:?}"
            ),
        }
    }
}

#[test]
fn sparse_maps_that_make_no_sense() {
    let of = |map: &[u8], size: &[u8], data: &[u8]| {
        let layer = Archive::new()
            .pax(&[("GNU.sparse.size", size), ("GNU.sparse.map", map)])
            .file("a", data)
            .bytes();
        unpack_bytes(&layer)
    };
    assert!(of(b"1,2,4096,3", b"5000", b"12345").is_ok());
    assert!(of(b"", b"5000", b"").is_ok());
    for (map, size, data) in [
        (&b"4096,3,1,2"[..], &b"5000"[..], &b"12345"[..]),
        (b"1,2,2,3", b"5000", b"12345"),
        (b"1,2,4096,3", b"4098", b"12345"),
        (b"1,2,4096,3", b"5000", b"1234"),
        (b"1,2,4096,3", b"5000", b"123456"),
        (b"1,2,3", b"5000", b"12"),
        (b"18446744073709551615,2", b"5000", b"12"),
        (b"0,1", b"99999999999999999", b"1"),
    ] {
        let error = of(map, size, data).unwrap_err();
        assert!(
            matches!(error, UnpackError::Tar(TarError::SparseMap { .. })),
            "{error:?} {}",
            String::from_utf8_lossy(map)
        );
    }
    // Format 1.0: the map is in the data.
    for data in ["", "1\n0\n", "99999999999\n", "x\n", "1\n0\n1\n"] {
        let mut block = data.as_bytes().to_vec();
        block.resize(512, 0);
        let records: [(&str, &[u8]); 3] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"10"),
        ];
        let layer = Archive::new().pax(&records).file("a", &block).bytes();
        assert!(unpack_bytes(&layer).is_err(), "{data:?}");
    }
    // 16 TiB of nothing costs nothing, and is read back as such by the kernel's own limits.
    let (_, image) = of(b"", b"17592186044416", b"").unwrap();
    assert!(image.len() < 1 << 20);
}

#[test]
fn other_kinds_of_entries_and_garbage() {
    assert!(matches!(tar_error(&header(b"a", b'V', b"0\0")), TarError::UnsupportedType { .. }));
    assert!(matches!(tar_error(&[b'a'; 2048]), TarError::Checksum { .. }));
    let mut lone = good();
    lone.truncate(lone.len() - 512);
    lone.extend(header(b"a", b'0', b"0\0"));
    assert!(matches!(tar_error(&lone), TarError::LoneZeroBlock { .. }));
    let name_only = header(b"x", b'L', b"0\0");
    assert!(matches!(tar_error(&name_only), TarError::Truncated { .. }));
    let xattr = vec![b'v'; 65_536];
    let large = Archive::new().pax(&[("SCHILY.xattr.user.a", &xattr)]).file("a", b"");
    assert_eq!(entry_error(large), EntryError::Xattr);
    let names: Vec<String> = (0..5).map(|n| format!("SCHILY.xattr.user.{n}")).collect();
    let records: Vec<(&str, &[u8])> = names.iter().map(|n| (&n[..], &xattr[1..])).collect();
    let many = Archive::new().pax(&records).file("a", b"");
    assert_eq!(entry_error(many), EntryError::XattrTotal);
    let fits = Archive::new().pax(&records[..3]).file("a", b"x").seen();
    assert_eq!(fits[&b"a"[..]].xattrs.len(), 3);
}

#[test]
fn messages_escape_what_they_quote() {
    let error = Archive::new().file("\u{1b}[31m/../\n", b"").error();
    assert_eq!(error.to_string(), r#"the layer's entry "\u{1b}[31m/../\n" cannot be unpacked"#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn damage_does_no_harm(flips in prop::collection::vec((0usize..6000, any::<u8>()), 1..8), sums: bool) {
        let mut layer = good();
        for (at, byte) in flips {
            let at = at % layer.len();
            layer[at] = byte;
        }
        if sums {
            // So that more than the checksum is tried.
            for block in layer.as_chunks_mut::<512>().0 {
                if block[257..262] == *b"ustar" {
                    sum(block);
                }
            }
        }
        if let Ok((_, image)) = unpack_bytes(&layer) {
            super::fsck(&image);
            super::read_image(&image);
        }
    }

    #[test]
    fn anything_does_no_harm(layer in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = unpack_bytes(&layer);
    }
}
