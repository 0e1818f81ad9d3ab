//! `make measure`: what it costs, counted in instructions in the reference host, as dated JSON and as
//! the table of README; and the guard of `make test`, which fails where it costs more than that.
//!
//! Counted figures repeat to a few per cent on any machine. They do not see VM exits, TLB misses or
//! caches, and are no throughput of real hardware.

mod guard;
mod table;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::build::{self, Built};
use crate::progress::{self, Task};
use crate::workspace::Workspace;
use crate::{images, kernel, process, readme, reference_host, setup};

const COMMAND: &str = "make measure";
/// What is said where there is no figure, and none can be wrong.
const NOT_COUNTED: &str = "not counted: the emulated machine stood still each time";

/// One thing measured: a script that prints `run N: … ms, … M instructions`, which kernel the host has
/// (`host kernel …`), and at its end perhaps a document of the launcher's.
struct Measurement {
    name: &'static str,
    script: &'static str,
    results: &'static str,
    /// What no later change may exceed.
    budget_million: f64,
    /// How often it is run by `make measure`, and by the guard.
    runs: (u32, u32),
}

const KERNEL_START: Measurement = Measurement {
    name: "the guest kernel, from its start to its first program",
    script: "kernel-config/boot-cost",
    results: "kernel-config/boot-cost.json",
    budget_million: 60.0,
    runs: (5, 2),
};

const RUN_TRUE: Measurement = Measurement {
    name: "cofferdam run … true, from exec to exit",
    script: "tests/reference-host/run-cost",
    results: "tests/reference-host/run-cost.json",
    budget_million: 250.0,
    runs: (5, 2),
};

/// What a script said.
struct Counted {
    million: Vec<f64>,
    host_kernel: String,
    text: String,
}

/// Measures everything, writes the results beside the scripts and README's table from them.
///
/// # Errors
/// Those of the scripts, and a budget exceeded.
pub fn all(workspace: &Workspace) -> Result<()> {
    setup::want_root("measure")?;
    let built = build::all(workspace)?;
    // Before the first result is written, which differs from every commit.
    let commit = workspace.commit()?;
    progress::heading("Measuring");
    let mut is_kept = true;
    for (what, arguments) in everything(workspace, &built)? {
        let task = Task::begin(what.name);
        let counted = run(workspace, what, &arguments, what.runs.0, task)?;
        let counted = counted.with_context(|| format!("{}: {NOT_COUNTED}", what.name))?;
        write(workspace, what, &document(what, &counted, &commit)?)?;
        is_kept &= counted.least() <= what.budget_million;
        let verdict = if counted.least() <= what.budget_million { "within" } else { "over" };
        progress::say(&format!(
            "{:.1} M instructions, {verdict} the budget of {:.0} M ({})",
            counted.least(),
            what.budget_million,
            what.results
        ));
    }
    let table = table::of(&known(workspace, &RUN_TRUE)?, &known(workspace, &KERNEL_START)?)?;
    readme::write(workspace, COMMAND, &table)?;
    ensure!(is_kept, "a budget is exceeded: see above");
    Ok(())
}

/// Fails where it costs more than its budget allows, or clearly more than the results beside the
/// scripts say. Gives what could not be counted, which is no success and is to be said. Other work may
/// go on beside it: what is counted does not depend on that.
///
/// # Errors
/// Where it does, and those of the scripts.
pub fn guard(workspace: &Workspace, built: &Built) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    for (what, arguments) in everything(workspace, built)? {
        let task = Task::beside(what.name);
        let Some(counted) = run(workspace, what, &arguments, what.runs.1, task)? else {
            left_out.push(format!("{}: {NOT_COUNTED}", what.name));
            continue;
        };
        let known = match workspace.root.join(what.results).exists() {
            true => Some(guard::Known::read(&known(workspace, what)?)?),
            false => None,
        };
        let verdict = guard::judge(&counted, what.budget_million, known.as_ref());
        progress::say(&verdict.with_context(|| what.name.to_owned())?);
    }
    Ok(left_out)
}

/// What is measured, and the scripts' arguments.
fn everything(
    workspace: &Workspace,
    built: &Built,
) -> Result<[(&'static Measurement, Vec<String>); 2]> {
    let words = |paths: &[&Path]| paths.iter().map(|path| path.display().to_string()).collect();
    let image = images::small(workspace)?.oci;
    Ok([
        (&KERNEL_START, words(&[&kernel::vmlinux(workspace)?])),
        (&RUN_TRUE, words(&[&built.cofferdam, &image])),
    ])
}

fn run(
    workspace: &Workspace,
    what: &Measurement,
    arguments: &[String],
    runs: u32,
    task: Task,
) -> Result<Option<Counted>> {
    let text = reference_host::count(|| {
        let mut command = Command::new(workspace.root.join(what.script));
        command.current_dir(&workspace.root).args(arguments).env("RUNS", runs.to_string());
        command
    })?;
    task.end();
    let parse = |text| {
        Counted::parse(text).with_context(|| format!("{} printed something else", what.script))
    };
    text.map(parse).transpose()
}

fn document(what: &Measurement, counted: &Counted, commit: &str) -> Result<Value> {
    // At the end perhaps the launcher's own account of the last run.
    let (said, account) = match counted.text.find("\n{") {
        Some(at) => counted.text.split_at(at),
        None => (counted.text.as_str(), "null"),
    };
    Ok(json!({
        "version": 1,
        "what": what.name,
        "date": process::now()?,
        "commit": commit,
        "command": "make measure",
        "host_kernel": counted.host_kernel,
        "guest_kernel": kernel::source_version()?,
        "million_instructions": counted.million,
        "budget_million_instructions": what.budget_million,
        "output": said.lines().collect::<Vec<_>>(),
        "last_run": serde_json::from_str::<Value>(account)?,
    }))
}

fn write(workspace: &Workspace, what: &Measurement, document: &Value) -> Result<()> {
    let path = workspace.root.join(what.results);
    fs::write(&path, format!("{document:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn known(workspace: &Workspace, what: &Measurement) -> Result<Value> {
    let path = workspace.root.join(what.results);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

impl Counted {
    fn parse(text: String) -> Result<Self> {
        let million: Vec<f64> = text.lines().filter_map(million_instructions).collect();
        ensure!(!million.is_empty(), "no run in:\n{text}");
        let host_kernel = text.lines().find_map(|line| line.strip_prefix("host kernel "));
        let host_kernel = host_kernel.context("no host kernel")?.to_owned();
        Ok(Self { million, host_kernel, text })
    }

    /// What is noise here only adds: the machine's own waiting.
    fn least(&self) -> f64 {
        self.million.iter().copied().fold(f64::INFINITY, f64::min)
    }
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

    #[test]
    fn what_a_script_says_becomes_a_document() {
        let text = "host kernel 6.1.0-50\nrun 1: 4.0 ms, 2.0 M instructions\n\
                    run 2: 2.0 ms, 1.0 M instructions\n{\n  \"total_ms\": 3.0\n}";
        let counted = Counted::parse(text.to_owned()).unwrap();
        assert_eq!((counted.least(), counted.host_kernel.as_str()), (1.0, "6.1.0-50"));
        let document = document(&RUN_TRUE, &counted, "abc").unwrap();
        assert_eq!(document["last_run"]["total_ms"], 3.0);
        assert_eq!(document["output"].as_array().unwrap().len(), 3);
        assert!(Counted::parse("run 1: 4.0 ms, 2.0 M instructions".to_owned()).is_err());
    }

    /// Who reads README reads what was measured.
    #[test]
    fn the_table_of_readme_is_made_of_the_results_beside_the_scripts() {
        let workspace = Workspace::find().unwrap();
        let is_measured = |what: &Measurement| workspace.root.join(what.results).exists();
        assert_eq!(
            is_measured(&RUN_TRUE),
            is_measured(&KERNEL_START),
            "results of one but not the other"
        );
        if !is_measured(&RUN_TRUE) {
            return;
        }
        let results = [&RUN_TRUE, &KERNEL_START].map(|what| known(&workspace, what).unwrap());
        readme::says(&workspace, COMMAND, &table::of(&results[0], &results[1]).unwrap());
    }
}
