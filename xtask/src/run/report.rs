//! What the demo's job said of the place it ran in: `fact` and `step` lines on its stdout.

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process;

/// What the job tries, in order.
pub const STEPS: [&str; 3] = ["loop-mount", "bridge-veth-nftables", "package-in-chroot"];

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was done.
    Worked,
    /// It was not, with the first thing that was said of it.
    Failed(String),
}

/// One run of the job.
pub struct JobReport {
    facts: BTreeMap<String, String>,
    steps: Vec<(String, Verdict)>,
}

impl JobReport {
    /// Runs `command`, which runs the job, with its stderr for the person to read.
    pub fn of(command: &mut Command) -> Result<Self> {
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start {}", process::shown(command)))?;
        ensure!(output.status.success(), "{} failed: {}", process::shown(command), output.status);
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Reads what it said.
    pub fn parse(text: &str) -> Self {
        let mut report = Self { facts: BTreeMap::new(), steps: Vec::new() };
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("fact"), Some(name), Some(value), _) => {
                    report.facts.insert(name.to_owned(), value.to_owned());
                }
                (Some("step"), Some(name), Some("worked"), _) => {
                    report.steps.push((name.to_owned(), Verdict::Worked));
                }
                (Some("step"), Some(name), Some("failed"), detail) => {
                    let detail = detail.unwrap_or_default().to_owned();
                    report.steps.push((name.to_owned(), Verdict::Failed(detail)));
                }
                _ => {}
            }
        }
        report
    }

    /// A fact, or a question mark.
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("?", String::as_str)
    }

    /// How a step ended, each time that it was tried.
    pub fn verdicts(&self, name: &str) -> impl Iterator<Item = &Verdict> {
        self.steps.iter().filter(move |(known, _)| known == name).map(|(_, verdict)| verdict)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worked => f.write_str("worked"),
            Self::Failed(words) => write!(f, "failed: {words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_anything_else_are_left_out() {
        let report = JobReport::parse(
            "hello\nfact uid 1000\nstep mount failed no such luck\nstep build worked\nstep x\n",
        );
        assert_eq!(report.fact("uid"), "1000");
        assert_eq!(report.fact("kernel"), "?");
        let verdicts = |name| report.verdicts(name).collect::<Vec<_>>();
        assert_eq!(verdicts("mount"), [&Verdict::Failed("no such luck".into())]);
        assert_eq!(verdicts("build"), [&Verdict::Worked]);
        assert!(verdicts("x").is_empty());
    }
}
