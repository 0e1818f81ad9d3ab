//! `make test`: every test; `make soak`: the long ones.

use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::heading;
use crate::workspace::Workspace;
use crate::{build, licences, process};

/// What all choices of the long tests grow from, so that a run can be had again.
const SOAK_SEED: &str = "1";
const REFERENCE_HOST: &str = "tests/reference-host/boot";
const SOAK_RESULTS: &str = "tests/soak.json";

/// Checks form, then runs every test: first those beside the code, which need nothing built, then those
/// that drive the real binary.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn all(workspace: &Workspace) -> Result<()> {
    heading("Form");
    process::run(cargo(workspace).args(["fmt", "--all", "--check"]))?;
    let lints =
        ["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    process::run(cargo(workspace).args(lints))?;
    licences::check(workspace)?;
    heading("Tests beside the code");
    process::run(cargo(workspace).args(["test", "--locked", "--workspace", "--exclude", "tests"]))?;
    heading("Tests of the VMM on the reference host's KVM");
    machine_tests(workspace)?;
    build::all(workspace)?;
    heading("Tests through the real binary");
    process::run(cargo(workspace).args(["test", "--locked", "--package", "tests"]))
}

/// What needs a KVM that works is built here and run there.
fn machine_tests(workspace: &Workspace) -> Result<()> {
    let mut build = cargo(workspace);
    build.args(["test", "--locked", "--package", "vmm", "--test", "machine", "--no-run"]);
    let messages = process::capture(build.arg("--message-format=json"))?;
    let program = messages.lines().rev().find_map(executable);
    let program = program.context("cargo named no program for vmm's machine tests")?;
    let mut boot = Command::new(workspace.root.join(REFERENCE_HOST));
    process::run(boot.current_dir(&workspace.root).arg(program))
}

/// The program that one of cargo's messages is about.
fn executable(message: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message["executable"].as_str().map(str::to_owned)
}

/// Runs the long tests.
///
/// # Errors
/// The first that fails.
pub fn soak(workspace: &Workspace) -> Result<()> {
    build::all(workspace)?;
    heading("Long tests");
    let mut soak = cargo(workspace);
    soak.args(["test", "--locked", "--package", "tests", "--test", "e2e", "--"]);
    soak.args(["--soak", SOAK_SEED, "--out"]).arg(workspace.root.join(SOAK_RESULTS));
    process::run(&mut soak)
}

fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(&workspace.root);
    command
}
