//! `make soak`: the long tests, and the kernel built once more; README's account of both. Then the fuzz targets,
//! for hours, and their inputs under valgrind.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::progress::heading;
use crate::workspace::Workspace;
use crate::{build, fuzz, kernel, process, readme, setup};

const COMMAND: &str = "make soak";
/// What all choices of the long tests grow from, so that a run can be had again.
const SEED: &str = "1";
const RESULTS: &str = "tests/soak.json";

/// A part of what takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The long tests and the kernel's second build.
    Tests,
    /// The fuzz targets, until each has had its hour.
    Fuzz,
    /// Their inputs under a checker of memory.
    Memcheck,
}

/// Does all that takes long, or a part; of fuzzing, so many seconds for each target.
///
/// # Errors
/// Those of each part; one that fails does not keep the others from their turn.
pub fn run(workspace: &Workspace, part: Option<Part>, fuzz_seconds: u32) -> Result<()> {
    setup::want_root("soak")?;
    let is_wanted = |it| part.is_none_or(|part| part == it);
    let mut went = Ok(());
    if is_wanted(Part::Tests) {
        went = went.and(long_tests(workspace));
    }
    if is_wanted(Part::Memcheck) {
        went = went.and(fuzz::memcheck::run(workspace));
    }
    if is_wanted(Part::Fuzz) {
        went = went.and(fuzz::soak::run(workspace, fuzz_seconds));
    }
    went
}

/// Runs every test that KVM can run on it, then the long ones, builds the kernel once more, and writes what came of it: as JSON, and in README.
fn long_tests(workspace: &Workspace) -> Result<()> {
    build::all(workspace)?;
    heading("Every test on KVM, those too that `make test` has on TCG alone");
    let mut everywhere = workspace.cargo();
    everywhere.args(["test", "--locked", "--package", "tests", "--test", "e2e", "kvm::"]);
    let went_everywhere = process::show(everywhere.env("COFFERDAM_TEST_EVERYWHERE", "1"));
    heading("Long tests");
    let mut soak = workspace.cargo();
    soak.args(["test", "--locked", "--package", "tests", "--test", "e2e", "--"]);
    soak.args(["--soak", SEED, "--out"]).arg(workspace.root.join(RESULTS));
    let went_well = process::show(&mut soak);
    let is_same = kernel::reproducible::check(workspace);
    readme::write(workspace, COMMAND, &account(workspace)?)?;
    went_everywhere.and(went_well).and(is_same)
}

fn account(workspace: &Workspace) -> Result<String> {
    let read = |path: &str| -> Result<Value> {
        let text = fs::read(workspace.root.join(path)).with_context(|| format!("no {path}"))?;
        serde_json::from_slice(&text).with_context(|| format!("{path} is no JSON"))
    };
    account_of(&read(RESULTS)?, &read(kernel::reproducible::RESULT)?)
}

/// README's words for both results. Pure.
fn account_of(soak: &Value, kernel: &Value) -> Result<String> {
    let results = soak["results"].as_array().context("no results")?;
    let mut names: Vec<&str> = Vec::new();
    for result in results {
        let name = result["case"].as_str().context("a result without a case")?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    ensure!(!names.is_empty(), "nothing was tested");
    let mut text = format!(
        "Seed {}, commit `{}`, {}. The kernel built once more in another folder: {}.\n\n\
         | long test | TCG | KVM |\n|---|---|---|\n",
        soak["seed"],
        soak["commit"].as_str().and_then(|commit| commit.get(..12)).context("no commit")?,
        soak["date"].as_str().and_then(|date| date.split('T').next()).context("no date")?,
        if kernel["is_same"] == true { "the same bytes" } else { "OTHER BYTES" },
    );
    for name in names {
        let words = name.rsplit("::").next().unwrap_or(name).replace('_', " ");
        let [tcg, kvm] = ["tcg", "kvm"].map(|who| {
            results
                .iter()
                .find(|it| it["case"] == name && it["accelerator"] == who)
                .map_or("", word)
        });
        text.push_str(&format!("| {words} | {tcg} | {kvm} |\n"));
    }
    Ok(text)
}

fn word(result: &Value) -> &'static str {
    match (&result["not_tested"], &result["failure"]) {
        (Value::String(_), _) => "not tested",
        (_, Value::Null) => "✓",
        _ => "FAILED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_that_failed_or_was_left_out_looks_well() {
        let result = |accelerator: &str, case: &str, more: Value| {
            let mut result = json!({ "accelerator": accelerator, "case": case, "failure": null });
            result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            result
        };
        let soak = json!({
            "seed": 7, "commit": "0123456789abcdef", "date": "2026-01-02T03:04:05Z",
            "results": [
                result("tcg", "soak::many_in_a_row", json!({})),
                result("tcg", "soak::other", json!({ "not_tested": "no KVM" })),
                result("kvm", "soak::many_in_a_row", json!({ "failure": "it hung" })),
            ],
        });
        let text = account_of(&soak, &json!({ "is_same": false })).unwrap();
        let head = "Seed 7, commit `0123456789ab`, 2026-01-02. The kernel built once more in another \
            folder: OTHER BYTES.";
        assert_eq!(text.lines().next(), Some(head));
        let rows: Vec<&str> = text.lines().skip(4).collect();
        assert_eq!(rows, ["| many in a row | ✓ | FAILED |", "| other | not tested |  |"]);
        assert!(account_of(&json!({}), &json!({})).is_err());
    }

    /// Who reads README reads what came of it.
    #[test]
    fn readme_says_what_the_results_say() {
        let workspace = Workspace::find().unwrap();
        readme::says(&workspace, readme::README, COMMAND, &account(&workspace).unwrap());
    }
}
