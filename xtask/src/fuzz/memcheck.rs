//! `make soak`'s other look at the corpora: every input once more, under valgrind, which sees what is read before
//! it was written, and what is touched after it was given back.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::record::Record;
use super::{CORPUS, last_lines, names};
use crate::process;
use crate::progress::{Task, heading, say};
use crate::test;
use crate::workspace::Workspace;

/// How much longer an input may take there than elsewhere.
const PATIENCE_SECONDS: u32 = 600;

/// Reruns all inputs under valgrind.
///
/// # Errors
/// Where it complains of anything, or an input fails.
pub fn run(workspace: &Workspace) -> Result<()> {
    heading("Every input of the fuzz targets under valgrind");
    let program = test::program(workspace, &["--package", "fuzz", "--test", "corpus"])?;
    let task = Task::begin("valgrind");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--error-exitcode=9", "--fair-sched=yes", "--num-callers=30"])
        .arg(&program)
        .args(["every_input_is_borne", "--test-threads=1"])
        .env("FUZZ_PATIENCE_SECONDS", PATIENCE_SECONDS.to_string())
        .current_dir(workspace.root.join("tests/fuzz"));
    let (status, said, complained) = process::output(&mut valgrind)?;
    let errors = errors(&complained).context("valgrind gave no summary")?;
    let mut inputs = 0;
    for name in names(workspace)? {
        inputs += std::fs::read_dir(workspace.root.join(CORPUS).join(name))?.count();
    }
    Record::open(workspace)?.keep_memcheck(inputs, errors)?;
    ensure!(status.success(), "{status}\n{said}\n{}", last_lines(&complained, 60));
    task.end();
    say(&format!("{inputs} inputs, {errors} errors"));
    Ok(())
}

/// How many errors valgrind's summary tells of.
fn errors(said: &str) -> Option<u64> {
    let summary = said.lines().rev().find_map(|line| line.split_once("ERROR SUMMARY: "))?.1;
    summary.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_how_many() {
        let said = "==7== \n==7== ERROR SUMMARY: 3 errors from 2 contexts (suppressed: 0 from 0)\n";
        assert_eq!(errors(said), Some(3));
        assert_eq!(errors("Killed"), None);
    }
}
