//! `make measure`: what it costs, counted in instructions in the reference host, as dated JSON and as
//! the tables of README; and the guard of `make test`, which fails where a run costs more than that.
//!
//! Counted figures repeat to a few per cent on any machine. They do not see VM exits, TLB misses or
//! caches, and are no throughput of real hardware.

mod docker;
mod figures;
mod files;
mod fragments;
mod guard;
mod memory;
mod network;
mod peers;
mod plot;
mod pulls;
mod stages;
mod streams;
mod survey;
mod table;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use self::figures::Figures;
pub use self::pulls::names as image_names;
pub use self::survey::Part;
use crate::build::{self, Built};
use crate::progress::{self, Task};
use crate::workspace::Workspace;
use crate::{images, kernel, process, readme, reference_host, setup};

const COMMAND: &str = "make measure";
/// What is said where there is no figure, and none can be wrong.
const NOT_COUNTED: &str = "not counted: the emulated machine stood still each time";

/// Several times what counting a few runs takes, in seconds: one that stands still is not waited for longer.
const COUNT_LIMIT_S: u32 = 120;

/// How many emulated machines must agree that something costs too much. All runs in one of them have been seen
/// dearer than those in the next by 4 %, of the same program.
const MACHINES: u32 = 2;

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
    /// Whether the launcher's account of the last run ends it, and it counts more with DETAILS=1.
    has_account: bool,
}

const KERNEL_START: Measurement = Measurement {
    name: "the guest kernel, from its start to its first program",
    script: "kernel-config/boot-cost",
    results: "kernel-config/boot-cost.json",
    budget_million: 60.0,
    runs: (5, 3),
    has_account: false,
};

const RUN_TRUE: Measurement = Measurement {
    name: "cofferdam run … true, from exec to exit",
    script: "tests/reference-host/run-cost",
    results: "tests/reference-host/run-cost.json",
    budget_million: 250.0,
    runs: (5, 3),
    has_account: true,
};

/// What figures are wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To be kept, and nothing else goes on.
    Results,
    /// To be held against what was kept, beside other work.
    Guard,
}

/// What a script said.
struct Counted {
    million: Figures,
    host_kernel: String,
    text: String,
}

/// Measures everything or one part, writes the results beside the scripts and README's tables from them.
///
/// # Errors
/// Those of the scripts, and a budget exceeded.
pub fn all(workspace: &Workspace, only: Option<Part>, images: &[String]) -> Result<()> {
    setup::want_root("measure")?;
    let built = build::all(workspace)?;
    // Before the first result is written, which differs from every commit.
    let commit = workspace.commit()?;
    progress::heading("Measuring");
    let mut over = Vec::new();
    for &part in Part::value_variants() {
        if only.is_some_and(|only| only != part) {
            continue;
        }
        if part == Part::Run {
            over.extend(runs(workspace, &built, &commit)?);
        }
        over.extend(survey::part(workspace, &built, &commit, (part, images))?);
        // Now, so that README says what is kept even where the next part fails.
        readme::write(workspace, COMMAND, &tables(workspace)?)?;
    }
    over.iter().for_each(|line| progress::warn(line));
    ensure!(over.is_empty(), "a budget is exceeded: see above");
    Ok(())
}

/// Counts what `make test` guards; gives what is over its budget.
fn runs(workspace: &Workspace, built: &Built, commit: &str) -> Result<Vec<String>> {
    let mut over = Vec::new();
    for (what, arguments) in everything(workspace, built)? {
        let counted = run(workspace, what, &arguments, Purpose::Results)?;
        let counted = counted.with_context(|| format!("{}: {NOT_COUNTED}", what.name))?;
        write(workspace, what.results, &document(what, &counted, commit)?)?;
        let (median, budget) = (counted.million.median(), what.budget_million);
        progress::say(&format!("{median:.1} M instructions ({})", what.results));
        if median > budget {
            over.push(format!("{}: {median:.1} M, budget {budget:.0} M", what.name));
        }
    }
    Ok(over)
}

/// README's part, from what is kept.
fn tables(workspace: &Workspace) -> Result<String> {
    let run = known(workspace, RUN_TRUE.results)?;
    let run = table::of(&run, &known(workspace, KERNEL_START.results)?)?;
    Ok(run + &survey::tables(workspace)?)
}

/// Fails where it costs more than its budget allows, or clearly more than the results beside the
/// scripts say, in each of `MACHINES`. Gives what could not be counted, which is no success and is to be
/// said. Other work may go on beside it: it only adds to what is counted, and little.
///
/// # Errors
/// Where it does, and those of the scripts.
pub fn guard(workspace: &Workspace, built: &Built) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    for (what, arguments) in everything(workspace, built)? {
        let known = match workspace.root.join(what.results).exists() {
            true => Some(guard::Known::read(&known(workspace, what.results)?)?),
            false => None,
        };
        let judged = || -> Result<Option<Result<String>>> {
            let counted = run(workspace, what, &arguments, Purpose::Guard)?;
            Ok(counted.map(|counted| guard::judge(&counted, what.budget_million, known.as_ref())))
        };
        let mut verdict = judged()?;
        for _ in 1..MACHINES {
            let Some(Err(why)) = &verdict else { break };
            progress::warn(&format!("{}: {why:#}; counted in another machine", what.name));
            // One that stood still takes nothing back.
            verdict = judged()?.or(verdict);
        }
        match verdict {
            Some(verdict) => progress::say(&verdict.with_context(|| what.name.to_owned())?),
            None => left_out.push(format!("{}: {NOT_COUNTED}", what.name)),
        }
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
    purpose: Purpose,
) -> Result<Option<Counted>> {
    let (task, runs) = match purpose {
        Purpose::Results => (Task::begin(what.name), what.runs.0),
        Purpose::Guard => (Task::beside(what.name), what.runs.1),
    };
    let is_counted_more = purpose == Purpose::Results && what.has_account;
    let text = reference_host::count(COUNT_LIMIT_S, || {
        let mut command = Command::new(workspace.root.join(what.script));
        command.current_dir(&workspace.root).args(arguments).env("RUNS", runs.to_string());
        if is_counted_more {
            command.env("DETAILS", "1");
        }
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
    let mut document = heading(what.name, commit, &counted.host_kernel)?;
    let last_run: Value = serde_json::from_str(account)?;
    if what.has_account {
        let alone = stages::program_alone_ms(said)?;
        let last = counted.million.0.last().context("no run")?;
        stages::check(&last_run, alone, *last)?;
        document.insert("program_alone_ms".to_owned(), json!(alone));
        let calls: u64 = figures::line(said, "system calls")?.parse()?;
        document.insert("system_calls".to_owned(), json!(calls));
        let copied: u64 = figures::line(said, "bytes copied")?.parse()?;
        document.insert("bytes_copied".to_owned(), json!(copied));
    }
    let rest = [
        ("million_instructions", json!(counted.million.0)),
        ("budget_million_instructions", json!(what.budget_million)),
        ("output", json!(said.lines().collect::<Vec<_>>())),
        ("last_run", last_run),
    ];
    document.extend(rest.map(|(key, value)| (key.to_owned(), value)));
    Ok(Value::Object(document))
}

/// What every document begins with.
fn heading(what: &str, commit: &str, host_kernel: &str) -> Result<Map<String, Value>> {
    let heading = json!({
        "version": 1,
        "what": what,
        "date": process::now()?,
        "commit": commit,
        "command": COMMAND,
        "host_kernel": host_kernel,
        "guest_kernel": kernel::source_version()?,
    });
    heading.as_object().cloned().context("it is an object")
}

fn write(workspace: &Workspace, results: &str, document: &Value) -> Result<()> {
    let path = workspace.root.join(results);
    fs::write(&path, format!("{document:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn known(workspace: &Workspace, results: &str) -> Result<Value> {
    let path = workspace.root.join(results);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

impl Counted {
    fn parse(text: String) -> Result<Self> {
        let million = figures::named(&text, "")?;
        let host_kernel = figures::line(&text, "host kernel")?.to_owned();
        Ok(Self { million, host_kernel, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_says_becomes_a_document() {
        let text = "host kernel 6.1.0-50\nrun 1: 4.0 ms, 2.0 M instructions\n\
                    run 2: 2.0 ms, 1.0 M instructions\nprogram alone: 0.5 ms, 0.2 M instructions\n\
                    system calls 9\nbytes copied 7\n{\n  \"stages_ms\": { \"boot\": 1.5 }\n}";
        let counted = Counted::parse(text.to_owned()).unwrap();
        assert_eq!((counted.million.least(), counted.host_kernel.as_str()), (1.0, "6.1.0-50"));
        let document = document(&RUN_TRUE, &counted, "abc").unwrap();
        assert_eq!(document["last_run"]["stages_ms"]["boot"], 1.5);
        assert_eq!(
            (&document["program_alone_ms"], &document["system_calls"], &document["bytes_copied"]),
            (&json!(0.5), &json!(9), &json!(7))
        );
        assert_eq!(document["output"].as_array().unwrap().len(), 6);
        let lacking = Counted::parse(text.replace("system calls 9\n", "")).unwrap();
        assert!(super::document(&RUN_TRUE, &lacking, "abc").is_err());
        assert!(Counted::parse("run 1: 4.0 ms, 2.0 M instructions".to_owned()).is_err());
    }

    /// Who reads README reads what was measured.
    #[test]
    fn the_table_of_readme_is_made_of_the_results_beside_the_scripts() {
        let workspace = Workspace::find().unwrap();
        let is_measured = |results: &str| workspace.root.join(results).exists();
        let all = [RUN_TRUE.results, KERNEL_START.results];
        let measured = all.iter().filter(|results| is_measured(results)).count();
        assert!(measured == 0 || measured == all.len(), "results of one but not the other");
        if measured > 0 {
            readme::says(&workspace, readme::README, COMMAND, &tables(&workspace).unwrap());
        }
    }
}
