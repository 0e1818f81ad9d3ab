//! The static programs: the launcher and the guest's agent; and the launcher that tries its own walls.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process;
use crate::progress::Task;
use crate::workspace::{TARGET, Workspace};

/// Builds the agent and gives its path.
///
/// # Errors
/// Those of cargo.
pub fn agent(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace, "guest-agent", "guest-agent", "release", &[])
}

/// Builds the launcher, with nothing appended, and gives its path.
///
/// # Errors
/// Those of cargo.
pub fn launcher(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace, "launcher", "cofferdam", "release", &[])
}

/// Builds the launcher that tries its own walls, with nothing appended, and gives its path.
///
/// # Errors
/// Those of cargo.
pub fn trial_launcher(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace, "launcher", "cofferdam", "trial", &["--features", "trial"])
}

/// Builds what tests and measurements have work inside guests, and gives its path.
///
/// # Errors
/// Those of cargo.
pub fn guest_tool(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace, "tests", "guest-tool", "release", &["--bin", "guest-tool"])
}

fn build(
    workspace: &Workspace,
    package: &str,
    binary: &str,
    profile: &str,
    features: &[&str],
) -> Result<PathBuf> {
    let task = Task::begin(&format!("{binary}: static binary"));
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(&workspace.root)
        .args(["build", "--locked", "--profile", profile, "--target", TARGET, "--package", package])
        .args(features)
        // For the target only: build scripts and macros cannot be static.
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static")
        // Either would be taken in place of the line above.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::narrated(&mut command, task, process::cargo_note)?;
    Ok(workspace.target.join(TARGET).join(profile).join(binary))
}
