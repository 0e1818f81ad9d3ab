//! `make fuzz`: every target of `tests/fuzz` under libFuzzer, for a while each.
//!
//! Owns: how the targets are built with coverage, and where what they find is kept. What crashes a
//! target is left in its folder of the corpus, where `make test` reruns it for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{self, cargo_note};
use crate::progress::{self, Task};
use crate::workspace::{TARGET, Workspace};

/// LLVM counts edges and tells of comparisons, and every overflow is a panic.
const COVERAGE: &str = "--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares -C codegen-units=1 -C debug-assertions \
    -C overflow-checks -C panic=abort";
/// An input that takes longer is a finding, and so is one for which a target takes more memory.
const LIMITS: [&str; 4] =
    ["-timeout=10", "-rss_limit_mb=1024", "-max_len=65536", "-print_final_stats=1"];

/// Runs one target, or all, for `seconds` each.
///
/// # Errors
/// Those of cargo; a crash, with the input that made it kept.
pub fn run(workspace: &Workspace, wanted: Option<&str>, seconds: u32) -> Result<()> {
    let corpus = workspace.root.join("tests/fuzz/corpus");
    let mut names = fs::read_dir(&corpus)
        .with_context(|| format!("cannot read {}", corpus.display()))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    names.retain(|name| wanted.is_none_or(|wanted| wanted == name));
    ensure!(!names.is_empty(), "there is no fuzz target {}", wanted.unwrap_or_default());
    let program = build(workspace)?;
    progress::heading(&format!("Fuzzing, {seconds} s each"));
    let mut crashed = Vec::new();
    for name in names {
        if let Err(error) = target(workspace, &program, &corpus.join(&name), &name, seconds) {
            crashed.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(crashed.is_empty(), "targets failed; their inputs are kept\n{}", crashed.join("\n"));
    Ok(())
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    // A target directory of its own: every crate is compiled with other flags.
    let directory = workspace.target.join("fuzz");
    let mut cargo = workspace.cargo();
    cargo
        .args(["build", "--locked", "--release", "--target", TARGET, "--package", "fuzz"])
        .args(["--features", "libfuzzer", "--bin", "fuzz", "--target-dir"])
        .arg(&directory)
        .args(["--config", "profile.release.lto=false", "--config", "profile.release.strip=false"])
        .args(["--config", "profile.release.opt-level=3"])
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", COVERAGE)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::narrated(&mut cargo, Task::begin("fuzz targets, with coverage"), cargo_note)?;
    Ok(directory.join(TARGET).join("release/fuzz"))
}

/// What is new is gathered beside the build; the corpus is read, and written only by a crash.
fn target(
    workspace: &Workspace,
    program: &Path,
    corpus: &Path,
    name: &str,
    seconds: u32,
) -> Result<()> {
    let task = Task::begin(name);
    let found = workspace.target.join("fuzz/found").join(name);
    fs::create_dir_all(&found)?;
    let mut fuzz = Command::new(program);
    fuzz.env("FUZZ_TARGET", name)
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", corpus.display()))
        .args([&found, corpus]);
    let (status, _, said) = process::output(&mut fuzz)?;
    ensure!(status.success(), "{status}\n{}", last_lines(&said, 30));
    task.end();
    let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let edges = said.lines().rev().find_map(|line| line.split_once(" cov: "));
    let edges = edges.and_then(|(_, rest)| rest.split(' ').next());
    progress::say(&format!(
        "{name}: {} runs, {} edges",
        runs.unwrap_or("no").trim(),
        edges.unwrap_or("no")
    ));
    Ok(())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
