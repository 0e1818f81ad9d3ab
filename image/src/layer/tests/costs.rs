//! What a layer may cost, however little of it there is in the end.

use super::{Archive, Limited, Limits, UnpackError, unpack_within};
use crate::digest::Algorithm;
use crate::layer::{UnpackJob, unpack};
use std::fs::File;
use std::io::Write;
use tar::EntryType;

fn limited(archive: Archive, limits: &Limits) -> Option<Limited> {
    match unpack_within(&archive.bytes(), limits) {
        Ok(_) => None,
        Err(UnpackError::Limit { what, .. }) => Some(what),
        Err(other) => panic!("{other:?}"),
    }
}

/// A directory may be named again and again, each time with other attributes.
#[test]
fn attributes_of_directories_are_counted() {
    let limits = Limits { metadata_bytes: 100_000, ..Limits::default() };
    let value = [b'v'; 30_000];
    for path in ["./", "dir"] {
        let times = |count: usize| {
            let first = Archive::new().directory(path);
            (0..count).fold(first, |archive, _| {
                archive.pax(&[("SCHILY.xattr.user.a", &value)]).directory(path)
            })
        };
        assert_eq!(limited(times(3), &limits), None, "{path}");
        assert_eq!(limited(times(4), &limits), Some(Limited::MetadataBytes), "{path}");
    }
}

/// Also those that leave no inode.
#[test]
fn every_entry_is_counted() {
    let limits = Limits { entries: 10, ..Limits::default() };
    for path in [".wh..wh.plnk", "a/.wh..wh..opq", ".wh.a", "a"] {
        let kind = if path == "a" { EntryType::Directory } else { EntryType::Regular };
        let times = |count: usize| {
            (0..count).fold(Archive::new(), |archive, _| archive.entry(kind, path, "", b""))
        };
        assert_eq!(limited(times(10), &limits), None, "{path}");
        assert_eq!(limited(times(11), &limits), Some(Limited::Entries), "{path}");
    }
}

/// A path of two names may lead along thousands.
#[test]
fn walks_are_counted() {
    let limits = Limits { steps: 20_000, ..Limits::default() };
    for target in ["d/../".repeat(800), "./".repeat(2000), "/".repeat(4000)] {
        let times = |count: usize| {
            let first = Archive::new()
                .directory("d")
                .pax(&[("linkpath", target.as_bytes())])
                .symlink("l", "long");
            (0..count).fold(first, |archive, _| archive.file("l/x", b""))
        };
        assert_eq!(limited(times(4), &limits), None, "{target}");
        assert_eq!(limited(times(15), &limits), Some(Limited::Steps), "{target}");
    }
}

#[test]
fn what_is_written_is_counted_and_holes_are_not() {
    let limits = Limits { written_bytes: 50_000, ..Limits::default() };
    let of = |byte: u8| {
        let layer = Archive::new().file("a", &[byte; 100_000]).bytes();
        unpack_within(&layer, &limits).map(|_| ())
    };
    assert_eq!(of(1), Err(UnpackError::NoRoom));
    assert_eq!(of(0), Ok(()));
}

#[test]
fn a_full_volume_is_told_as_such() {
    let layer = Archive::new().file("a", &[1; 5_000_000]).bytes();
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(&layer).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let job = UnpackJob {
        offset: 0,
        length: layer.len() as u64,
        diff_algorithm: Algorithm::Sha256,
        limits: Limits::default(),
    };
    assert_eq!(unpack(&job, &input, &full).unwrap_err(), UnpackError::NoRoom);
}
