//! What is appended to the program.

use crate::scratch;

/// The trailer of a binary.
pub fn trailer(bytes: &[u8]) {
    let file = scratch::with(bytes);
    if let Ok(payload) = payload::Payload::locate(&file) {
        for part in [payload.kernel, payload.initramfs, payload.disk_template] {
            assert!(part.offset + part.length <= bytes.len() as u64, "{part:?} lies in the file");
        }
    }
}

/// The template of the writable disk.
pub fn disk_template(bytes: &[u8]) {
    let file = scratch::empty();
    // A file's size is no memory: it is mostly holes.
    let _ = payload::sparse::decode(bytes, &file);
}
