//! A record for people: on a terminal, as Markdown, as a page that needs nothing beside it. All three say the same,
//! which is made here once: the lines about the whole, and a row for each workload at each layer.

mod figure;
mod html;
mod markdown;
mod surface;
mod terminal;

pub use html::html;
pub use markdown::markdown;
pub use terminal::{changes, terminal};

use crate::record::{Better, Ended, Record};
use crate::summary::Summary;
use figure::percent;

/// What a workload costs at one layer.
#[derive(Debug)]
struct Row<'a> {
    layer: &'a str,
    measured: Result<Measured, &'a str>,
}

#[derive(Debug)]
struct Measured {
    summary: Summary,
    samples: Vec<f64>,
    /// Cost as a multiple of the first layer's: above one is worse, whichever figures are good.
    cost: Option<f64>,
    /// The figure as a share of the greatest of this workload.
    share: f64,
    /// Why there are fewer samples than were asked for.
    cut_short: Option<String>,
}

/// One row for each layer, in the record's order; the base of the costs is the first layer's figure.
fn rows(record: &Record, workload: usize) -> Vec<Row<'_>> {
    let better = record.workloads.get(workload).map_or(Better::Less, |it| it.better);
    let base = record.summary(workload, 0).map(|summary| summary.median);
    let places = 0..record.layers.len();
    let medians = places.filter_map(|layer| Some(record.summary(workload, layer)?.median));
    let greatest = medians.fold(0.0, f64::max);
    record
        .layers
        .iter()
        .enumerate()
        .map(|(place, layer)| {
            let cell = record.cell(workload, place);
            let failure = cell.and_then(|cell| cell.failure.as_deref());
            let measured = match cell.and_then(|cell| Some((Summary::of(&cell.samples)?, cell))) {
                Some((summary, cell)) => Ok(Measured {
                    cost: base.and_then(|base| cost(summary.median, base, better)),
                    share: if greatest > 0.0 { summary.median / greatest } else { 0.0 },
                    samples: cell.samples.clone(),
                    cut_short: cell.failure.clone(),
                    summary,
                }),
                None => Err(failure.unwrap_or("not measured")),
            };
            Row { layer: &layer.name, measured }
        })
        .collect()
}

/// How many times the base's cost a figure is.
fn cost(median: f64, base: f64, better: Better) -> Option<f64> {
    let (above, below) = if better == Better::Less { (median, base) } else { (base, median) };
    (below > 0.0).then(|| above / below)
}

/// What the whole is to be read with, a sentence each; the first is the one nobody may miss.
fn preamble(record: &Record) -> Vec<String> {
    let machine = &record.machine;
    let mut lines = Vec::new();
    if machine.emulated {
        lines.push(format!(
            "This measures an emulator ({}): no figure below is one of hardware.",
            machine.accelerator
        ));
    }
    if record.ended == Ended::Interrupted {
        lines.push("It was interrupted: what is below was measured until then.".into());
    }
    lines.push(format!(
        "{}, {} processors, {} MiB, Linux {}; guest Linux {} on {}; {}.",
        machine.processor,
        machine.processors,
        machine.memory_mib,
        machine.kernel,
        machine.guest_kernel,
        machine.accelerator,
        record.begun,
    ));
    lines.push(format!(
        "Medians of {} samples after {} that are not kept, layers in turn; ± is half of the interval that holds \
         the true median with 95 % (6 samples or more).",
        record.repeats, record.warmups,
    ));
    lines.extend(noise(record));
    lines
}

/// What the machine did by itself meanwhile.
fn noise(record: &Record) -> Option<String> {
    let summary =
        Summary::of(record.noise_ns.get(..record.noise_ns.len().min(crate::MAX_SAMPLES))?)?;
    let greatest = record.noise_ns.iter().copied().fold(0.0, f64::max);
    let worst = if summary.median > 0.0 { greatest / summary.median - 1.0 } else { 0.0 };
    Some(format!(
        "Noise: a fixed piece of work on the host took {} more than its median at worst ({} times); smaller \
         differences than that say little.",
        percent(worst),
        summary.count,
    ))
}

/// The workloads by group, groups and workloads in the record's order.
fn groups(record: &Record) -> Vec<(&str, Vec<usize>)> {
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    for (place, workload) in record.workloads.iter().enumerate() {
        match groups.iter_mut().find(|(name, _)| *name == workload.group) {
            Some((_, places)) => places.push(place),
            None => groups.push((&workload.group, vec![place])),
        }
    }
    groups
}

/// What a row has to say besides its figures.
fn remark(measured: &Measured) -> Option<String> {
    let outliers = measured.summary.outliers;
    let mut remarks = Vec::new();
    let named = [(outliers.mild, "mild"), (outliers.severe, "severe")];
    for (count, kind) in named.into_iter().filter(|(count, _)| *count > 0) {
        remarks.push(format!("{count} {kind} outlier{}", if count == 1 { "" } else { "s" }));
    }
    if let Some(reason) = &measured.cut_short {
        remarks.push(format!("after {} samples: {reason}", measured.summary.count));
    }
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

#[cfg(test)]
mod tests;
