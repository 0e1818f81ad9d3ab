//! Trees that come out as they went in.

use super::{OWNERS, PLAIN, packed, place};
use crate::{Into, unpack};
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What can be told of a tree: of each path its mode, size, time, content, link, and how many names it has.
type Seen = BTreeMap<PathBuf, (u32, i64, i64, u64, Vec<u8>)>;

fn look(root: &Path) -> Seen {
    let mut seen = Seen::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
        } else if kind.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let links = if kind.is_dir() { 1 } else { metadata.nlink() };
        let seconds = (metadata.mtime(), metadata.mtime_nsec());
        let relative = path.strip_prefix(root).unwrap().to_owned();
        seen.insert(relative, (metadata.mode(), seconds.0, seconds.1, links, content));
    }
    seen
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let at = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: at, last_modification: at };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn every_kind_of_file_is_what_it_was() {
    let scratch = tempfile::tempdir().unwrap();
    let from = scratch.path().join("from");
    let at = |name: &str| from.join(name);
    let long = "n".repeat(200);
    fs::create_dir_all(at(&long).join("d".repeat(250))).unwrap();
    fs::write(at(&long).join("d".repeat(250)).join("f".repeat(255)), "deep").unwrap();
    fs::write(from.join(OsStr::from_bytes(b"odd \xff\n")), "odd").unwrap();
    symlink("t".repeat(3000), at("long link")).unwrap();
    symlink("short", at("link")).unwrap();
    fs::hard_link(at("link"), at("linked link")).unwrap();
    fs::write(at("one"), "both").unwrap();
    fs::hard_link(at("one"), at("two")).unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.write_all_at(b"middle", 1 << 20).unwrap();
    sparse.set_len(4 << 20).unwrap();
    rustix::fs::mknodat(CWD, at("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::set_permissions(at("one"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(at(&long), fs::Permissions::from_mode(0o1777)).unwrap();
    set_time(&at("one"), -1, 250_000_000);
    set_time(&at("pipe"), -5, 0);
    set_time(&at(&long), 1_234_567_890, 987_654_321);
    rustix::fs::setxattr(at("one"), "user.note", b"\0any\n", rustix::fs::XattrFlags::empty())
        .unwrap();
    let archive = packed(&from);
    let to = scratch.path().join("to");
    let copied = place(&archive, &to, PLAIN).unwrap();
    fs::remove_file(at("socket")).unwrap();
    set_time(&from, 0, 0);
    set_time(&to, 0, 0);
    assert_eq!(look(&to), look(&from));
    assert_eq!(copied.entries, look(&from).len() as u64);
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(to.join("two"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"\0any\n");
    assert!(
        fs::metadata(to.join("sparse")).unwrap().blocks() * 512 <= 16 << 10,
        "holes stay holes"
    );
    // GNU tar reads it as well, and makes the same of it.
    let theirs = scratch.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(scratch.path().join("archive"), &archive).unwrap();
    let tar =
        Command::new("tar").args(["--xattrs", "-xpf", "../archive"]).current_dir(&theirs).status();
    assert!(tar.unwrap().success());
    set_time(&theirs.join("from"), 0, 0);
    assert_eq!(look(&theirs.join("from")), look(&from));
}

#[test]
fn owners_are_kept_where_that_is_asked_for() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    fs::write(&from, "program").unwrap();
    std::os::unix::fs::lchown(&from, Some(3_000_000), Some(12)).unwrap();
    fs::set_permissions(&from, fs::Permissions::from_mode(0o6755)).unwrap();
    place(&packed(&from), &to, OWNERS).unwrap();
    let metadata = fs::metadata(&to).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (3_000_000, 12, 0o6755));
    place(&packed(&from), &to, PLAIN).unwrap();
    let metadata = fs::metadata(&to).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (0, 0, 0o755));
}

#[test]
fn what_others_have_packed_is_unpacked() {
    let scratch = tempfile::tempdir().unwrap();
    let from = scratch.path().join("from");
    fs::create_dir_all(from.join("a/b")).unwrap();
    fs::write(from.join("a/b/file"), "text").unwrap();
    fs::File::create(from.join("a/holes")).unwrap().set_len(1 << 20).unwrap();
    for form in ["gnu", "pax", "ustar", "v7"] {
        let mut tar = Command::new("tar");
        tar.args(["-c", "--format", form]).current_dir(scratch.path());
        if matches!(form, "gnu" | "pax") {
            tar.arg("-S");
        }
        let archive = tar.arg("from").output().unwrap().stdout;
        let to = scratch.path().join(form);
        fs::create_dir(&to).unwrap();
        unpack(&archive[..], &to, Into::Directory, PLAIN).unwrap();
        assert_eq!(fs::read_to_string(to.join("from/a/b/file")).unwrap(), "text", "{form}");
        assert_eq!(fs::metadata(to.join("from/a/holes")).unwrap().len(), 1 << 20, "{form}");
    }
}

/// A file of a tree that is made up.
#[derive(Debug, Clone)]
enum Made {
    File(Vec<u8>, u32),
    Directory(u32),
    Link(String),
    Other(usize),
}

fn made() -> impl Strategy<Value = Made> {
    prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..9000), 0o400u32..0o1000)
            .prop_map(|(data, mode)| Made::File(data, mode | 0o400)),
        (0o700u32..0o1000).prop_map(Made::Directory),
        "[a-z/.]{1,200}".prop_map(Made::Link),
        any::<usize>().prop_map(Made::Other),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_tree_is_what_it_was(files in prop::collection::vec((any::<usize>(), made(), -9_000_000_000i64..9_000_000_000), 0..24)) {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        fs::create_dir(&from).unwrap();
        let (mut directories, mut plain) = (vec![from.clone()], Vec::new());
        for (index, (parent, made, _)) in files.iter().enumerate() {
            let path = directories[parent % directories.len()].join(format!("{index}"));
            match made {
                Made::File(data, mode) => {
                    fs::write(&path, data).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                    plain.push(path);
                }
                Made::Directory(mode) => {
                    fs::create_dir(&path).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                    directories.push(path);
                }
                Made::Link(target) => symlink(target, &path).unwrap(),
                Made::Other(which) if !plain.is_empty() => {
                    fs::hard_link(&plain[which % plain.len()], &path).unwrap();
                }
                Made::Other(_) => {}
            }
        }
        for (directory, (_, _, seconds)) in directories.iter().zip(&files) {
            set_time(directory, *seconds, 123_456_789);
        }
        place(&packed(&from), &to, PLAIN).unwrap();
        prop_assert_eq!(look(&to), look(&from));
    }

    /// Whatever the bytes are, what lies beside stays as it is.
    #[test]
    fn nothing_beside_is_touched(mut at in prop::collection::vec((0usize..4096, any::<u8>()), 0..8)) {
        let scratch = tempfile::tempdir().unwrap();
        let from = scratch.path().join("from");
        fs::create_dir_all(from.join("d")).unwrap();
        fs::write(from.join("d/f"), "data").unwrap();
        symlink("..", from.join("d/l")).unwrap();
        let mut archive = packed(&from);
        for (index, byte) in at.drain(..) {
            let length = archive.len();
            archive[index % length] = byte;
        }
        let yard = scratch.path().join("yard");
        fs::create_dir_all(yard.join("to")).unwrap();
        let before = look(&from);
        let _ = place(&archive, &yard.join("to"), PLAIN);
        prop_assert_eq!(fs::read_dir(&yard).unwrap().count(), 1);
        prop_assert_eq!(look(&from), before);
    }
}
