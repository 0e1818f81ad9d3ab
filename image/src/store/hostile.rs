//! What somebody may have put in the place of the store's files: it is made again, or told, and neither followed
//! nor waited for.

use super::{LayerKey, Store, StoreError};
use crate::digest::{Algorithm, Digest};
use crate::store::Stretch;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

/// No step on files so small takes this long: what does, hangs.
const LONG: Duration = Duration::from_secs(10);

fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, told) = channel();
    std::thread::spawn(move || done.send(work()));
    told.recv_timeout(LONG).expect("it hangs, or has panicked")
}

fn open(state: &Path) -> Result<Store, StoreError> {
    let state = state.to_owned();
    in_time(move || Store::open(&state))
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn key() -> LayerKey {
    let digest = Digest::of(Algorithm::Sha256, b"layer");
    LayerKey { diff_id: digest.clone(), blob: digest }
}

fn put(store: &Store) {
    let lock = store.lock(&key()).unwrap();
    let new = lock.create().unwrap();
    new.file().write_all(&[1; 4096]).unwrap();
    new.publish().unwrap();
}

/// A store's state directory, and a file outside of it that could be a layer.
fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (state, outside) = (directory.path().join("state"), directory.path().join("outside"));
    fs::write(&outside, [9; 4096]).unwrap();
    Store::open(&state).unwrap();
    (directory, state, outside)
}

/// What can stand for a file: each a name, and how it is made.
type Stand = (&'static str, fn(&Path, &Path));
const STANDS: [Stand; 3] = [
    ("a pipe", |path, _| pipe(path)),
    ("a link", |path, outside| symlink(outside, path).unwrap()),
    ("a loose link", |path, _| symlink("/nowhere/at/all", path).unwrap()),
];

#[test]
fn what_stands_for_a_layer_is_none_and_is_replaced() {
    for (name, stand) in STANDS {
        let (_directory, state, outside) = place();
        let store = open(&state).unwrap();
        put(&store);
        let path = store.layer_path(&key());
        fs::remove_file(&path).unwrap();
        stand(&path, &outside);
        let store = in_time(move || {
            assert!(store.find(&key()).unwrap().is_none());
            put(&store);
            assert_eq!(store.find(&key()).unwrap().unwrap().image.length, 4096);
            store
        });
        assert!(fs::symlink_metadata(store.layer_path(&key())).unwrap().is_file(), "{name}");
        assert_eq!(fs::read(&outside).unwrap(), [9; 4096], "{name}");
    }
}

#[test]
fn a_directory_that_stands_for_a_layer_is_told() {
    let (_directory, state, _) = place();
    let store = open(&state).unwrap();
    put(&store);
    let path = store.layer_path(&key());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(store.find(&key()).unwrap().is_none());
    let lock = store.lock(&key()).unwrap();
    let new = lock.create().unwrap();
    let refused = new.publish().unwrap_err();
    assert!(matches!(&refused, StoreError::Io { action: "replace", .. }), "{refused:?}");
}

#[test]
fn what_stands_for_the_format_is_none_and_is_replaced() {
    for (name, stand) in STANDS {
        let (_directory, state, outside) = place();
        let format = state.join("store/format");
        let right = fs::read(&format).unwrap();
        fs::remove_file(&format).unwrap();
        stand(&format, &outside);
        open(&state).unwrap();
        assert!(fs::symlink_metadata(&format).unwrap().is_file(), "{name}");
        assert_eq!(fs::read(&format).unwrap(), right, "{name}");
        assert_eq!(fs::read(&outside).unwrap(), [9; 4096], "{name}");
    }
}

/// Of a format without end as much is read as shows that it is another.
#[test]
fn a_format_without_end_is_another() {
    let (_directory, state, _) = place();
    let format = state.join("store/format");
    File::create(&format).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(open(&state), Err(StoreError::Format { found, .. }) if found.len() == 80));
    fs::write(&format, b"\xff\xfe").unwrap();
    assert!(matches!(open(&state), Err(StoreError::Format { .. })));
}

#[test]
fn what_stands_for_a_record_is_none() {
    for (name, stand) in STANDS {
        let (_directory, state, outside) = place();
        let store = open(&state).unwrap();
        let metadata = fs::metadata(&outside).unwrap();
        let stretch = move || Stretch::of(&metadata, 0, 4096);
        let digest = Digest::of(Algorithm::Sha256, b"layer");
        store.record(&stretch(), &digest).unwrap();
        let recorded = fs::read_dir(state.join("store/recorded")).unwrap();
        let path = recorded.map(|entry| entry.unwrap().path()).next().unwrap();
        fs::remove_file(&path).unwrap();
        stand(&path, &outside);
        let found = in_time(move || {
            assert_eq!(store.recorded(&stretch()).unwrap(), None);
            store.record(&stretch(), &digest).unwrap();
            store.recorded(&stretch()).unwrap() == Some(digest)
        });
        assert!(found, "{name}");
        assert_eq!(fs::read(&outside).unwrap(), [9; 4096], "{name}");
    }
}

#[test]
fn what_is_no_file_is_no_leftover() {
    let (_directory, state, outside) = place();
    let partial = state.join("store/partial");
    pipe(&partial.join("pipe"));
    symlink(&outside, partial.join("link")).unwrap();
    fs::create_dir(partial.join("directory")).unwrap();
    fs::write(partial.join("leftover"), b"half").unwrap();
    open(&state).unwrap();
    assert!(outside.exists() && !partial.join("leftover").exists());
    assert_eq!(fs::read_dir(&partial).unwrap().count(), 3);
}
