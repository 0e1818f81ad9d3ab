//! Trees copied by way of an archive, and archives that would lie elsewhere.

mod hostile;
mod places;
mod trees;

use crate::{Copied, CopyError, Into, Options, pack, unpack};
use std::path::Path;

/// What a user copies without further wishes.
const PLAIN: Options = Options { owners: false, follow: false };
const OWNERS: Options = Options { owners: true, follow: false };

/// The archive of what lies there.
fn packed(path: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    pack(path, false, &mut archive).unwrap();
    archive
}

fn place(archive: &[u8], path: &Path, options: Options) -> Result<Copied, CopyError> {
    unpack(archive, path, Into::Place(None), options)
}

/// Copies as `cp` does.
fn copy(from: &Path, to: &Path) -> Result<Copied, CopyError> {
    let mut archive = Vec::new();
    pack(from, false, &mut archive)?;
    place(&archive, to, PLAIN)
}
