//! `cofferdam bench`: the same work at each layer, and what that costs.
//!
//! ```text
//!   BenchArgs ─▶ BenchPlan ─▶ measure: a schedule of samples ─▶ Record ─▶ terminal, JSON, Markdown, HTML
//!                               │                                 ▲
//!                               ├─ start: a program begun anew    │ place: what machine this is
//!                               ├─ shell: one that stands at a layer
//!                               └─ surface: what is reached of the host's kernel
//! ```
//!
//! Owns: starting the work and reading its figures. Never does: statistics or reports, which the crate `bench` has.
//! This process is not walled in: it starts programs of others, and touches nothing that a guest wrote but text.

mod group;
mod layer;
mod measure;
mod patience;
mod place;
mod plan;
mod progress;
mod reading;
mod shell;
mod start;
mod suite;
mod surface;

use crate::cli::BenchArgs;
use crate::error::{Failure, chain, clean, report, shortened};
use ::bench::{Comparison, Record, Workload};
use patience::Patience;
use plan::BenchPlan;
use progress::Progress;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Where nobody says how wide it is.
const COLUMNS: usize = 100;

/// How it ended, for those who only look at the exit code.
enum Outcome {
    Measured,
    /// Something costs more than in the record it is compared with.
    Worse,
    /// Somebody ended it; what was measured until then is kept.
    Interrupted,
}

/// What a shell gives for a command that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// The whole command. It fails where anything costs more than in the record it is compared with.
pub fn main(args: &BenchArgs) -> ExitCode {
    match done(args) {
        Ok(Outcome::Measured) => ExitCode::SUCCESS,
        Ok(Outcome::Worse) => ExitCode::FAILURE,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(failure) => {
            report(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Measures and reports.
fn done(args: &BenchArgs) -> Result<Outcome, Failure> {
    let plan = BenchPlan::resolve(args)?;
    for engine in &plan.absent {
        crate::error::say(&format!("{engine} is not installed: it is left out"));
    }
    let machine = place::machine(args)?;
    if let Some(directory) = &plan.out {
        // Found out now, and not when all is measured.
        std::fs::create_dir_all(directory).map_err(|error| cannot_write(directory, error))?;
    }
    let patience = Patience::new().map_err(Failure::plain)?;
    let names = plan.layers.iter().map(|layer| layer.described().name).collect();
    let begun = place::now();
    let measured = measure::measure(&plan, &patience, &mut Progress::new(names));
    let workload = |item: &suite::Item| Workload {
        name: item.name.to_owned(),
        group: item.group.to_owned(),
        unit: item.unit,
        better: item.better,
        scope: item.scope.to_owned(),
    };
    let record = Record {
        version: Record::VERSION,
        begun,
        command: std::env::args_os().skip(1).map(|word| text(&word.to_string_lossy())).collect(),
        machine: ::bench::Machine {
            guest_kernel: measured.guest_kernel.unwrap_or_else(|| "not asked".to_owned()),
            ..machine
        },
        layers: plan.layers.iter().map(layer::Layer::described).collect(),
        workloads: plan.items.iter().map(workload).collect(),
        repeats: plan.repeats,
        warmups: plan.warmups,
        cells: measured.cells,
        surfaces: measured.surfaces,
        noise_ns: measured.noise_ns,
        ended: measured.ended,
    };
    if let Some(directory) = &plan.out {
        keep(&record, directory)?;
    }
    let columns = crate::host::terminal_size().map_or(COLUMNS, |size| usize::from(size.columns));
    let mut text = ::bench::report::terminal(&record, columns);
    let comparison = plan.old.as_ref().map(|old| (Comparison::of(old, &record), old));
    if let Some((comparison, old)) = &comparison {
        text.push_str(&format!("\nSINCE {}\n", old.begun));
        text.push_str(&::bench::report::changes(comparison, old, columns));
    }
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::plain)?;
    let is_worse = comparison.is_some_and(|(comparison, _)| comparison.is_worse());
    Ok(match record.ended {
        ::bench::Ended::Interrupted => Outcome::Interrupted,
        ::bench::Ended::Complete if is_worse => Outcome::Worse,
        ::bench::Ended::Complete => Outcome::Measured,
    })
}

/// What a record takes of what somebody typed.
const MAX_TEXT_BYTES: usize = 4000;
/// What is kept of the words of something that failed.
const MAX_FAILURE_BYTES: usize = 400;

/// A text as a record takes it: on one line, bounded, and not nothing.
fn text(words: &str) -> String {
    let text = shortened(&clean(words), MAX_TEXT_BYTES);
    if text.is_empty() { "\"\"".to_owned() } else { text }
}

/// What a failure says, as a record takes it.
fn words(error: &(dyn Error + 'static)) -> String {
    shortened(&text(&chain(error)), MAX_FAILURE_BYTES)
}

/// Writes the record and what is made of it, each whole or not at all.
fn keep(record: &Record, directory: &Path) -> Result<(), Failure> {
    let json = record.to_json().map_err(Failure::plain)?;
    let parts = [
        ("record.json", json),
        ("report.md", ::bench::report::markdown(record)),
        ("report.html", ::bench::report::html(record)),
    ];
    for (name, text) in parts {
        let (path, unfinished) = (directory.join(name), directory.join(format!(".{name}.part")));
        std::fs::write(&unfinished, text)
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .map_err(|error| {
                let _ = std::fs::remove_file(&unfinished);
                cannot_write(&path, error)
            })?;
    }
    Ok(())
}

fn cannot_write(path: &Path, error: std::io::Error) -> Failure {
    Failure::plain(error).with_context(format!("cannot write the reports to {}", path.display()))
}
