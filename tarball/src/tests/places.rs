//! Where a copy lands.

use super::{PLAIN, copy, packed};
use crate::{CopyError, Into, pack, unpack};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A directory with a file, a directory with one, and a link to each.
fn scene() -> tempfile::TempDir {
    let scene = tempfile::tempdir().unwrap();
    let at = |name: &str| scene.path().join(name);
    fs::write(at("file"), "new").unwrap();
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("dir/inner"), "inner").unwrap();
    symlink("file", at("to-file")).unwrap();
    symlink("dir", at("to-dir")).unwrap();
    fs::create_dir(at("there")).unwrap();
    fs::write(at("old"), "old, and longer").unwrap();
    symlink("old", at("to-old")).unwrap();
    scene
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_file_lands_as_cp_has_it() {
    let scene = scene();
    let at = |name: &str| scene.path().join(name);
    copy(&at("file"), &at("fresh")).unwrap();
    assert_eq!(read(&at("fresh")), "new");
    copy(&at("file"), &at("there")).unwrap();
    copy(&at("file"), &at("there/")).unwrap();
    assert_eq!(read(&at("there/file")), "new");
    copy(&at("file"), &at("to-old")).unwrap();
    assert_eq!(read(&at("old")), "new", "a link that is named is followed");
    assert!(at("to-old").is_symlink());
    for to in ["nowhere/", "nowhere/deep", "old/"] {
        assert!(copy(&at("file"), &at(to)).is_err(), "{to}");
    }
    fs::create_dir(at("there/old")).unwrap();
    let error = copy(&at("old"), &at("there")).unwrap_err();
    assert!(matches!(error, CopyError::InTheWay { is: "a directory", .. }), "{error}");
}

#[test]
fn a_directory_lands_as_cp_has_it() {
    let scene = scene();
    let at = |name: &str| scene.path().join(name);
    copy(&at("dir"), &at("fresh")).unwrap();
    assert_eq!(read(&at("fresh/inner")), "inner");
    copy(&at("dir/"), &at("fresh2/")).unwrap();
    assert_eq!(read(&at("fresh2/inner")), "inner");
    copy(&at("dir"), &at("there")).unwrap();
    assert_eq!(read(&at("there/dir/inner")), "inner");
    copy(&at("dir/."), &at("there")).unwrap();
    assert_eq!(read(&at("there/inner")), "inner");
    copy(&at("dir/."), &at("fresh3")).unwrap();
    assert_eq!(read(&at("fresh3/inner")), "inner");
    copy(&at("dir/../dir/.."), &at("fresh4")).unwrap();
    assert_eq!(read(&at("fresh4/dir/inner")), "inner");
    let error = copy(&at("dir"), &at("old")).unwrap_err();
    assert!(matches!(error, CopyError::InTheWay { is: "no directory", .. }), "{error}");
    assert_eq!(read(&at("old")), "old, and longer");
    assert!(copy(&at("dir"), &at("nowhere/deep")).is_err());
    assert!(copy(&at("file/"), &at("fresh5")).is_err(), "a file with a slash");
}

#[test]
fn links_are_copied_and_followed_where_that_is_asked_for() {
    let scene = scene();
    let at = |name: &str| scene.path().join(name);
    copy(&at("to-dir"), &at("link")).unwrap();
    assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("dir"));
    copy(&at("to-dir/"), &at("followed")).unwrap();
    assert_eq!(read(&at("followed/inner")), "inner");
    let mut archive = Vec::new();
    pack(&at("to-file"), true, &mut archive).unwrap();
    unpack(&archive[..], &at("there"), Into::Place(None), PLAIN).unwrap();
    assert_eq!(read(&at("there/to-file")), "new");
    assert!(!at("there/to-file").is_symlink());
}

#[test]
fn an_archive_goes_into_a_directory_as_it_is() {
    let scene = scene();
    let at = |name: &str| scene.path().join(name);
    let archive = packed(&at("dir"));
    unpack(&archive[..], &at("there"), Into::Directory, PLAIN).unwrap();
    assert_eq!(read(&at("there/dir/inner")), "inner");
    assert_eq!(unpack(&[0; 1024][..], &at("there"), Into::Directory, PLAIN).unwrap().entries, 0);
    for to in ["old", "nowhere"] {
        assert!(unpack(&archive[..], &at(to), Into::Directory, PLAIN).is_err(), "{to}");
    }
    let empty = unpack(&[0; 1024][..], &at("fresh"), Into::Place(None), PLAIN);
    assert!(matches!(empty, Err(CopyError::Empty)));
}
