//! The initramfs: an uncompressed newc cpio archive that holds the agent and nothing to run besides.
//!
//! Uncompressed, because the host maps it and the guest would spend its first milliseconds on
//! decompressing. Format: the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::io::{self, Write};

use cpio::newc::Builder;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Writes the archive with `agent` as `/init`.
///
/// # Errors
/// Any of writing, and an agent of 4 GiB or more, which newc cannot hold.
pub fn write(agent: &[u8], out: &mut impl Write) -> io::Result<()> {
    let agent_bytes = u32::try_from(agent.len()).map_err(io::Error::other)?;
    for directory in ["dev", "proc", "sys"] {
        entry(Builder::new(directory).mode(DIRECTORY), &[], 0, out)?;
    }
    // The kernel opens it as the first program's standard streams, before anything is mounted.
    let console = Builder::new("dev/console").mode(CHARACTER_DEVICE).rdev_major(5).rdev_minor(1);
    entry(console, &[], 0, out)?;
    // What a program of Rust's takes for streams it was not given: without a console, the kernel gives
    // none, and without this the program would end before it began.
    let null = Builder::new("dev/null").mode(CHARACTER_DEVICE).rdev_major(1).rdev_minor(3);
    entry(null, &[], 0, out)?;
    entry(Builder::new("init").mode(PROGRAM), agent, agent_bytes, out)?;
    cpio::newc::trailer(out)?;
    Ok(())
}

fn entry(builder: Builder, contents: &[u8], size: u32, out: &mut impl Write) -> io::Result<()> {
    let mut writer = builder.nlink(1).write(out, size);
    writer.write_all(contents)?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests;
