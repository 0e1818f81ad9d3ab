//! What comes out of a sandbox to be made files here.

use std::fs;
use tarball::{Into, Options, unpack};

/// An archive, both ways in which it may be taken, once as it comes and once in the place of what that left. What lies
/// beside stays as it is.
pub fn archive(bytes: &[u8]) {
    let yard = tempfile::tempdir().expect("a directory");
    let to = yard.path().join("to");
    fs::create_dir(&to).expect("a directory");
    fs::write(yard.path().join("canary"), "sings").expect("a file");
    for (into, owners) in [
        (Into::Place(None), false),
        (Into::Directory, true),
        (Into::Place(None), true),
        (Into::Directory, false),
    ] {
        // What it is refused for is its own.
        let _ = unpack(bytes, &to, into, Options { owners, follow: false });
        let names = fs::read_dir(yard.path()).expect("a directory").count();
        assert_eq!(names, 2, "something lies beside");
        let canary = fs::read(yard.path().join("canary")).expect("the canary");
        assert_eq!(canary, b"sings", "it was written to");
    }
}
