//! `make test`: every test.
//!
//! What is at work is said on stderr; what the tests say goes to stdout.

use std::process::Command;
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context, Result, anyhow};

use crate::progress::{self, Task, heading};
use crate::run::Accelerator;
use crate::workspace::Workspace;
use crate::{build, contents, form, images, kernel, measure, process, reference_host, run, setup};

const REFERENCE_HOST: &str = "tests/reference-host/boot";

/// Checks form, then runs every test: first those beside the code, which need nothing built, then those
/// that drive the real binary, the demo among them. What the reference host alone is at work at, on one
/// processor, goes on beside what is built for the next.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn all(workspace: &Workspace) -> Result<()> {
    setup::want_root("test")?;
    build_slow_parts()?;
    heading("Form");
    let mut left_out = form::check(workspace)?;
    heading("Tests beside the code");
    let mut beside = workspace.cargo();
    // --tests: no crate has tests in its documentation, and cargo says so crate by crate.
    beside.args(["test", "--locked", "--workspace", "--exclude", "tests", "--tests"]);
    process::show(&mut beside)?;
    heading("Tests of the VMM on the reference host's KVM, beside what is built");
    let machine = program(workspace, &["--package", "vmm", "--test", "machine"])?;
    let (tested, built) = thread::scope(|scope| {
        let tests = scope.spawn(|| machine_tests(workspace, &machine));
        let built = build::all(workspace);
        (joined(tests), built)
    });
    tested?;
    let built = built?;
    heading("The guest kernel's hardening");
    kernel::hardening::check(workspace, None)?;
    heading("What the outer images hold");
    contents::check(&built)?;
    heading("The demo, and beside it what things cost");
    let (counted, shown) = thread::scope(|scope| {
        let guard = scope.spawn(|| measure::guard(workspace, &built));
        (joined(guard), demo(workspace, &built))
    });
    left_out.extend(counted?);
    shown?;
    build::trial(workspace)?;
    // The installed one lets a guest stand still now and then: a test that fails by that says nothing.
    let emulator = reference_host::emulator(workspace)?;
    heading("Tests through the real binary");
    let mut real = workspace.cargo();
    real.args(["test", "--locked", "--package", "tests", "--tests"]).env("EMULATOR", emulator);
    process::show(&mut real)?;
    heading("All tests passed");
    left_out.iter().for_each(|line| progress::warn(line));
    Ok(())
}

fn demo(workspace: &Workspace, built: &build::Built) -> Result<()> {
    let ran_on = run::demo(workspace, built, None)?;
    if ran_on != Accelerator::Tcg {
        // The image with QEMU is for other places than this one.
        run::demo(workspace, built, Some(Accelerator::Tcg))?;
    }
    Ok(())
}

/// Has two threads build what takes minutes the first time, beside what needs none of it: much of it keeps one processor
/// busy and no more. They give way to all other work, and what becomes of theirs is told by those who need it: they wait for
/// it, or build it themselves.
fn build_slow_parts() -> Result<()> {
    beside(Workspace::find()?, |workspace| {
        let _ = kernel::vmlinux(workspace);
    });
    beside(Workspace::find()?, |workspace| {
        let _ = crate::program::agent(workspace)
            .and_then(|_| images::tcg_tree(workspace))
            .and_then(|_| images::Name::Demo.build(workspace))
            .and_then(|_| crate::program::trial_launcher(workspace))
            .and_then(|_| program(workspace, &["--package", "tests", "--test", "e2e"]))
            .and_then(|_| reference_host::emulator(workspace));
    });
    Ok(())
}

fn beside(workspace: Workspace, work: impl FnOnce(&Workspace) + Send + 'static) {
    const NICE: i32 = 10;
    thread::spawn(move || {
        progress::go_beside();
        // Of this thread, and of what it starts.
        let _ = rustix::process::nice(NICE);
        work(&workspace);
    });
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("a thread of this program panicked: see above")))
}

/// Runs there what needs a KVM that works.
fn machine_tests(workspace: &Workspace, program: &str) -> Result<()> {
    let task = Task::beside("machine tests");
    let text = reference_host::capture(|| {
        let mut boot = Command::new(workspace.root.join(REFERENCE_HOST));
        boot.current_dir(&workspace.root).arg(program);
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
