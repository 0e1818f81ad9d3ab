//! The four layers, as a table.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::report::JobReport;
use super::seconds;

/// One layer, as the table shows it.
pub struct Layer {
    name: &'static str,
    cells: [String; 7],
}

/// Beneath the table.
pub const WHAT_TOOK_MEANS: &str = "took: host, all of the demo but building; outer container, what the engine \
adds; microVM, from its\nstart to its agent's first word; container, from its making to the end of its job. The \
microVM's line is\nits agent's, the first program, which is as the kernel starts it.";

/// What the launcher measured of itself.
pub struct Timings {
    total: Duration,
    boot: Duration,
    container: Duration,
}

impl Timings {
    /// Reads the launcher's `--timings` document.
    pub fn parse(text: &str) -> Result<Self> {
        let document: Value = serde_json::from_str(text)?;
        let at = |pointer: &str| {
            let milliseconds = document.pointer(pointer).and_then(Value::as_f64);
            milliseconds
                .map(|value| Duration::from_secs_f64(value.max(0.0) / 1000.0))
                .with_context(|| format!("{pointer} is not there"))
        };
        Ok(Self {
            total: at("/total_ms")?,
            boot: at("/stages_ms/boot")?,
            container: at("/stages_ms/container")? + at("/stages_ms/process")?,
        })
    }
}

impl Layer {
    /// This machine.
    pub fn host(took: Duration) -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
        let uid = rustix::process::geteuid().as_raw().to_string();
        let cells = [kernel, uid, field("CapEff:"), seccomp(&field("Seccomp:"))];
        Ok(Self::new("host", cells, ["—", "—"], took))
    }

    /// The unprivileged container the launcher runs in.
    pub fn outer(job: &JobReport, took: Duration, timings: &Timings) -> Self {
        let outcome = outcome(job);
        let outcome = [outcome[0].as_str(), outcome[1].as_str()];
        Self::new("  outer container", facts(job), outcome, took.saturating_sub(timings.total))
    }

    /// The microVM. Its first program is the agent, as the kernel starts it; nothing else is asked of it.
    pub fn microvm(job: &JobReport, timings: &Timings) -> Self {
        let cells = [job.fact("kernel").to_owned(), "0".into(), "all (agent)".into(), seccomp("0")];
        Self::new("    microVM", cells, ["—", "—"], timings.boot)
    }

    /// The privileged container in it.
    pub fn inner(job: &JobReport, timings: &Timings) -> Self {
        let outcome = outcome(job);
        let outcome = [outcome[0].as_str(), outcome[1].as_str()];
        Self::new("      container", facts(job), outcome, timings.container)
    }

    fn new(name: &'static str, facts: [String; 4], outcome: [&str; 2], took: Duration) -> Self {
        let [kernel, uid, capabilities, seccomp] = facts;
        let [refused, worked] = outcome.map(str::to_owned);
        let cells = [kernel, uid, capabilities, seccomp, refused, worked, seconds(took)];
        Self { name, cells }
    }
}

fn facts(job: &JobReport) -> [String; 4] {
    let fact = |name| job.fact(name).to_owned();
    [fact("kernel"), fact("uid"), fact("capabilities"), seccomp(job.fact("seccomp"))]
}

/// What was refused, and what worked.
fn outcome(job: &JobReport) -> [String; 2] {
    ["refused", "worked"].map(|verdict| match job.steps_that(verdict) {
        steps if steps.is_empty() => "—".to_owned(),
        steps => steps.join(", "),
    })
}

/// The kernel's number for it, in words.
fn seccomp(mode: &str) -> String {
    match mode {
        "0" => "none".to_owned(),
        "2" => "filter".to_owned(),
        other => other.to_owned(),
    }
}

/// Columns as wide as they must be.
pub fn table(layers: &[Layer]) -> String {
    const HEAD: [&str; 8] =
        ["layer", "kernel", "uid", "capabilities", "seccomp", "refused", "worked", "took"];
    let rows: Vec<Vec<&str>> = std::iter::once(HEAD.to_vec())
        .chain(layers.iter().map(|layer| {
            std::iter::once(layer.name).chain(layer.cells.iter().map(String::as_str)).collect()
        }))
        .collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let lines = rows.iter().map(|row| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            format!("{cell:<width$}", width = width(column).unwrap_or_default())
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let took = Duration::from_millis(1500);
        let row = |kernel: &str| {
            let facts = [kernel.to_owned(), "0".into(), "0".into(), seccomp("2")];
            Layer::new("layer", facts, ["—", "mount"], took)
        };
        let text = table(&[row("6.12.117"), row("6")]);
        let at = |line: usize| {
            let line = text.lines().nth(line).unwrap();
            line.chars().collect::<String>().find("filter")
        };
        assert_eq!(at(1), at(2));
        assert!(text.ends_with("1.50 s"), "{text}");
    }

    #[test]
    fn the_launchers_document_is_read() {
        let timings = Timings::parse(
            r#"{"total_ms": 900, "stages_ms": {"boot": 300, "container": 50, "process": 250}}"#,
        );
        let timings = timings.unwrap();
        assert_eq!(timings.container, Duration::from_millis(300));
        assert_eq!(timings.boot, Duration::from_millis(300));
        assert!(Timings::parse("{}").is_err());
    }
}
