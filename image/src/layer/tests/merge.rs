//! Merged trees, read with a reader that is not ours: what they show is what the layers show one over the other.

use super::super::{MergeJob, merge};
use super::readback::{Seen, fsck, read_image};
use super::{Archive, unpack_bytes};
use crate::digest::{Algorithm, Digest};
use crate::layer::{Limited, Limits, UnpackError};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Cursor;
use tar::EntryType;

type Tree = BTreeMap<Vec<u8>, Seen>;

fn job(images: &[Vec<u8>]) -> MergeJob {
    let lengths = images.iter().map(|image| image.len() as u64).collect();
    MergeJob { lengths, uuid: [7; 16], limits: Limits::default() }
}

fn merged_within(job: &MergeJob, images: &[Vec<u8>]) -> Result<Vec<u8>, UnpackError> {
    let mut output = Cursor::new(Vec::new());
    let length = merge(job, images.iter().map(Cursor::new), &mut output)?;
    let output = output.into_inner();
    assert_eq!(output.len() as u64, length);
    Ok(output)
}

fn images(layers: Vec<Archive>) -> Vec<Vec<u8>> {
    layers.into_iter().map(|layer| unpack_bytes(&layer.bytes()).unwrap().1).collect()
}

/// The device that a sandbox is given: the tree, and behind it the layers.
fn device(images: &[Vec<u8>]) -> Vec<u8> {
    let mut device = merged_within(&job(images), images).unwrap();
    images.iter().for_each(|image| device.extend(image));
    device
}

fn seen(images: &[Vec<u8>]) -> Tree {
    let device = device(images);
    fsck(&device);
    read_image(&device)
}

/// What overlayfs shows of the layers.
fn shown(images: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::new();
    for image in images {
        let layer = read_image(image);
        let below = |path: &[u8], directory: &[u8]| {
            path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        for (path, mut seen) in layer {
            let opaque = seen.xattrs.remove(&b"trusted.overlay.opaque"[..]).is_some();
            let whiteout = seen.kind == 'c' && seen.device == Some((0, 0));
            let stays =
                seen.kind == 'd' && !opaque && tree.get(&path).is_some_and(|it| it.kind == 'd');
            if !stays && !path.is_empty() {
                tree.retain(|other, _| *other != path && !below(other, &path));
            }
            if !whiteout {
                tree.insert(path, seen);
            }
        }
    }
    tree
}

/// Without what one name of an inode does not tell, and short enough to be read where two differ.
fn comparable(tree: Tree) -> BTreeMap<String, Seen> {
    let short = |(path, seen): (Vec<u8>, Seen)| {
        let content = Digest::of(Algorithm::Sha256, &seen.content).hex().as_bytes()[..8].to_vec();
        (String::from_utf8(path).unwrap(), Seen { links: 0, inode: 0, content, ..seen })
    };
    tree.into_iter().map(short).collect()
}

#[test]
fn upper_layers_replace_hide_and_add() {
    let layers = vec![
        Archive::new()
            .directory("etc")
            .file("etc/kept", &[1; 9000])
            .file("etc/hidden", b"secret")
            .file("etc/replaced", b"old")
            .directory("gone")
            .file("gone/below", b"x")
            .directory("emptied")
            .file("emptied/old", b"x"),
        Archive::new()
            .file("etc/.wh.hidden", b"")
            .file("etc/replaced", &[2; 5000])
            .file(".wh.gone", b"")
            .file("emptied/.wh..wh..opq", b"")
            .file("emptied/new", b"y"),
        Archive::new().directory("gone").file("gone/again", b"z"),
    ];
    let tree = seen(&images(layers));
    let paths: Vec<_> = tree.keys().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    let expected =
        ["", "emptied", "emptied/new", "etc", "etc/kept", "etc/replaced", "gone", "gone/again"];
    assert_eq!(paths, expected);
    assert!(tree[&b"etc/kept"[..]].content == [1; 9000]);
    assert!(tree[&b"etc/replaced"[..]].content == [2; 5000]);
    assert!(tree.values().all(|it| it.xattrs.is_empty()), "no mark of overlayfs's is left");
}

#[test]
fn names_of_one_file_stay_names_of_one_file() {
    let layers = vec![
        Archive::new().file("a", b"one").hard_link("b", "a").hard_link("c", "a"),
        Archive::new().file(".wh.b", b""),
    ];
    let tree = seen(&images(layers));
    let (a, c) = (&tree[&b"a"[..]], &tree[&b"c"[..]]);
    assert_eq!((a.inode, a.links), (c.inode, 2));
    assert!(!tree.contains_key(&b"b"[..]));
}

#[test]
fn a_sparse_file_of_an_upper_layer_keeps_its_holes() {
    let map = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0")];
    let size = [("GNU.sparse.name", &b"sparse"[..]), ("GNU.sparse.realsize", b"1048576")];
    let mut data = b"1\n524288\n4\n".to_vec();
    data.resize(512, 0);
    data.extend(b"data");
    let sparse = Archive::new().pax(&[map, size].concat()).file("GNUSparseFile.0/sparse", &data);
    let tree = seen(&images(vec![Archive::new().file("a", &[3; 20_000]), sparse]));
    let content = &tree[&b"sparse"[..]].content;
    assert_eq!((content.len(), &content[524_288..524_292]), (1 << 20, &b"data"[..]));
    assert!(content[..524_288].iter().all(|&byte| byte == 0));
}

#[test]
fn what_it_keeps_in_memory_is_limited() {
    let files = (0..50)
        .fold(Archive::new(), |archive, number| archive.file(&format!("{number}"), &[1; 2000]));
    let images = images(vec![files, Archive::new()]);
    let mut job = job(&images);
    job.limits.metadata_bytes = 50_000;
    let expected = UnpackError::Limit { what: Limited::MetadataBytes, limit: 50_000 };
    assert_eq!(merged_within(&job, &images), Err(expected));
}

#[test]
fn a_directory_within_itself_is_refused() {
    let mut image = images(vec![Archive::new().directory("aaaa").directory("aaaa/bbbb")]).remove(0);
    let root = read_image(&image)[&b""[..]].inode;
    let inner = read_image(&image)[&b"aaaa/bbbb"[..]].inode;
    let entries: Vec<usize> =
        (0..image.len() - 8).filter(|&at| image[at..at + 8] == inner.to_le_bytes()).collect();
    assert!(!entries.is_empty());
    entries.iter().for_each(|&at| image[at..at + 8].copy_from_slice(&root.to_le_bytes()));
    let images = [image];
    assert!(matches!(merged_within(&job(&images), &images), Err(UnpackError::Image(_))));
}

/// A file's size is a number like others: no sum of it wraps.
#[test]
fn a_file_of_any_size_lies_in_its_image_or_nowhere() {
    let image = images(vec![Archive::new().file("file", &[1; 8192])]).remove(0);
    let inode = read_image(&image)[&b"file"[..]].inode;
    let inodes = u32::from_le_bytes(image[1064..1068].try_into().unwrap());
    let at = usize::try_from(u64::from(inodes) * 4096 + inode * 32).unwrap() + 8;
    assert_eq!(image[at..at + 8], 8192u64.to_le_bytes());
    for size in [u64::MAX, u64::MAX - 4095, 1 << 63, image.len() as u64 + 1] {
        let mut image = image.clone();
        image[at..at + 8].copy_from_slice(&size.to_le_bytes());
        let expected = Err(UnpackError::Image("a file's place".into()));
        assert_eq!(merged_within(&job(std::slice::from_ref(&image)), &[image]), expected, "{size}");
    }
}

#[derive(Debug, Clone)]
enum Change {
    File(usize),
    Directory,
    Link,
    Fifo,
    Whiteout,
    Opaque,
}

fn change() -> impl Strategy<Value = (Vec<u8>, Change)> {
    let kind = prop_oneof![
        3 => prop_oneof![0usize..100, 0usize..10_000].prop_map(Change::File),
        3 => Just(Change::Directory),
        1 => Just(Change::Link),
        1 => Just(Change::Fifo),
        2 => Just(Change::Whiteout),
        1 => Just(Change::Opaque),
    ];
    (prop::collection::vec(b'a'..=b'c', 1..4), kind)
}

/// An archive of changes, without those whose path leads through what is no directory.
fn layer(mut changes: Vec<(Vec<u8>, Change)>) -> Vec<u8> {
    let solid: Vec<Vec<u8>> = changes
        .iter()
        .filter(|(_, change)| matches!(change, Change::File(_) | Change::Link | Change::Fifo))
        .map(|(path, _)| path.clone())
        .collect();
    changes.retain(|(path, change)| {
        let below = |it: &Vec<u8>| path.starts_with(it) && path != it;
        let within = |it: &Vec<u8>| matches!(change, Change::Opaque) && path == it;
        !solid.iter().any(|it| below(it) || within(it))
    });
    let mut archive = Archive::new();
    for (index, (path, change)) in changes.into_iter().enumerate() {
        let names: Vec<String> = path.iter().map(|&byte| char::from(byte).to_string()).collect();
        let (name, parents) = names.split_last().unwrap();
        let parent: String = parents.iter().map(|parent| format!("{parent}/")).collect();
        let path = format!("{parent}{name}");
        let before = Archive(archive.0);
        archive = match change {
            Change::File(length) => {
                before.file(&path, &vec![u8::try_from(index + 1).unwrap(); length])
            }
            Change::Directory => before.directory(&path),
            Change::Link => before.symlink(&path, "elsewhere"),
            Change::Fifo => before.entry(EntryType::Fifo, &path, "", b""),
            Change::Whiteout => before.file(&format!("{parent}.wh.{name}"), b""),
            Change::Opaque => before.file(&format!("{path}/.wh..wh..opq"), b""),
        };
    }
    archive.bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_merged_tree_is_what_its_layers_show(
        layers in prop::collection::vec(prop::collection::vec(change(), 0..12), 1..6),
    ) {
        let images: Vec<_> =
            layers.into_iter().map(|it| unpack_bytes(&layer(it)).unwrap().1).collect();
        prop_assert_eq!(comparable(seen(&images)), comparable(shown(&images)));
    }

    #[test]
    fn no_image_is_believed(
        flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..20),
        at_inodes in any::<bool>(),
    ) {
        let archive = Archive::new().directory("d").file("d/f", &[1; 5000]).symlink("l", "d/f");
        let mut image = images(vec![archive]).remove(0);
        let length = image.len();
        // The last blocks have the inodes.
        let from = if at_inodes { length.saturating_sub(8192) } else { 1024 };
        for (at, byte) in flips {
            let at = from + at % (length - from);
            image[at] = byte;
        }
        let images = [image];
        if let Ok(merged) = merged_within(&job(&images), &images) {
            prop_assert!(merged.len() < 1 << 20);
        }
    }
}
