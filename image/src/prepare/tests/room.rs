//! A store that has no room.

use super::{Here, layers, oci_files, platform, write_files};
use crate::layer::Limits;
use crate::prepare::{ImageError, Request, prepare};
use crate::store::Store;
use std::fs;
use std::path::Path;

fn run_within(root: &Path, limits: &Limits, room: u64) -> Result<(), ImageError> {
    let request = Request {
        reference: &format!("oci:{}", root.display()).parse().unwrap(),
        platform: &platform(),
        limits,
        policy: &crate::Policy::open(),
        remote: None,
        name: None,
        progress: &|_| {},
    };
    let store = Store::open(root).unwrap();
    store.pretend_room(room);
    prepare(&request, &store, &Here::default()).map(|_| ())
}

#[test]
fn what_does_not_fit_is_refused_before_the_volume_is_full() {
    let scratch = tempfile::tempdir().unwrap();
    write_files(scratch.path(), &oci_files(&layers()));
    // The first layer is of 50,000 bytes, none of them zero.
    let little = Limits { written_bytes: 40_000, ..Limits::default() };
    for (limits, room) in [(&little, u64::MAX), (&Limits::default(), 40_000)] {
        let error = run_within(scratch.path(), limits, room).unwrap_err();
        assert!(error.is_out_of_room(), "{error:?}");
        assert_eq!(fs::read_dir(scratch.path().join("store/partial")).unwrap().count(), 0);
    }
    run_within(scratch.path(), &Limits::default(), 70_000).unwrap();
    let gone = run_within(&scratch.path().join("gone"), &little, 0).unwrap_err();
    assert!(!gone.is_out_of_room());
}

#[test]
fn a_limit_lets_in_what_is_within_it() {
    let scratch = tempfile::tempdir().unwrap();
    write_files(scratch.path(), &oci_files(&layers()));
    let run = || run_within(scratch.path(), &Limits::default(), u64::MAX);
    let store = Store::open(scratch.path()).unwrap();
    assert_eq!(store.limit().unwrap(), None);
    for limit in [0, 40_000] {
        store.set_limit(Some(limit)).unwrap();
        let error = run().unwrap_err();
        let ImageError::Layer { source, .. } = &error else { panic!("{error:?}") };
        let expected =
            format!("the store may take {limit} bytes, and has no room left within them");
        assert_eq!(source.to_string(), expected);
        assert_eq!(fs::read_dir(scratch.path().join("store/partial")).unwrap().count(), 0);
    }
    store.set_limit(Some(1 << 20)).unwrap();
    run().unwrap();
    // What is there stays, and is used.
    store.set_limit(Some(1)).unwrap();
    run().unwrap();
    assert_eq!(store.limit().unwrap(), Some(1));
    store.set_limit(None).unwrap();
    store.set_limit(None).unwrap();
    assert_eq!(store.limit().unwrap(), None);
    for text in ["", "-1", "1 GiB", "99999999999999999999999"] {
        fs::write(scratch.path().join("store/limit"), text).unwrap();
        assert!(store.limit().is_err(), "{text}");
    }
}
