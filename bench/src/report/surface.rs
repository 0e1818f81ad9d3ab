//! What a record says of the surface, as rows of texts: each report lays them out in its own way.

use super::figure::count;
use crate::record::Record;
use crate::surface::{Reached, Surface};
use std::collections::BTreeMap;

/// What the whole is, for those who see it first.
pub(super) const WHAT: &str = "What the host's kernel is asked for by all processes outside, those of engines and of \
     the VM too, for one unit of work: system calls, how many different ones, and KVM's exits; and how many of its functions \
     ran for all of it, a start included. What was not reached cannot be attacked from there.";

/// How many reasons of exits, or calls, are named.
const NAMED: usize = 3;

/// One layer's figures of a piece of work.
pub(super) struct SurfaceRow<'a> {
    /// The layer.
    pub layer: &'a str,
    /// The figures, or why there are none.
    pub figures: Result<Figures, &'a str>,
}

/// The figures, as texts.
pub(super) struct Figures {
    /// How many system calls.
    pub calls: String,
    /// How many different ones.
    pub different: String,
    /// Those that are made most.
    pub most: String,
    /// KVM's exits, and the commonest reasons; `None` where nobody could count them.
    pub exits: Option<(String, String)>,
    /// How many functions of the kernel; `None` where nobody could trace them.
    pub functions: Option<String>,
}

impl Figures {
    /// The exits as one text.
    pub fn exits(&self) -> String {
        match &self.exits {
            None => String::new(),
            Some((total, reasons)) if reasons.is_empty() => total.clone(),
            Some((total, reasons)) => format!("{total} ({reasons})"),
        }
    }
}

/// The pieces of work in the record's order, each with its rows.
pub(super) fn works(record: &Record) -> Vec<(&str, Vec<SurfaceRow<'_>>)> {
    let mut works: Vec<(&str, Vec<SurfaceRow<'_>>)> = Vec::new();
    for surface in &record.surfaces {
        let Some(layer) = record.layers.get(surface.layer) else { continue };
        let row = SurfaceRow { layer: &layer.name, figures: figures(surface) };
        match works.iter_mut().find(|(work, _)| *work == surface.work) {
            Some((_, rows)) => rows.push(row),
            None => works.push((&surface.work, vec![row])),
        }
    }
    works
}

fn figures(surface: &Surface) -> Result<Figures, &str> {
    let Some(Reached { calls, exits, functions }) = &surface.reached else {
        return Err(surface.failure.as_deref().unwrap_or("not counted"));
    };
    let exits = exits.as_ref().map(|exits| (count(Surface::total(exits)), most(exits)));
    Ok(Figures {
        calls: count(Surface::total(calls)),
        different: calls.len().to_string(),
        most: most(calls),
        exits,
        functions: functions.map(|it| it.to_string()),
    })
}

/// The commonest, with their figures.
fn most(counts: &BTreeMap<String, f64>) -> String {
    let mut sorted: Vec<(&String, f64)> = counts.iter().map(|(name, it)| (name, *it)).collect();
    sorted.sort_by(|one, other| other.1.total_cmp(&one.1));
    let named = sorted.into_iter().take(NAMED).map(|(name, it)| format!("{name} {}", count(it)));
    named.collect::<Vec<_>>().join(", ")
}
