//! Runs scripts that boot the reference host. It is an emulator, and may die under its work: it is
//! booted again, and that is said.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::digest::Inputs;
use crate::process::Note;
use crate::progress::Task;
use crate::workspace::Workspace;
use crate::{cache, process, progress};

const MENDING: &str = include_str!("../../tests/reference-host/emulator");
/// How its scripts end where the machine did not come up, or not back.
const DIED: i32 = 125;
/// How they end where it stood still until its time was over.
const STOOD_STILL: i32 = 124;
/// More machines than this do not die by chance, nor stand still.
const ATTEMPTS: u32 = 5;

/// Builds an emulator that does not stand still, where that was not done before: the installed QEMU's source, mended.
///
/// # Errors
/// Those of its script.
pub fn emulator(workspace: &Workspace) -> Result<PathBuf> {
    let installed = process::capture(Command::new("dpkg-query").args([
        "-W",
        "-f",
        "${Version}",
        "qemu-system-x86",
    ]))?;
    let digest = Inputs::default().text("QEMU", &installed).text("mending", MENDING).finish();
    let place = cache::entry(workspace, "emulator", &digest, |place| {
        let task = Task::begin("QEMU, mended, from Debian's source");
        let mut script = Command::new("bash");
        script.args(["-c", MENDING, "emulator"]).arg(place);
        process::narrated(&mut script, task, ninja_note)
    })?;
    Ok(place.join("qemu-system-x86_64"))
}

/// `[404/1455] Compiling …`
fn ninja_note(line: &str) -> Note {
    match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((how_far, _)) if how_far.contains('/') => Note::HowFar(how_far.to_owned()),
        _ => Note::Nothing,
    }
}

/// Runs what `command` gives and gives its stdout.
///
/// # Errors
/// Where it fails, or dies each time.
pub fn capture(command: impl Fn() -> Command) -> Result<String> {
    again_after(&[DIED], command)?.with_context(|| format!("it died {ATTEMPTS} times"))
}

/// The same for what only measures, in no more than `limit_s` seconds each time: there a machine that stands
/// still says nothing of what is measured, and where each one does, there is nothing: `None`.
///
/// # Errors
/// Where it fails.
pub fn count(limit_s: u32, command: impl Fn() -> Command) -> Result<Option<String>> {
    let limited = || {
        let mut command = command();
        command.env("LIMIT_S", limit_s.to_string());
        command
    };
    again_after(&[DIED, STOOD_STILL], limited)
}

fn again_after(ends: &[i32], command: impl Fn() -> Command) -> Result<Option<String>> {
    for _ in 0..ATTEMPTS {
        let mut command = command();
        let (status, stdout, stderr) = process::output(&mut command)?;
        if status.success() {
            return Ok(Some(stdout));
        }
        let words = process::shown(&command);
        let is_its_own = status.code().is_some_and(|code| ends.contains(&code));
        if !is_its_own {
            bail!("{words} failed: {status}\n{stdout}\n{}", stderr.trim_end());
        }
        progress::warn(&format!(
            "the reference host died or stood still ({status}): {}",
            last(&stderr)
        ));
    }
    Ok(None)
}

fn last(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that counts in a file how often it ran.
    fn script(file: &std::path::Path, body: &str) -> impl Fn() -> Command + use<> {
        let line = format!("echo >> {0}; runs=$(wc -l < {0}); {body}", file.display());
        move || {
            let mut command = Command::new("sh");
            command.args(["-c", &line]);
            command
        }
    }

    #[test]
    fn one_that_stands_still_is_booted_again_only_to_count() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name| folder.path().join(name);
        let body = "[ $runs = 2 ] && echo well || exit 124";
        assert_eq!(count(100, script(&place("counted"), body)).unwrap().as_deref(), Some("well"));
        assert_eq!(count(100, script(&place("never"), "exit 124")).unwrap(), None);
        assert!(capture(script(&place("tested"), body)).is_err());
    }

    #[test]
    fn counting_is_not_waited_for_as_long_as_a_test() {
        let folder = tempfile::tempdir().unwrap();
        let said = count(7, script(&folder.path().join("runs"), "echo $LIMIT_S")).unwrap();
        assert_eq!(said.as_deref(), Some("7"));
    }

    #[test]
    fn a_machine_that_dies_is_booted_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name| folder.path().join(name);
        let once = script(&place("once"), "[ $runs = 2 ] && echo well || exit 125");
        assert_eq!(capture(once).unwrap(), "well");
        assert!(capture(script(&place("always"), "exit 125")).is_err());
        assert_eq!(std::fs::read(place("always")).unwrap().len(), ATTEMPTS as usize);
        let failure = script(&place("failure"), "echo $runs; exit 1");
        assert!(capture(failure).unwrap_err().to_string().contains("\n1\n"));
    }
}
