//! What is appended to the program.

use crate::scratch;

/// The trailer of a binary.
pub fn trailer(bytes: &[u8]) {
    let file = scratch::with(bytes);
    if let Ok(payload) = payload::Payload::locate(&file) {
        for part in [payload.kernel, payload.initramfs] {
            assert!(part.offset + part.length <= bytes.len() as u64, "{part:?} lies in the file");
        }
    }
}
