//! The image most tests use: busybox, and the few files that programs ask for.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::image_config::ImageConfig;
use crate::layer::{LayerBuilder, Owner};

const BUSYBOX: &str = "/bin/busybox";
/// Users with names, so that `-u` and the image's `User` have something to look up.
const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
    worker:x:1234:2345:a user:/home/worker:/bin/sh\n\
    nobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &[u8] = b"root:x:0:\nworker:x:2345:\nstaff:x:50:worker\nnogroup:x:65534:\n";

/// Writes the image's one layer.
///
/// # Errors
/// Where busybox-static is not installed, and those of writing.
pub fn write_layer(out: &mut impl Write) -> Result<()> {
    let mut layer = LayerBuilder::new(out);
    for path in ["bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "var"] {
        layer.directory(path, 0o755, Owner::ROOT)?;
    }
    layer.directory("home/worker", 0o755, Owner { uid: 1234, gid: 2345 })?;
    layer.directory("tmp", 0o1777, Owner::ROOT)?;
    layer.file("etc/passwd", 0o644, Owner::ROOT, PASSWD)?;
    layer.file("etc/group", 0o644, Owner::ROOT, GROUP)?;
    layer.copy_of("bin/busybox", 0o755, Path::new(BUSYBOX))?;
    for applet in applets()?.iter().filter(|applet| *applet != "busybox") {
        layer.symlink(&format!("bin/{applet}"), "busybox")?;
    }
    layer.symlink("usr/bin/env", "../../bin/busybox")?;
    Ok(layer.finish()?)
}

/// How it runs.
#[must_use]
pub fn config() -> ImageConfig {
    ImageConfig {
        env: vec!["PATH=/bin:/usr/bin".into()],
        cmd: vec!["/bin/sh".into()],
        ..ImageConfig::default()
    }
}

/// The names that busybox answers to.
fn applets() -> Result<Vec<String>> {
    let output = Command::new(BUSYBOX).arg("--list").output();
    let output = output.with_context(|| format!("cannot start {BUSYBOX}"))?;
    ensure!(output.status.success(), "{BUSYBOX} --list failed: {}", output.status);
    let mut names: Vec<_> = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
    names.sort();
    Ok(names)
}
