//! Compiling, reproducibly: neither the day, the user, the host nor the directory shows in the result.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::progress::Task;

const FIXED: &[(&str, &str)] = &[
    ("KBUILD_BUILD_TIMESTAMP", "2026-01-01"),
    ("KBUILD_BUILD_USER", "cofferdam"),
    ("KBUILD_BUILD_HOST", "cofferdam"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LC_ALL", "C"),
];

/// Compiles the configured `tree` and leaves `vmlinux`, stripped, in `place`.
pub fn vmlinux(tree: &Path, place: &Path) -> Result<()> {
    let mut task = Task::begin("kernel: compiling (minutes the first time)");
    let has_ccache = Command::new("ccache")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let jobs = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let log_path = tree.join("build.log");
    let log = File::create(&log_path)?;
    let mut child = Command::new("make")
        .arg("-C")
        .arg(tree)
        .arg(format!("-j{jobs}"))
        .arg(if has_ccache { "CC=ccache gcc" } else { "CC=gcc" })
        .arg("vmlinux")
        .envs(FIXED.iter().copied())
        // make hands its own options on; ours are the ones that count.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .stdout(Stdio::piped())
        .stderr(log.try_clone()?)
        .spawn()
        .context("cannot start make")?;
    let lines = BufReader::new(child.stdout.take().context("make has no stdout")?).lines();
    let (mut log, mut objects) = (log, 0);
    for line in lines {
        let line = line?;
        if line.trim_start().starts_with("CC ") {
            objects += 1;
        }
        task.note(&format!("{objects} files compiled"));
        writeln!(log, "{line}")?;
    }
    let status = child.wait()?;
    ensure!(status.success(), "the kernel does not build ({status}): see {}", log_path.display());
    let mut strip = Command::new("objcopy");
    strip.arg("--strip-all").arg(tree.join("vmlinux")).arg(place.join("vmlinux"));
    process::run(&mut strip)?;
    task.end();
    Ok(())
}
