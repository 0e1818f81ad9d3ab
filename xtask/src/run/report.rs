//! What the demo's job said of the place it ran in: `fact` and `step` lines on its stdout.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process;

/// One run of the job.
pub struct JobReport {
    facts: BTreeMap<String, String>,
    /// Name, `worked` or `refused`, and the last thing it said.
    pub steps: Vec<(String, String, String)>,
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

    fn parse(text: &str) -> Self {
        let mut report = Self { facts: BTreeMap::new(), steps: Vec::new() };
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("fact"), Some(name), Some(value), _) => {
                    report.facts.insert(name.to_owned(), value.to_owned());
                }
                (Some("step"), Some(name), Some(verdict), detail) => report.steps.push((
                    name.to_owned(),
                    verdict.to_owned(),
                    detail.unwrap_or_default().to_owned(),
                )),
                _ => {}
            }
        }
        report
    }

    /// A fact, or a question mark.
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("?", String::as_str)
    }

    /// The names of the steps with this verdict.
    pub fn steps_that(&self, verdict: &str) -> Vec<&str> {
        let matching = self.steps.iter().filter(|(_, known, _)| known == verdict);
        matching.map(|(name, _, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_anything_else_are_left_out() {
        let report = JobReport::parse(
            "hello\nfact uid 1000\nstep mount refused no such luck\nstep build worked\nstep x\n",
        );
        assert_eq!(report.fact("uid"), "1000");
        assert_eq!(report.fact("kernel"), "?");
        assert_eq!(report.steps_that("refused"), ["mount"]);
        assert_eq!(report.steps_that("worked"), ["build"]);
        assert_eq!(report.steps[0].2, "no such luck");
    }
}
