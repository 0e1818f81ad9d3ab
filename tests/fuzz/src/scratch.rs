//! Files in memory, for parsers that read or write files.

use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::Write;

/// An empty file without a name.
pub fn empty() -> File {
    memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a file in memory").into()
}

/// Such a file with these bytes, its position at its end.
pub fn with(bytes: &[u8]) -> File {
    let mut file = empty();
    file.write_all(bytes).expect("memory takes them");
    file
}
