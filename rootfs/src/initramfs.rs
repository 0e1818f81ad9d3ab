//! The initramfs: an uncompressed newc cpio archive that holds the agent, the profile of containers, and
//! nothing to run besides.
//!
//! Uncompressed, because the host maps it and the guest would spend its first milliseconds on
//! decompressing. Format: the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::io::{self, Write};

use cpio::newc::Builder;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Where the agent finds the AppArmor profile.
const PROFILE_PATH: &str = "cofferdam-default.apparmor";

/// Writes the archive with `agent` as `/init` and a compiled AppArmor profile beside it.
///
/// # Errors
/// Any of writing, and what is of 4 GiB or more, which newc cannot hold.
pub fn write(agent: &[u8], profile: &[u8], out: &mut impl Write) -> io::Result<()> {
    for directory in ["dev", "proc", "sys"] {
        entry(Builder::new(directory).mode(DIRECTORY), &[], out)?;
    }
    // The kernel opens it as the first program's standard streams, before anything is mounted.
    let console = Builder::new("dev/console").mode(CHARACTER_DEVICE).rdev_major(5).rdev_minor(1);
    entry(console, &[], out)?;
    // What a program of Rust's takes for streams it was not given: without a console, the kernel gives
    // none, and without this the program would end before it began.
    let null = Builder::new("dev/null").mode(CHARACTER_DEVICE).rdev_major(1).rdev_minor(3);
    entry(null, &[], out)?;
    entry(Builder::new(PROFILE_PATH).mode(FILE), profile, out)?;
    entry(Builder::new("init").mode(PROGRAM), agent, out)?;
    cpio::newc::trailer(out)?;
    Ok(())
}

fn entry(builder: Builder, contents: &[u8], out: &mut impl Write) -> io::Result<()> {
    let size = u32::try_from(contents.len()).map_err(io::Error::other)?;
    let mut writer = builder.nlink(1).write(out, size);
    writer.write_all(contents)?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests;
