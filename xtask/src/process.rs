//! Running other programs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::progress::Task;

/// Runs `command` with its output on stderr, for the person to read; stdout stays clean.
///
/// # Errors
/// Where it cannot be started or fails.
pub fn run(command: &mut Command) -> Result<()> {
    well(command.stdout(Stdio::from(std::io::stderr())))
}

/// Runs `command`, whose output is what was asked for: it goes to our stdout.
///
/// # Errors
/// Where it cannot be started or fails.
pub fn show(command: &mut Command) -> Result<()> {
    well(command)
}

fn well(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    ensure!(status.success(), "{} failed: {status}", shown(command));
    Ok(())
}

/// Runs `command` and gives its stdout, trimmed.
///
/// # Errors
/// Where it cannot be started, fails (with what it said on stderr), or does not speak UTF-8.
pub fn capture(command: &mut Command) -> Result<String> {
    let (status, stdout, stderr) = output(command)?;
    if !status.success() {
        bail!("{} failed: {status}\n{}", shown(command), stderr.trim_end());
    }
    Ok(stdout)
}

/// Runs `command` and gives how it ended, its stdout, trimmed, and its stderr.
///
/// # Errors
/// Where it cannot be started, or its stdout is not UTF-8.
pub fn output(command: &mut Command) -> Result<(ExitStatus, String, String)> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let text = String::from_utf8(output.stdout).context("not UTF-8")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status, text.trim_end().to_owned(), said))
}

/// Runs `command`, whose many words matter only where it fails: `note` makes of each line what the
/// task says of how far it is, and whether the line is kept to be shown at the end in any case.
///
/// # Errors
/// Where it cannot be started or fails, with all that it said.
pub fn narrated(
    command: &mut Command,
    task: Task,
    note: impl Fn(&str) -> Note + Send + Sync,
) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let out = child.stdout.take().context("it has no stdout")?;
    let err = child.stderr.take().context("it has no stderr")?;
    let (said, also_said) = thread::scope(|scope| {
        let (note, task) = (&note, &task);
        let reader = scope.spawn(move || read(out, task, note));
        let also_said = read(err, task, note);
        (reader.join().unwrap_or_default(), also_said)
    });
    let status = child.wait()?;
    let lines = said.into_iter().chain(also_said);
    if !status.success() {
        let all: Vec<String> = lines.map(|(line, _)| line).collect();
        bail!("{} failed: {status}\n{}", shown(command), all.join("\n"));
    }
    task.end();
    for (line, _) in lines.filter(|(_, is_kept)| *is_kept) {
        eprintln!("{line}");
    }
    Ok(())
}

/// What a line of a program's means.
pub enum Note {
    /// How far it is.
    HowFar(String),
    /// To be shown.
    Keep,
    /// Nothing, where all goes well.
    Nothing,
}

fn read(from: impl Read, task: &Task, note: &impl Fn(&str) -> Note) -> Vec<(String, bool)> {
    let mut said = Vec::new();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let is_kept = match note(&line) {
            Note::HowFar(words) => {
                task.note(&words);
                false
            }
            Note::Keep => true,
            Note::Nothing => false,
        };
        said.push((line, is_kept));
    }
    said
}

/// What cargo says while it builds: what it is at is how far it is; warnings are kept.
pub fn cargo_note(line: &str) -> Note {
    let words = line.trim_start();
    let is_status = line.starts_with("   ")
        && words.starts_with(|first: char| first.is_ascii_uppercase())
        && words.split(' ').next().is_some_and(|verb| verb.ends_with("ing") || verb == "Finished");
    match words.split_once(" (") {
        _ if words.is_empty() => Note::Nothing,
        _ if !is_status => Note::Keep,
        Some((before, _)) => Note::HowFar(before.to_owned()),
        None => Note::HowFar(words.to_owned()),
    }
}

/// The time of day, for results.
///
/// # Errors
/// Where there is no `date`.
pub fn now() -> Result<String> {
    capture(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]))
}

/// `command` as one could type it.
pub fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_cargo_says_only_warnings_are_kept() {
        let how_far = |line| match cargo_note(line) {
            Note::HowFar(words) => Some(words),
            _ => None,
        };
        let compiling = how_far("   Compiling serde v1.0.0 (/registry/serde)");
        assert_eq!(compiling.as_deref(), Some("Compiling serde v1.0.0"));
        assert!(how_far("    Finished `release` profile [optimized] target(s) in 1s").is_some());
        assert!(matches!(cargo_note("warning: unused variable: `x`"), Note::Keep));
        assert!(matches!(cargo_note("   |     ^ help: try this"), Note::Keep));
        assert!(matches!(cargo_note(""), Note::Nothing));
    }

    #[test]
    fn what_fails_says_all_that_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let error = narrated(&mut command, Task::begin("a task"), |_| Note::Nothing).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("one\ntwo"), "{text}");
    }
}
