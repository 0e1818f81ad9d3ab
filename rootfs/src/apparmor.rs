//! The profile of containers in the form that the guest kernel takes.
//!
//! Compiled for the features of the guest kernel, which stand beside the profile: apparmor_parser would
//! otherwise ask the kernel that it runs on. A test of the guest says when they are others.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The profile's source.
pub const SOURCE: &str = include_str!("../apparmor/cofferdam-default");
/// The guest kernel's features, as apparmor_parser keeps them.
const FEATURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/apparmor/features");
const PARSER: &str = "/usr/sbin/apparmor_parser";

/// Compiles a profile.
///
/// # Errors
/// Those of apparmor_parser.
pub fn compile(source: &str) -> Result<Vec<u8>> {
    let mut parser = Command::new(PARSER)
        .args(["--config-file", "/dev/null", "--features-file", FEATURES])
        .args(["--skip-kernel-load", "--skip-cache", "--Werror", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {PARSER}"))?;
    // Its own end is told by its status, whatever became of the pipe.
    let written = parser.stdin.take().map(|mut stdin| stdin.write_all(source.as_bytes()));
    let done = parser.wait_with_output().with_context(|| format!("cannot run {PARSER}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{PARSER} failed ({}): {said}", done.status);
    written.transpose().context("cannot tell apparmor_parser the profile")?;
    Ok(done.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_compiled_alike_each_time_and_holds_its_name() {
        let compiled = compile(SOURCE).unwrap();
        assert_eq!(compiled, compile(SOURCE).unwrap());
        let name = b"cofferdam-default\0";
        assert!(compiled.windows(name.len()).any(|window| window == name));
    }

    #[test]
    fn a_profile_that_is_none_is_told_of() {
        let error = compile("profile x {").unwrap_err().to_string();
        assert!(error.contains("syntax error"), "{error}");
    }
}
