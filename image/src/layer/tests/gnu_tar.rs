//! Archives as GNU tar writes them, in all its forms, against the tree they were made of.

use super::readback::{fsck, read_image};
use super::unpack_bytes;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

const SPARSE_BYTES: u64 = 40 << 20;

fn make_tree(root: &Path) {
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("dir/file"), vec![3; 10_000]).unwrap();
    fs::hard_link(root.join("dir/file"), root.join("hard")).unwrap();
    symlink("t/".repeat(200), root.join("long link")).unwrap();
    let long = root.join("d".repeat(200)).join("e".repeat(200));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("f".repeat(255)), b"deep").unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(SPARSE_BYTES).unwrap();
    // More stretches than one old sparse header, and one of its extension blocks, have room for.
    for stretch in 0..60u8 {
        let offset = 100_000 + u64::from(stretch) * 500_000;
        sparse.write_all_at(&[stretch + 1; 5000], offset).unwrap();
    }
}

/// Every file of a directory, with the path it has there.
fn files(root: &Path) -> Vec<(Vec<u8>, std::path::PathBuf)> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                pending.push(path.clone());
            }
            let name = path.strip_prefix(root).unwrap().as_os_str().as_encoded_bytes().to_vec();
            found.push((name, path));
        }
    }
    found
}

fn check(options: &[&str], nanoseconds: bool) {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    fs::create_dir(&root).unwrap();
    make_tree(&root);
    let with_xattrs = options.contains(&"--xattrs");
    if with_xattrs {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(root.join("dir"), "user.name", b"a\nvalue=1\n", flags).unwrap();
    }
    let archive = scratch.path().join("tar");
    let status = Command::new("tar")
        .args(options)
        .args(["--numeric-owner", "--owner=3000000", "--group=77", "-C"])
        .args([root.as_os_str(), "-cf".as_ref(), archive.as_os_str(), ".".as_ref()])
        .status();
    assert!(status.unwrap().success());
    let (_, image) = unpack_bytes(&fs::read(archive).unwrap()).unwrap();
    assert!(image.len() < 2 << 20, "holes were kept: {}", image.len());
    fsck(&image);
    let seen = read_image(&image);
    let files = files(&root);
    assert_eq!(seen.len(), files.len() + 1);
    for (name, path) in files {
        let (seen, metadata) = (&seen[&name], fs::symlink_metadata(&path).unwrap());
        assert_eq!(seen.mode, metadata.mode() & 0o7777, "{path:?}");
        assert_eq!((seen.uid, seen.gid), (3_000_000, 77));
        assert_eq!(u64::from(seen.links), metadata.nlink().max(1), "{path:?}");
        assert_eq!(seen.mtime.0, metadata.mtime());
        if nanoseconds {
            assert_eq!(i64::from(seen.mtime.1), metadata.mtime_nsec());
        }
        if metadata.is_file() {
            assert!(seen.content == fs::read(&path).unwrap(), "{path:?}");
        } else if metadata.is_symlink() {
            assert_eq!(seen.content, fs::read_link(&path).unwrap().as_os_str().as_encoded_bytes());
        }
    }
    if with_xattrs {
        assert_eq!(seen[&b"dir"[..]].xattrs[&b"user.name"[..]], b"a\nvalue=1\n");
    }
}

#[test]
fn old_gnu_form() {
    check(&["--format=gnu", "--sparse"], false);
}

#[test]
fn pax_forms() {
    check(&["--format=pax", "--sparse", "--xattrs"], true);
    check(&["--format=pax", "--sparse", "--sparse-version=0.1"], true);
    check(&["--format=pax", "--sparse", "--sparse-version=0.0"], true);
}
