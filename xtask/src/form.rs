//! What the code must look like before any of it is run: rustfmt, clippy, licences, the engines' profiles.
//!
//! Other versions of clippy and rustfmt have other opinions. They are shown, loudly, but only those of
//! the version that the workspace was last held to fail anything; and where a tool is not installed,
//! that is said instead.

use std::process::Command;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{licences, process, progress};

/// The release that the workspace has no complaint of. Raise it with the toolchain.
const HELD_TO: &str = "1.95";

/// Checks form; gives what could not be held to anything.
///
/// # Errors
/// Complaints.
pub fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    let version = process::capture(Command::new("rustc").arg("--version"))?;
    let is_held = is_release(&version, HELD_TO);
    if !is_held {
        left_out.push(format!(
            "this is {version}: complaints of rustfmt and clippy fail nothing, which they do with Rust {HELD_TO}"
        ));
    }
    let fmt: &[&str] = &["fmt", "--all", "--check"];
    let clippy: &[&str] = &["clippy", "--quiet", "--locked", "--workspace", "--all-targets"];
    let denied: &[&str] = if is_held { &["--", "-D", "warnings"] } else { &[] };
    for (component, words) in [("rustfmt", fmt.to_vec()), ("clippy", [clippy, denied].concat())] {
        if process::capture(workspace.cargo().args([words[0], "--version"])).is_err() {
            left_out.push(format!(
                "{component} is not installed and was left out (rustup component add {component})"
            ));
            continue;
        }
        match process::run(workspace.cargo().args(&words)) {
            Err(error) if !is_held => left_out.push(format!("{component}: {error}")),
            outcome => outcome?,
        }
    }
    for line in &left_out {
        progress::warn(line);
    }
    licences::check(workspace)?;
    profiles(workspace)?;
    left_out
        .push("SELinux's policy was compiled and not tried: there is no SELinux here".to_owned());
    Ok(left_out)
}

/// Whether AppArmor's profile and SELinux's policy compile.
fn profiles(workspace: &Workspace) -> Result<()> {
    let mut apparmor = Command::new("apparmor_parser");
    apparmor.args([
        "--skip-kernel-load",
        "--skip-cache",
        "--quiet",
        "outer-container/apparmor/cofferdam",
    ]);
    process::run(apparmor.current_dir(&workspace.root))?;
    let mut selinux = Command::new("secilc");
    selinux.args(["--output=/dev/null", "--filecontext=/dev/null"]);
    selinux.args(["tests/selinux/base.cil", "outer-container/selinux/cofferdam.cil"]);
    process::run(selinux.current_dir(&workspace.root))
}

/// Whether `rustc 1.95.0 (…)` is of release `1.95`.
fn is_release(version: &str, release: &str) -> bool {
    let number = version.split(' ').nth(1).unwrap_or_default();
    number.strip_prefix(release).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_told_from_others() {
        assert!(is_release("rustc 1.95.0 (59807616e 2026-04-14)", "1.95"));
        assert!(!is_release("rustc 1.95.0 (59807616e 2026-04-14)", "1.9"));
        assert!(!is_release("rustc 1.96.0-nightly", "1.95"));
    }
}
