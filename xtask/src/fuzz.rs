//! `make fuzz`: every target of `tests/fuzz` under libFuzzer, for a while each.
//!
//! Owns: how the targets are built with coverage, and where what they find is kept. What crashes a
//! target is left in its folder of the corpus, where `make test` reruns it for ever.

pub mod memcheck;
mod record;
pub mod soak;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

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

/// Where the inputs are that are rerun for ever, in a folder for each target.
const CORPUS: &str = "tests/fuzz/corpus";
/// How often it is asked how much of a processor a target has had.
const SAMPLE_EVERY: Duration = Duration::from_millis(200);

/// What came of running a target for a while.
pub struct Session {
    /// How much of a processor it had, in seconds.
    pub cpu_seconds: f64,
    /// How many inputs it was fed.
    pub executions: u64,
    /// How many edges of its code the inputs take together.
    pub edges: u64,
    /// How many inputs are known: those of the corpus and those that were found.
    pub inputs: u64,
    /// Why it ended before its time: what crashed it is in the corpus.
    pub failure: Option<String>,
}

/// Runs one target, or all, for `seconds` each.
///
/// # Errors
/// Those of cargo; a crash, with the input that made it kept.
pub fn run(workspace: &Workspace, wanted: Option<&str>, seconds: u32) -> Result<()> {
    let mut names = names(workspace)?;
    names.retain(|name| wanted.is_none_or(|wanted| wanted == name));
    ensure!(!names.is_empty(), "there is no fuzz target {}", wanted.unwrap_or_default());
    let program = build(workspace)?;
    progress::heading(&format!("Fuzzing, {seconds} s each"));
    let mut crashed = Vec::new();
    for name in names {
        let task = Task::begin(&name);
        let session = session(workspace, &program, &name, seconds)?;
        match session.failure {
            Some(words) => crashed.push(format!("{name}: {words}")),
            None => task.end(),
        }
        progress::say(&format!("{name}: {} runs, {} edges", session.executions, session.edges));
    }
    ensure!(crashed.is_empty(), "targets failed; their inputs are kept\n{}", crashed.join("\n"));
    Ok(())
}

/// Every target: each has a folder of inputs.
fn names(workspace: &Workspace) -> Result<Vec<String>> {
    let corpus = workspace.root.join(CORPUS);
    let mut names = fs::read_dir(&corpus)
        .with_context(|| format!("cannot read {}", corpus.display()))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
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
fn session(workspace: &Workspace, program: &Path, name: &str, seconds: u32) -> Result<Session> {
    let corpus = workspace.root.join(CORPUS).join(name);
    let found = workspace.target.join("fuzz/found").join(name);
    fs::create_dir_all(&found)?;
    let log = workspace.target.join("fuzz").join(format!("{name}.log"));
    let mut fuzz = Command::new(program);
    fuzz.env("FUZZ_TARGET", name)
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", corpus.display()))
        .args([&found, &corpus])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?);
    let mut child =
        fuzz.spawn().with_context(|| format!("cannot start {}", process::shown(&fuzz)))?;
    let mut cpu_seconds = 0.0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        cpu_seconds = record::cpu_seconds(child.id()).unwrap_or(cpu_seconds);
        thread::sleep(SAMPLE_EVERY);
    };
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let failure = (!status.success()).then(|| format!("{status}\n{}", last_lines(&said, 30)));
    let count = |folder: &Path| fs::read_dir(folder).map_or(0, |entries| entries.count() as u64);
    let inputs = count(&found) + count(&corpus);
    let (executions, edges) = figures(&said);
    Ok(Session { cpu_seconds, executions, edges, inputs, failure })
}

/// How many inputs were run and how many edges seen, by libFuzzer's own words.
fn figures(said: &str) -> (u64, u64) {
    let executions =
        said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let edges = said.lines().rev().find_map(|line| line.split_once(" cov: "));
    let edges = edges.and_then(|(_, rest)| rest.split(' ').next());
    let number = |words: Option<&str>| words.and_then(|it| it.trim().parse().ok()).unwrap_or(0);
    (number(executions), number(edges))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_libfuzzers_last() {
        let said = "#2\tINITED cov: 3 ft: 4 corp: 1/1b\n#9\tDONE   cov: 77 ft: 9 corp: 5/9b\n\
                    Done 12 runs\nstat::number_of_executed_units: 12\nstat::peak_rss_mb: 40\n";
        assert_eq!(figures(said), (12, 77));
        assert_eq!(figures("it did not start"), (0, 0));
    }
}
