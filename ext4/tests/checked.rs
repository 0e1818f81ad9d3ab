//! Every size is a whole file system to e2fsck, and takes little.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails so")]
#![allow(missing_docs, reason = "a test")]

use ext4::{Identity, Layout, MAX_BYTES, MIN_BYTES, format};
use proptest::prelude::*;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use tempfile::NamedTempFile;

const IDENTITY: Identity =
    Identity { uuid: *b"\xc0\xff\xe2\xda0123456789ab", made_at: 1_700_000_000 };
const GIB: u64 = 1 << 30;
/// A group's.
const GROUP: u64 = 128 << 20;

fn made(bytes: u64) -> (NamedTempFile, Layout) {
    let file = NamedTempFile::new().unwrap();
    let layout = Layout::of_bytes(bytes).unwrap();
    format(file.as_file(), &layout, &IDENTITY).unwrap();
    assert_eq!(file.as_file().metadata().unwrap().len(), layout.bytes());
    (file, layout)
}

fn said(program: &str, arguments: &[&str], file: &NamedTempFile) -> String {
    let output = Command::new(program).args(arguments).arg(file.path()).output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{program}: {}: {said:?}", output.status);
    said.concat()
}

/// Forced, and without an answer that would mend anything.
fn check(bytes: u64) {
    let (file, _) = made(bytes);
    let said = said("/sbin/e2fsck", &["-f", "-n"], &file);
    for word in ["fix", "?", "rror", "nvalid", "orrupt"] {
        assert!(!said.contains(word), "{bytes}: {said}");
    }
}

#[test]
fn sizes_about_a_groups_bounds() {
    for groups in [1, 2, 3, 16, 17, 64, 65] {
        for more in [-4096_i64, 0, 4096, 65536] {
            check((groups * GROUP).checked_add_signed(more).unwrap());
        }
    }
    check(MIN_BYTES);
    check(100 * GIB);
}

#[test]
fn the_largest_is_one_too() {
    // e2fsck reads every bitmap, which takes minutes there.
    let (file, layout) = made(MAX_BYTES);
    let said = said("/sbin/dumpe2fs", &["-h"], &file);
    assert!(said.contains(&format!("Block count:              {}\n", layout.blocks())), "{said}");
}

#[test]
fn it_says_what_it_is() {
    let (file, _) = made(GIB);
    let said = said("/sbin/dumpe2fs", &["-h"], &file);
    for line in [
        "Filesystem volume name:   cofferdam",
        "Filesystem UUID:          c0ffe2da-3031-3233-3435-363738396162",
        "Filesystem state:         clean",
        "Reserved block count:     0",
        "Inode size:\t          256",
        "Total journal size:       16M",
        "Filesystem created:       Tue Nov 14 22:13:20 2023",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
}

#[test]
fn a_hundred_gibibytes_take_less_than_a_hundred_kibibytes() {
    let (file, _) = made(100 * GIB);
    let kib = file.as_file().metadata().unwrap().blocks() / 2;
    assert!(kib < 128, "{kib} KiB");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_size(bytes in prop_oneof![MIN_BYTES..GIB, GIB..300 * GIB]) {
        check(bytes);
    }
}
