use super::{LayerKey, Store, StoreError};
use crate::digest::{Algorithm, Digest};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

fn key(name: &str) -> LayerKey {
    LayerKey {
        diff_id: Digest::of(Algorithm::Sha256, name.as_bytes()),
        blob: Digest::of(Algorithm::Sha512, name.as_bytes()),
    }
}

fn put(store: &Store, key: &LayerKey, content: &[u8]) {
    let lock = store.lock(key).unwrap();
    let new = lock.create().unwrap();
    new.file().write_all(content).unwrap();
    assert_eq!(new.publish().unwrap().image.length, content.len() as u64);
}

fn get(store: &Store, key: &LayerKey) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    store.find(key).unwrap()?.image.file.read_to_end(&mut content).unwrap();
    Some(content)
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

#[test]
fn what_is_published_is_found_by_all() {
    for named in [false, true] {
        let (directory, store) = store();
        if named {
            store.partial.use_names();
        }
        assert_eq!(get(&store, &key("a")), None);
        put(&store, &key("a"), &[1; 4096]);
        let other = Store::open(directory.path()).unwrap();
        assert_eq!(get(&other, &key("a")), Some(vec![1; 4096]));
        // Another blob that claims the same diff ID is another layer.
        let claim = LayerKey { diff_id: key("a").diff_id, blob: key("b").blob };
        assert_eq!(get(&other, &claim), None);
        assert_eq!(files(directory.path()).len(), 2, "format and layer, nothing else");
    }
}

#[test]
fn what_is_not_published_is_gone() {
    for named in [false, true] {
        let (directory, store) = store();
        if named {
            store.partial.use_names();
        }
        let lock = store.lock(&key("a")).unwrap();
        let new = lock.create().unwrap();
        new.file().write_all(&[1; 4096]).unwrap();
        assert_eq!(files(&directory.path().join("store/partial")).len(), usize::from(named));
        assert_eq!(get(&store, &key("a")), None);
        // Whoever opens the store meanwhile does not take it for a leftover.
        Store::open(directory.path()).unwrap();
        assert_eq!(files(&directory.path().join("store/partial")).len(), usize::from(named));
        drop(new);
        assert_eq!(files(directory.path()).len(), 1);
    }
}

#[test]
fn leftovers_are_removed() {
    let (directory, _) = store();
    let leftover = directory.path().join("store/partial/77-0");
    fs::write(&leftover, b"half").unwrap();
    Store::open(directory.path()).unwrap();
    assert!(!leftover.exists());
}

#[test]
fn a_damaged_layer_is_made_again() {
    let (directory, store) = store();
    put(&store, &key("a"), &[1; 8192]);
    let layer = files(&directory.path().join("store/layers")).remove(0);
    fs::remove_file(&layer).unwrap();
    for damage in [&b""[..], &[1; 100]] {
        fs::write(&layer, damage).unwrap();
        assert_eq!(get(&store, &key("a")), None);
        put(&store, &key("a"), &[2; 4096]);
        assert_eq!(get(&store, &key("a")), Some(vec![2; 4096]));
        fs::remove_file(&layer).unwrap();
    }
}

#[test]
fn room_is_what_the_volume_says() {
    const MIB: u64 = 1 << 20;
    assert_eq!(super::room(0, 0), u64::MAX);
    assert_eq!(super::room(160 * MIB, 50 * MIB), 40 * MIB);
    assert_eq!(super::room(160 * MIB, 5 * MIB), 0);
    assert_eq!(super::room(1 << 40, 1 << 30), (1 << 30) - 64 * MIB);
    let (directory, store) = store();
    let volume = rustix::fs::statvfs(directory.path()).unwrap();
    let all = volume.f_blocks * volume.f_frsize;
    assert!((1..all).contains(&store.room_bytes().unwrap()));
}

/// Names of other processes are not to be guessed, and so not met: containers that share a volume have
/// the same process ids.
#[test]
fn partial_files_have_names_of_their_own() {
    let (directory, store) = store();
    store.partial.use_names();
    let lock = store.lock(&key("a")).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let _new = lock.create().unwrap();
        let found = files(&directory.path().join("store/partial"));
        let name = found[0].file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!((found.len(), name.len()), (1, 32), "{name}");
        assert!(names.insert(name));
    }
}

/// A crash may leave a name without its bytes.
#[test]
fn an_empty_format_is_none() {
    let (directory, _) = store();
    let format = directory.path().join("store/format");
    let right = fs::read(&format).unwrap();
    fs::write(&format, "").unwrap();
    Store::open(directory.path()).unwrap();
    assert_eq!(fs::read(&format).unwrap(), right);
}

#[test]
fn other_formats_are_refused() {
    let (directory, _) = store();
    fs::write(directory.path().join("store/format"), "cofferdam store 2\n").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Format { found, .. } if found == "cofferdam store 2\n"));
}

#[test]
fn many_may_open_a_new_store_at_once() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..10 {
                    Store::open(&directory.path().join(number.to_string())).unwrap();
                }
            });
        }
    });
    assert_eq!(files(directory.path()).len(), 10);
}
