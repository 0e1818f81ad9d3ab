//! The four layers, as a table.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::report::{JobReport, STEPS, Verdict};
use super::seconds;

/// One layer, as the table shows it.
pub struct Layer {
    name: &'static str,
    cells: [String; 6],
}

/// Beneath the table.
pub const WHAT_TOOK_MEANS: &str = "\
took  host: all of this but building     outer container: what the engine adds
      microVM: to its agent's first word  container: from its making to the job's end
The microVM's line is its first program's, the agent, which is as the kernel starts it.";

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
    pub fn host(kernel: &str, took: Duration) -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let uid = rustix::process::geteuid().as_raw().to_string();
        let cells = [kernel.to_owned(), uid, field("CapEff:"), seccomp(&field("Seccomp:"))];
        Ok(Self::new("host", cells, String::new(), took))
    }

    /// The unprivileged container the launcher runs in.
    pub fn outer(job: &JobReport, took: Duration, timings: &Timings) -> Self {
        let took = took.saturating_sub(timings.total);
        Self::new("  outer container", facts(job), marks(job), took)
    }

    /// The microVM. Its first program is the agent, as the kernel starts it; nothing else is asked of it.
    pub fn microvm(job: &JobReport, timings: &Timings) -> Self {
        let cells = [job.fact("kernel").to_owned(), "0".into(), "all".into(), seccomp("0")];
        Self::new("    microVM", cells, String::new(), timings.boot)
    }

    /// The privileged container in it.
    pub fn inner(job: &JobReport, timings: &Timings) -> Self {
        Self::new("      container", facts(job), marks(job), timings.container)
    }

    fn new(name: &'static str, facts: [String; 4], marks: String, took: Duration) -> Self {
        let [kernel, uid, capabilities, seccomp] = facts;
        Self { name, cells: [kernel, uid, capabilities, seccomp, marks, seconds(took)] }
    }
}

fn facts(job: &JobReport) -> [String; 4] {
    let fact = |name| job.fact(name).to_owned();
    [fact("kernel"), fact("uid"), fact("capabilities"), seccomp(job.fact("seccomp"))]
}

/// A mark for each step, in order.
fn marks(job: &JobReport) -> String {
    let marks = STEPS.map(|step| match job.verdicts(step).next() {
        Some(Verdict::Worked) => "✓",
        Some(Verdict::Failed(_)) => "✗",
        None => "?",
    });
    marks.join(" ")
}

/// The kernel's number for it, in words.
fn seccomp(mode: &str) -> String {
    match mode {
        "0" => "none".to_owned(),
        "2" => "filter".to_owned(),
        other => other.to_owned(),
    }
}

/// Columns as wide as they must be, and what the marks mean.
pub fn table(layers: &[Layer]) -> String {
    const HEAD: [&str; 7] = ["layer", "kernel", "uid", "capabilities", "seccomp", "1 2 3", "took"];
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
    let steps = STEPS.iter().enumerate().map(|(index, step)| format!("{} {step}", index + 1));
    let legend = format!("{}   ✓ worked  ✗ refused", steps.collect::<Vec<_>>().join("  "));
    lines.chain([String::new(), legend]).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_is_too_wide() {
        let job = JobReport::parse(
            "fact kernel 6.12.117-1-amd64-cloud\nfact uid 1000\nfact capabilities 000001ffffffffff\n\
             fact seccomp 2\nstep loop-mount worked\nstep package-in-chroot failed\n",
        );
        let short = JobReport::parse("fact kernel 6\nfact seccomp 2\n");
        let timings =
            r#"{"total_ms": 900, "stages_ms": {"boot": 300, "container": 50, "process": 250}}"#;
        let timings = Timings::parse(timings).unwrap();
        let took = Duration::from_millis(1500);
        let text = table(&[Layer::outer(&job, took, &timings), Layer::inner(&short, &timings)]);
        let text = format!("{text}\n{WHAT_TOOK_MEANS}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let at = |line: usize| text.lines().nth(line).unwrap().find("filter");
        assert_eq!(at(1), at(2));
        assert!(text.contains("✓ ? ✗  0.60 s"), "{text}");
        assert!(text.contains("? ? ?  0.30 s"), "{text}");
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
