//! The record as Markdown: a table for each group.

use super::figure::{figure, percent, times};
use super::surface::{WHAT, works};
use super::{groups, preamble, remark, rows};
use crate::record::Record;

/// The whole record.
pub fn markdown(record: &Record) -> String {
    let mut text = String::from("# What isolation costs\n\n");
    for line in preamble(record) {
        text.push_str(&format!("{}\n\n", escaped(&line)));
    }
    text.push_str("| layer | what it is |\n|---|---|\n");
    for layer in &record.layers {
        text.push_str(&format!("| {} | {} |\n", escaped(&layer.name), escaped(&layer.scope)));
    }
    for (group, workloads) in groups(record) {
        text.push_str(&format!(
            "\n## {}\n\n| workload | layer | median | ± | cost | |\n|---|---|---|---|---|---|\n",
            escaped(group)
        ));
        for place in workloads {
            let Some(workload) = record.workloads.get(place) else { continue };
            let name = format!("{}: {}", escaped(&workload.name), escaped(&workload.scope));
            for (number, row) in rows(record, place).into_iter().enumerate() {
                let name = if number == 0 { &name } else { "" };
                let layer = escaped(row.layer);
                text.push_str(&match &row.measured {
                    Err(why) => format!("| {name} | {layer} | failed | | | {} |\n", escaped(why)),
                    Ok(it) => format!(
                        "| {name} | {layer} | {} | {} | {} | {} |\n",
                        figure(it.summary.median, workload.unit),
                        percent(it.summary.uncertainty()),
                        it.cost.map(times).unwrap_or_default(),
                        escaped(&remark(it).unwrap_or_default()),
                    ),
                });
            }
        }
    }
    text.push_str(&surface(record));
    text
}

/// What of the host's kernel each layer reaches.
fn surface(record: &Record) -> String {
    let works = works(record);
    if works.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n## surface\n\n{WHAT}\n\n| work | layer | calls | different | most | exits of KVM | functions |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for (work, rows) in works {
        for (number, row) in rows.into_iter().enumerate() {
            let work = if number == 0 { escaped(work) } else { String::new() };
            let layer = escaped(row.layer);
            text.push_str(&match &row.figures {
                Err(why) => format!("| {work} | {layer} | failed | | {} | | |\n", escaped(why)),
                Ok(it) => format!(
                    "| {work} | {layer} | {} | {} | {} | {} | {} |\n",
                    it.calls,
                    it.different,
                    escaped(&it.most),
                    escaped(&it.exits()),
                    it.functions.as_deref().unwrap_or_default(),
                ),
            });
        }
    }
    text
}

/// Nothing in a record is Markdown.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if "\\`*_{}[]<>#|&".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
