//! Compiling, reproducibly: neither the day, the user, the host nor the directory shows in the result.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

use super::{make, pack};
use crate::process;
use crate::progress::Task;

const FIXED: &[(&str, &str)] = &[
    ("KBUILD_BUILD_TIMESTAMP", "2026-01-01"),
    ("KBUILD_BUILD_USER", "cofferdam"),
    ("KBUILD_BUILD_HOST", "cofferdam"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LC_ALL", "C"),
    // ccache goes by the files that the compiler says it read, and does not run its preprocessor beforehand: a
    // first build is a quarter cheaper.
    ("CCACHE_DEPEND", "1"),
];

/// What remembers objects between builds, where it is installed.
pub fn remembering_compiler() -> &'static str {
    let has_ccache = process::capture(Command::new("ccache").arg("--version")).is_ok();
    if has_ccache { "CC=ccache gcc" } else { "CC=gcc" }
}

/// Compiles the configured `tree` by `compiler` and leaves `vmlinux`, packed, and the list of its `sections` in `place`.
pub fn vmlinux(tree: &Path, compiler: &str, place: &Path) -> Result<()> {
    let task = Task::begin("kernel: compiling (minutes the first time)");
    let jobs = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let log_path = tree.join("build.log");
    let log = File::create(&log_path)?;
    let mut child = make(tree)
        .args([format!("-j{jobs}").as_str(), compiler, "vmlinux"])
        .envs(FIXED.iter().copied())
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
    let linked = tree.join("vmlinux");
    fs::write(place.join("vmlinux"), pack::pack(&fs::read(&linked)?)?)?;
    let sections =
        process::capture(Command::new("readelf").args(["--wide", "--sections"]).arg(linked))?;
    fs::write(place.join("sections"), sections)?;
    task.end();
    Ok(())
}
