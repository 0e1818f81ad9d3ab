//! The template of every writable disk: an empty ext4 file system made at its full virtual size.
//!
//! There is no mkfs in the guest. A small file system grown online would keep its 1 KiB blocks and its
//! small journal for ever, so it is made at 100 GiB at build time; nearly all of it is holes.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::EPOCH;

const VIRTUAL_SIZE: &str = "100G";
const OPTIONS: &[&str] = &[
    "-q",
    "-F",
    "-L",
    "cofferdam",
    "-b",
    "4096",
    "-J",
    "size=64",
    // A copy can take a UUID of its own by changing one field: checksums do not depend on it.
    "-O",
    "metadata_csum,metadata_csum_seed,64bit,^resize_inode",
    // Only root's containers write here: no blocks held back, and one inode for each 64 KiB.
    "-m",
    "0",
    "-i",
    "65536",
    // The same bytes from every build; each disk is given its own UUID when it is made.
    "-U",
    "c0ffe2da-0000-4000-8000-000000000000",
    "-E",
    "hash_seed=c0ffe2da-0000-4000-8000-000000000001,packed_meta_blocks=1,lazy_itable_init=1,\
     lazy_journal_init=1,nodiscard,root_owner=0:0",
];

/// Makes the file system in `scratch`, which must not exist, and encodes it to `out`.
///
/// # Errors
/// Those of mkfs.ext4, of reading and of writing.
pub fn write(scratch: &Path, out: &mut impl Write) -> Result<()> {
    let made = Command::new("/sbin/mkfs.ext4")
        .args(OPTIONS)
        .arg(scratch)
        .arg(VIRTUAL_SIZE)
        // e2fsprogs takes the superblock's times from here.
        .env("E2FSPROGS_FAKE_TIME", EPOCH.to_string())
        .output()
        .context("cannot start mkfs.ext4")?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(
        made.status.success(),
        "mkfs.ext4 of the disk template failed ({}): {said}",
        made.status
    );
    let file = File::open(scratch).with_context(|| format!("cannot open {}", scratch.display()))?;
    payload::sparse::encode(&file, out).context("cannot encode the disk template")
}

#[cfg(test)]
mod tests;
