//! `make test`: every test.
//!
//! What is at work is said on stderr; what the tests say goes to stdout.

use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::{self, Task, heading};
use crate::run::Accelerator;
use crate::workspace::Workspace;
use crate::{build, contents, form, kernel, measure, process, reference_host, run, setup};

const REFERENCE_HOST: &str = "tests/reference-host/boot";

/// Checks form, then runs every test: first those beside the code, which need nothing built, then those
/// that drive the real binary, the demo among them.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn all(workspace: &Workspace) -> Result<()> {
    setup::want_root("test")?;
    heading("Form");
    let mut left_out = form::check(workspace)?;
    heading("Tests beside the code");
    let mut beside = workspace.cargo();
    // --tests: no crate has tests in its documentation, and cargo says so crate by crate.
    beside.args(["test", "--locked", "--workspace", "--exclude", "tests", "--tests"]);
    process::show(&mut beside)?;
    heading("Tests of the VMM on the reference host's KVM");
    machine_tests(workspace)?;
    let built = build::all(workspace)?;
    heading("The guest kernel's hardening");
    kernel::hardening::check(workspace, None)?;
    heading("What the outer images hold");
    contents::check(&built)?;
    heading("Costs");
    left_out.extend(measure::guard(workspace, &built)?);
    build::trial(workspace)?;
    heading("Tests through the real binary");
    process::show(workspace.cargo().args(["test", "--locked", "--package", "tests", "--tests"]))?;
    heading("The demo");
    let ran_on = run::demo(workspace, &built, None)?;
    if ran_on != Accelerator::Tcg {
        // The image with QEMU is for other places than this one.
        run::demo(workspace, &built, Some(Accelerator::Tcg))?;
    }
    heading("All tests passed");
    left_out.iter().for_each(|line| progress::warn(line));
    Ok(())
}

/// What needs a KVM that works is built here and run there.
fn machine_tests(workspace: &Workspace) -> Result<()> {
    let program = program(workspace, &["--package", "vmm", "--test", "machine"])?;
    let task = Task::begin("machine tests");
    let text = reference_host::capture(|| {
        let mut boot = Command::new(workspace.root.join(REFERENCE_HOST));
        boot.current_dir(&workspace.root).arg(&program);
        boot
    })?;
    task.end();
    progress::output(&text);
    Ok(())
}

/// Builds the program of a test.
///
/// # Errors
/// Those of cargo.
pub fn program(workspace: &Workspace, which: &[&str]) -> Result<String> {
    let mut build = workspace.cargo();
    build.args(["test", "--locked", "--no-run", "--message-format=json"]).args(which);
    let messages = process::capture(&mut build)?;
    let program = messages.lines().rev().find_map(executable);
    program.with_context(|| format!("cargo named no program for {}", which.join(" ")))
}

/// The program that one of cargo's messages is about.
fn executable(message: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message["executable"].as_str().map(str::to_owned)
}
