use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn root() -> (tempfile::TempDir, OwnedFd) {
    let directory = tempfile::tempdir().unwrap();
    let root = open_root(directory.path()).unwrap();
    (directory, root)
}

fn tmpfs(destination: &str, options: &[&str]) -> Mount {
    let options = options.iter().map(|&option| option.to_owned()).collect();
    Mount { destination: destination.to_owned(), source: MountSource::Tmpfs, options }
}

#[test]
fn a_tmpfs_takes_the_mode_of_what_it_covers() {
    let (directory, root) = root();
    let at = |name: &str| directory.path().join(name);
    for (name, mode) in [("private", 0o700), ("sticky", 0o1777)] {
        fs::create_dir(at(name)).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // Within the root, whatever it looks like from outside.
    symlink("/private", at("link")).unwrap();
    let mut mounts = [
        tmpfs("/private", &["noexec"]),
        tmpfs("/sticky", &[]),
        tmpfs("/link", &[]),
        tmpfs("/private", &["mode=755"]),
        tmpfs("/new", &["noexec"]),
    ];
    keep_modes(&root, &mut mounts);
    let options = mounts.map(|mount| mount.options.join(","));
    assert_eq!(options, ["noexec,mode=700", "mode=1777", "mode=700", "mode=755", "noexec"]);
}

#[test]
fn a_declared_place_belongs_to_the_user_unless_another_is_named() {
    let own = |options: &[&str]| Mount { source: MountSource::OwnTmpfs, ..tmpfs("/a", options) };
    let owner = Identity { uid: 7, gid: 8, groups: Vec::new(), home: String::new() };
    let mut mounts =
        [own(&["mode=700"]), own(&["uid=1", "gid=2"]), own(&["gid=0"]), tmpfs("/b", &[])];
    give_owner(&mut mounts, &owner);
    let options = mounts.map(|mount| mount.options.join(","));
    assert_eq!(options, ["mode=700,uid=7,gid=8", "uid=1,gid=2", "gid=0,uid=7", ""]);
    // Its mode is what was asked, never that of what an image has there.
    let (directory, root) = root();
    fs::create_dir(directory.path().join("a")).unwrap();
    let mut mounts = [own(&["noexec"])];
    keep_modes(&root, &mut mounts);
    assert_eq!(mounts[0].options, ["noexec"]);
}

#[test]
fn a_directory_is_made_within_the_root() {
    let (directory, root) = root();
    let outside = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    make_directory(&root, Path::new("/a/b/../c")).unwrap();
    assert!(at("a/c").is_dir());
    make_directory(&root, Path::new("/a")).unwrap();
    symlink(outside.path(), at("away")).unwrap();
    assert_eq!(make_directory(&root, Path::new("/away/x")), Err(Errno::EXIST));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    symlink("../../../../../../../../../a", at("up")).unwrap();
    make_directory(&root, Path::new("/up/x")).unwrap();
    assert!(at("a/x").is_dir());
    fs::write(at("file"), "").unwrap();
    assert_eq!(make_directory(&root, Path::new("/file/x")), Err(Errno::NOTDIR));
}
