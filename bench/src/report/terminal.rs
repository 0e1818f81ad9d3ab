//! The table on a terminal, as wide as that is, with a bar for each figure.

use super::figure::{figure, percent, times};
use super::surface::{WHAT, works};
use super::{groups, preamble, remark, rows};
use crate::comparison::{Comparison, Verdict};
use crate::record::{Better, Record};

/// A bar is not shorter than this, nor longer than [`BAR_MOST`]: else there is none.
const BAR_LEAST: usize = 8;
const BAR_MOST: usize = 40;
/// What is left of the bar: indent, layer, figure, uncertainty, cost, and what separates them.
const FIGURES: usize = 2 + 2 + 13 + 2 + 8 + 2 + 7 + 2;
/// Eighths of a character, from the left.
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// The whole record in so many columns.
pub fn terminal(record: &Record, columns: usize) -> String {
    let mut text = String::new();
    for line in preamble(record) {
        text.push_str(&wrapped(&line, columns));
    }
    let name = record.layers.iter().map(|layer| layer.name.chars().count()).max().unwrap_or(0);
    let bar = columns.saturating_sub(name + FIGURES).min(BAR_MOST);
    for (group, workloads) in groups(record) {
        text.push_str(&format!("\n{}\n", group.to_uppercase()));
        for place in workloads {
            let Some(workload) = record.workloads.get(place) else { continue };
            let good = if workload.better == Better::Less { "less" } else { "more" };
            text.push_str(&wrapped(
                &format!("{} ({good} is better): {}", workload.name, workload.scope),
                columns,
            ));
            for row in rows(record, place) {
                let layer = pad(row.layer, name);
                let line = match &row.measured {
                    Err(why) => format!("  {layer}  failed: {why}"),
                    Ok(it) => format!(
                        "  {layer}  {:>13}  {:>8}  {:>7}  {}",
                        figure(it.summary.median, workload.unit),
                        format!("± {}", percent(it.summary.uncertainty())),
                        it.cost.map(times).unwrap_or_default(),
                        drawn(it.share, bar),
                    ),
                };
                text.push_str(line.trim_end());
                text.push('\n');
                if let Some(remark) = row.measured.as_ref().ok().and_then(remark) {
                    text.push_str(&format!("  {}  {remark}\n", pad("", name)));
                }
            }
        }
    }
    text.push_str(&surface(record, columns, name));
    text
}

/// What of the host's kernel each layer reaches.
fn surface(record: &Record, columns: usize, name: usize) -> String {
    let works = works(record);
    if works.is_empty() {
        return String::new();
    }
    let mut text = format!("\nSURFACE\n{}", wrapped(WHAT, columns));
    for (work, rows) in works {
        text.push_str(&wrapped(work, columns));
        for row in rows {
            let layer = pad(row.layer, name);
            let figures = match &row.figures {
                Err(why) => {
                    text.push_str(&format!("  {layer}  failed: {why}\n"));
                    continue;
                }
                Ok(figures) => figures,
            };
            let calls = format!("{:>9} calls, {:>3} different", figures.calls, figures.different);
            text.push_str(&named(&format!("  {layer}  {calls}"), &figures.most, columns));
            if let Some((total, reasons)) = &figures.exits {
                let line = format!("  {}  {total:>9} exits of KVM", pad("", name));
                text.push_str(&named(&line, reasons, columns));
            }
            if let Some(count) = &figures.functions {
                text.push_str(&format!(
                    "  {}  {count:>9} functions of the kernel\n",
                    pad("", name)
                ));
            }
        }
    }
    text
}

/// A line, and what it consists of where there is room.
fn named(line: &str, parts: &str, columns: usize) -> String {
    let whole = format!("{line}: {parts}\n");
    if parts.is_empty() || whole.chars().count() > columns + 1 {
        format!("{line}\n")
    } else {
        whole
    }
}

/// What has changed, a line each: what is the same is only counted.
pub fn changes(comparison: &Comparison, old: &Record, columns: usize) -> String {
    let mut text = String::new();
    if comparison.other_machine {
        text.push_str(&wrapped(
            "The older record is of another machine, kernel or accelerator: differences may be theirs.",
            columns,
        ));
    }
    let unit = |name: &str| old.workloads.iter().find(|it| it.name == name).map(|it| it.unit);
    let mut same = 0;
    for change in &comparison.changes {
        let word = match change.verdict {
            Verdict::Regressed => "worse ",
            Verdict::Improved => "better",
            Verdict::Same => {
                same += 1;
                continue;
            }
        };
        let Some(unit) = unit(&change.workload) else { continue };
        text.push_str(&format!(
            "{word}  {} at {}: {} → {} ({}{})\n",
            change.workload,
            change.layer,
            figure(change.old.median, unit),
            figure(change.new.median, unit),
            if change.share() > 0.0 { "+" } else { "" },
            percent(change.share()),
        ));
    }
    for (workload, layer) in &comparison.missing {
        text.push_str(&format!("gone    {workload} at {layer}: it was measured then\n"));
    }
    text.push_str(&format!("{same} the same within noise and 5 %\n"));
    text
}

/// A bar of so much of a width, in eighths of a character.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Of a share of some forty columns.
fn drawn(share: f64, columns: usize) -> String {
    if columns < BAR_LEAST {
        return String::new();
    }
    let eighths = (share.clamp(0.0, 1.0) * (columns * 8) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if let Some(part) = EIGHTHS.get(eighths % 8).filter(|part| **part != ' ') {
        bar.push(*part);
    }
    // Whatever was measured is to be seen.
    if bar.is_empty() { "▏".into() } else { bar }
}

fn pad(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}

/// In lines of so many columns, broken between words.
fn wrapped(text: &str, columns: usize) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > columns {
            lines.push('\n');
            used = 0;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += length;
    }
    lines + "\n"
}
