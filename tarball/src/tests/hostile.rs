//! Archives by whoever wishes this machine ill.

use super::{OWNERS, PLAIN, place};
use crate::{CopyError, Into, unpack};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// An archive of entries: kind, name, link, data.
fn archive(entries: &[(EntryType, &str, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, link, data) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o4755);
        header.set_size(data.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

const DIR: (EntryType, &str, &str, &str) = (EntryType::Directory, "it", "", "");

/// A directory to copy into, beside what must stay as it is.
struct Scene {
    scratch: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("to")).unwrap();
        fs::write(scratch.path().join("canary"), "sings").unwrap();
        Self { scratch }
    }

    fn to(&self) -> std::path::PathBuf {
        self.scratch.path().join("to")
    }

    fn check(&self) {
        let names: Vec<_> =
            fs::read_dir(self.scratch.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let canary = self.scratch.path().join("canary");
        assert_eq!(fs::read_to_string(&canary).unwrap(), "sings");
        assert_eq!(fs::metadata(&canary).unwrap().permissions().mode() & 0o7777, 0o644);
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../canary", "it/../../canary", "it/..", "other", "/canary", "it2/x"] {
        let scene = Scene::new();
        let bytes = archive(&[DIR, (EntryType::Regular, name, "", "gone")]);
        let result = place(&bytes, &scene.to(), PLAIN);
        assert!(matches!(result, Err(CopyError::Outside(_))), "{name}: {result:?}");
        scene.check();
    }
}

/// By its name a tree lands in a directory: who sends it has no say in that.
#[test]
fn another_name_than_was_asked_for_is_refused() {
    let scene = Scene::new();
    let bytes = archive(&[(EntryType::Regular, ".profile", "", "gone")]);
    let take = |expected: &str| {
        unpack(&bytes[..], &scene.to(), Into::Place(Some(expected.as_ref())), PLAIN)
    };
    for expected in ["file", ".", ".profil"] {
        assert!(matches!(take(expected), Err(CopyError::Outside(_))), "{expected}");
    }
    assert_eq!(fs::read_dir(scene.to()).unwrap().count(), 0);
    take(".profile").unwrap();
    for (path, expected) in [("/a/b", "b"), ("a/b/", "b"), ("/", "."), ("a/.", "."), ("a/..", ".")]
    {
        assert_eq!(crate::label(Path::new(path)), expected, "{path}");
    }
}

#[test]
fn links_lead_nowhere_on_the_way() {
    let scene = Scene::new();
    for target in ["..", "../canary"] {
        let bytes = archive(&[
            DIR,
            (EntryType::Symlink, "it/way", target, ""),
            (EntryType::Regular, "it/way/canary", "", "gone"),
        ]);
        let result = place(&bytes, &scene.to(), PLAIN);
        assert!(matches!(result, Err(CopyError::InTheWay { .. })), "{target}: {result:?}");
        scene.check();
    }
    // Its own link is replaced, and not written through.
    let bytes = archive(&[
        DIR,
        (EntryType::Symlink, "it/file", "../../canary", ""),
        (EntryType::Regular, "it/file", "", "data"),
    ]);
    place(&bytes, &scene.to(), OWNERS).unwrap();
    assert_eq!(fs::read_to_string(scene.to().join("it/file")).unwrap(), "data");
    // One that was there, too, whoever made it.
    symlink("../../canary", scene.to().join("it/old")).unwrap();
    symlink("../..", scene.to().join("it/way")).unwrap_err();
    place(&archive(&[DIR, (EntryType::Regular, "it/old", "", "data")]), &scene.to(), PLAIN)
        .unwrap();
    scene.check();
    let way = archive(&[DIR, (EntryType::Directory, "it/way", "", "")]);
    assert!(place(&way, &scene.to(), PLAIN).is_err(), "no link becomes a directory");
    scene.check();
}

#[test]
fn hard_links_lead_to_what_is_copied_alone() {
    let scene = Scene::new();
    for target in ["../canary", "canary", "/canary", "it/way/canary", "it/..", "it"] {
        let bytes = archive(&[
            DIR,
            (EntryType::Symlink, "it/way", "../..", ""),
            (EntryType::Link, "it/link", target, ""),
            (EntryType::Regular, "it/link", "", "gone"),
        ]);
        assert!(place(&bytes, &scene.to(), PLAIN).is_err(), "{target}");
        scene.check();
    }
    let bytes = archive(&[
        DIR,
        (EntryType::Regular, "it/file", "", "data"),
        (EntryType::Link, "it/link", "it/file", ""),
    ]);
    // By whatever name it lands.
    place(&bytes, &scene.to().join("named"), PLAIN).unwrap();
    assert_eq!(fs::read_to_string(scene.to().join("named/link")).unwrap(), "data");
}

#[test]
fn nobody_is_made_a_programs_user() {
    let scene = Scene::new();
    let bytes = archive(&[(EntryType::Regular, "su", "", "program")]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    place(&bytes, &scene.to(), PLAIN).unwrap();
    assert_eq!(mode(&scene.to().join("su")), 0o755);
}

/// Attributes that mean something to this machine: to overlayfs, and to whoever runs a program.
#[test]
fn no_attribute_is_taken_that_means_something_here() {
    const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let scene = Scene::new();
    let records = [
        ("SCHILY.xattr.user.note", &b"kept"[..]),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.security.capability", CAPABILITY),
    ];
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions(records).unwrap();
    let mut header = Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(0);
    header.as_old_mut().name[..2].copy_from_slice(b"it");
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    for (options, capable) in [(PLAIN, false), (OWNERS, true)] {
        place(&bytes, &scene.to(), options).unwrap();
        let has = |name: &str| {
            rustix::fs::getxattr(scene.to().join("it"), name, &mut [0; 64][..]).is_ok()
        };
        assert!(has("user.note") && !has("trusted.overlay.opaque"), "{options:?}");
        assert_eq!(has("security.capability"), capable, "{options:?}");
    }
}

#[test]
fn what_is_cut_off_leaves_no_half_of_a_file() {
    let scene = Scene::new();
    let bytes = archive(&[DIR, (EntryType::Regular, "it/file", "", &"x".repeat(2000))]);
    for length in [512 + 512 + 700, 1024 + 1, 1024, 100] {
        let result = place(&bytes[..length], &scene.to(), PLAIN);
        if length == 1024 {
            continue; // The header alone: its data is missed below.
        }
        assert!(matches!(result, Err(CopyError::Tar(_))), "{length}: {result:?}");
        assert!(!scene.to().join("it/file").exists(), "{length}");
    }
    // A directory's own archive, whose root is no directory.
    let root = archive(&[(EntryType::Regular, ".", "", "data")]);
    assert!(unpack(&root[..], &scene.to(), Into::Directory, PLAIN).is_err());
}
