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
