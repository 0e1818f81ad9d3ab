//! `make measure`: what it costs, counted in instructions in the reference host, as dated JSON.
//!
//! Counted figures repeat to a few per cent on any machine. They do not see VM exits, TLB misses or
//! caches, and are no throughput of real hardware.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::progress::{self, Task};
use crate::workspace::Workspace;
use crate::{build, images, kernel, process};

/// One thing measured: a script that prints `run N: … ms, … M instructions`.
struct Measurement {
    name: &'static str,
    script: &'static str,
    results: &'static str,
    /// What no later change may exceed.
    budget_million: f64,
}

const KERNEL_START: Measurement = Measurement {
    name: "the guest kernel, from its start to its first program",
    script: "kernel-config/boot-cost",
    results: "kernel-config/boot-cost.json",
    budget_million: 60.0,
};

const RUN_TRUE: Measurement = Measurement {
    name: "cofferdam run … true, from exec to exit",
    script: "tests/reference-host/run-cost",
    results: "tests/reference-host/run-cost.json",
    budget_million: 250.0,
};

/// Measures everything and writes the results beside the scripts.
///
/// # Errors
/// Those of the scripts, and a budget exceeded.
pub fn all(workspace: &Workspace) -> Result<()> {
    let built = build::all(workspace)?;
    let vmlinux = kernel::vmlinux(workspace)?.display().to_string();
    let cofferdam = built.cofferdam.display().to_string();
    let image = images::small(workspace)?.oci.display().to_string();
    progress::heading("Measuring");
    let kept = [
        measure(workspace, &KERNEL_START, &[&vmlinux])?,
        measure(workspace, &RUN_TRUE, &[&cofferdam, &image])?,
    ];
    ensure!(kept.iter().all(|kept| *kept), "a budget is exceeded: see above");
    Ok(())
}

/// Gives whether the budget was kept.
fn measure(workspace: &Workspace, what: &Measurement, arguments: &[&str]) -> Result<bool> {
    let task = Task::begin(what.name);
    let mut command = Command::new(workspace.root.join(what.script));
    let text = process::capture(command.current_dir(&workspace.root).args(arguments))?;
    task.end();
    let runs: Vec<f64> = text.lines().filter_map(million_instructions).collect();
    // What is noise here only adds: the machine's own waiting.
    let least = runs.iter().copied().reduce(f64::min);
    let least = least.with_context(|| format!("{} printed no run:\n{text}", what.script))?;
    let document = json!({
        "version": 1,
        "what": what.name,
        "date": process::capture(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]))?,
        "commit": commit(workspace)?,
        "command": "make measure",
        "host_kernel": process::capture(
            Command::new("dpkg-query").args(["-W", "-f", "${Version}", "linux-image-cloud-amd64"]),
        )?,
        "million_instructions": runs,
        "budget_million_instructions": what.budget_million,
        "output": text.lines().collect::<Vec<_>>(),
    });
    write(workspace, what, &document)?;
    let verdict = if least <= what.budget_million { "within" } else { "over" };
    progress::say(&format!(
        "{least:.1} M instructions, {verdict} the budget of {:.0} M ({})",
        what.budget_million, what.results
    ));
    Ok(least <= what.budget_million)
}

fn write(workspace: &Workspace, what: &Measurement, document: &Value) -> Result<()> {
    let path = workspace.root.join(what.results);
    fs::write(&path, format!("{document:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn commit(workspace: &Workspace) -> Result<String> {
    let mut git = Command::new("git");
    process::capture(git.current_dir(&workspace.root).args(["describe", "--always", "--dirty"]))
}

/// The figure in `run 1: 81.2 ms, 40.6 M instructions`.
fn million_instructions(line: &str) -> Option<f64> {
    let (before, _) = line.strip_prefix("run ")?.split_once(" M instructions")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_runs_have_a_figure() {
        assert_eq!(million_instructions("run 2: 81.2 ms, 40.6 M instructions"), Some(40.6));
        assert_eq!(
            million_instructions("run 2: 81.2 ms, 40.6 M instructions, 7 KVM exits"),
            Some(40.6)
        );
        assert_eq!(million_instructions("  5.0 ms after Unpacking initramfs..."), None);
    }
}
