//! `make test`: every test; `make soak`: the long ones.

use std::process::Command;

use anyhow::Result;

use crate::progress::heading;
use crate::workspace::Workspace;
use crate::{build, images, licences, process};

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
    build::all(workspace)?;
    heading("Tests through the real binary");
    process::run(end_to_end(workspace)?.args(["test", "--locked", "--package", "tests"]))
}

/// Runs the long tests.
///
/// # Errors
/// The first that fails.
pub fn soak(workspace: &Workspace) -> Result<()> {
    build::all(workspace)?;
    heading("Long tests");
    let mut soak = end_to_end(workspace)?;
    process::run(soak.args(["test", "--locked", "--package", "tests", "--features", "soak"]))
}

/// cargo, told where the images are that the tests use.
fn end_to_end(workspace: &Workspace) -> Result<Command> {
    let mut command = cargo(workspace);
    command
        .env("COFFERDAM_DIST", &workspace.dist)
        .env("COFFERDAM_SMALL_IMAGE", images::small(workspace)?.oci)
        .env("COFFERDAM_DEMO_IMAGE", images::demo(workspace)?.oci);
    Ok(command)
}

fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(&workspace.root);
    command
}
