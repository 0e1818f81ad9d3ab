//! Random trees: what is read back from the image is what was put into the archive.

use super::readback::{fsck, read_image};
use super::unpack_bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tar::{Builder, EntryType, Header};

#[derive(Debug, Clone)]
enum Kind {
    Directory,
    File(Vec<u8>),
    Link(Vec<u8>),
    Fifo,
    Device(u32, u32),
}

#[derive(Debug, Clone)]
struct Item {
    /// Index of its directory among those before it, modulo their count.
    parent: usize,
    name: Vec<u8>,
    kind: Kind,
    mode: u16,
    uid: u32,
    mtime: (i64, u32),
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("part of a name", |b| !matches!(b, 0 | b'/'));
    prop::collection::vec(byte, 1..120)
        .prop_filter("a name", |name| name != b"." && name != b".." && !name.starts_with(b".wh."))
}

fn kind() -> impl Strategy<Value = Kind> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    prop_oneof![
        3 => Just(Kind::Directory),
        3 => bytes(100).prop_map(Kind::File),
        2 => bytes(20_000).prop_map(Kind::File),
        1 => (0usize..3).prop_map(|blocks| Kind::File(vec![0; blocks * 4096 + 4000])),
        2 => prop::collection::vec(1u8..=255, 1..4000).prop_map(Kind::Link),
        1 => Just(Kind::Fifo),
        1 => (0u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| Kind::Device(major, minor)),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let xattr_name = prop::collection::vec(b'a'..=b'z', 1..20)
        .prop_map(|name| [b"user.", name.as_slice()].concat());
    let xattrs =
        prop::collection::btree_map(xattr_name, prop::collection::vec(any::<u8>(), 0..2500), 0..3);
    let mtime = (-(1i64 << 40)..1 << 40, 0u32..1_000_000_000);
    let owner = prop_oneof![0u32..70_000, 0..u32::MAX];
    (any::<usize>(), name(), kind(), 0u16..0o10000, owner, mtime, xattrs).prop_map(
        |(parent, name, kind, mode, uid, mtime, xattrs)| Item {
            parent,
            name,
            kind,
            mode,
            uid,
            mtime,
            xattrs,
        },
    )
}

/// The path and item of each, without those whose path is taken.
fn placed(items: Vec<Item>) -> Vec<(Vec<u8>, Item)> {
    let mut directories = vec![Vec::new()];
    let mut placed: Vec<(Vec<u8>, Item)> = Vec::new();
    for item in items {
        let parent = &directories[item.parent % directories.len()];
        let path = [parent.as_slice(), &item.name].concat();
        if path.len() > 3000 || placed.iter().any(|(other, _)| *other == path) {
            continue;
        }
        if matches!(item.kind, Kind::Directory) {
            directories.push([&path, &b"/"[..]].concat());
        }
        placed.push((path, item));
    }
    placed
}

fn seconds((seconds, nanoseconds): (i64, u32)) -> String {
    match (seconds, nanoseconds) {
        (0.., _) => format!("{seconds}.{nanoseconds:09}"),
        (_, 0) => format!("{seconds}"),
        // Pax times are decimal numbers, so that a part of a second counts down from zero.
        _ => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
    }
}

fn archive(items: &[(Vec<u8>, Item)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, item) in items {
        let (uid, mtime) = (item.uid.to_string(), seconds(item.mtime));
        let mut records: Vec<(String, Vec<u8>)> = vec![
            ("path".into(), path.clone()),
            ("uid".into(), uid.into_bytes()),
            ("mtime".into(), mtime.into_bytes()),
        ];
        let mut header = Header::new_ustar();
        let mut data: &[u8] = &[];
        let (entry_type, device) = match &item.kind {
            Kind::Directory => (EntryType::Directory, None),
            Kind::File(content) => {
                data = content;
                (EntryType::Regular, None)
            }
            Kind::Link(target) => {
                records.push(("linkpath".into(), target.clone()));
                (EntryType::Symlink, None)
            }
            Kind::Fifo => (EntryType::Fifo, None),
            Kind::Device(major, minor) => (EntryType::Block, Some((*major, *minor))),
        };
        header.set_entry_type(entry_type);
        header.set_mode(u32::from(item.mode));
        header.set_size(data.len() as u64);
        if let Some((major, minor)) = device {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        }
        for (name, value) in &item.xattrs {
            records
                .push((format!("SCHILY.xattr.{}", String::from_utf8_lossy(name)), value.clone()));
        }
        header.set_cksum();
        builder
            .append_pax_extensions(
                records.iter().map(|(key, value)| (key.as_str(), value.as_slice())),
            )
            .unwrap();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_goes_in_comes_out(items in prop::collection::vec(item(), 0..80)) {
        let items = placed(items);
        let (_, image) = unpack_bytes(&archive(&items)).unwrap();
        fsck(&image);
        let mut seen = read_image(&image);
        prop_assert!(seen.remove(&b""[..]).is_some());
        prop_assert_eq!(seen.len(), items.len());
        for (path, item) in items {
            let seen = &seen[&path];
            let (kind, content, device) = match item.kind {
                Kind::Directory => ('d', Vec::new(), None),
                Kind::File(content) => ('f', content, None),
                Kind::Link(target) => ('l', target, None),
                Kind::Fifo => ('p', Vec::new(), None),
                Kind::Device(major, minor) => ('b', Vec::new(), Some((major, minor))),
            };
            prop_assert_eq!((seen.kind, seen.device), (kind, device));
            prop_assert!(seen.content == content);
            prop_assert_eq!((seen.mode, seen.uid), (u32::from(item.mode), item.uid));
            prop_assert_eq!(seen.mtime, item.mtime);
            prop_assert_eq!(&seen.xattrs, &item.xattrs);
        }
    }
}
