//! The record of a bench: plain data, written as JSON and read again, perhaps years later and from a stranger. What is
//! read is checked before anything relies on it.

use crate::summary::{MAX_SAMPLES, Summary};
use crate::surface::{Reached, Surface};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format of the record.
const VERSION: u32 = 1;
/// A record that is longer is not read.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
/// More layers than this are in no record.
const MAX_LAYERS: usize = 32;
/// More workloads than this are in no record.
const MAX_WORKLOADS: usize = 512;
/// More pieces of work at one layer than this reach nothing that is in a record.
const MAX_WORKS: usize = 64;
/// More system calls or reasons of exits than this are in no record.
const MAX_NAMES: usize = 1024;
/// The longest name or sentence in a record.
const MAX_TEXT_BYTES: usize = 4096;

/// All that one bench measured, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The format: 1.
    pub version: u32,
    /// When it began, as RFC 3339.
    pub begun: String,
    /// The arguments that measure it again.
    pub command: Vec<String>,
    /// What it was measured on.
    pub machine: Machine,
    /// What was measured at, the base of all comparisons first.
    pub layers: Vec<Layer>,
    /// What was measured.
    pub workloads: Vec<Workload>,
    /// How many samples were asked for, of each workload at each layer.
    pub repeats: usize,
    /// How many came before them and were not kept.
    pub warmups: usize,
    /// The samples, at most one entry of a workload at a layer.
    pub cells: Vec<Cell>,
    /// What of the host's kernel was reached, where that was counted.
    pub surfaces: Vec<Surface>,
    /// How long one fixed piece of work took between the others, in nanoseconds: what a machine does by itself.
    pub noise_ns: Vec<f64>,
    /// Whether all of it was measured.
    pub ended: Ended,
}

/// What was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's name for itself.
    pub processor: String,
    /// How many processors the launcher may use.
    pub processors: u32,
    /// How much memory there is, MiB.
    pub memory_mib: u64,
    /// The host kernel's release.
    pub kernel: String,
    /// The guest kernel's release.
    pub guest_kernel: String,
    /// What runs the guest's instructions: `kvm`, `tcg`.
    pub accelerator: String,
    /// Whether an emulator runs them, here or below: then costs are the emulator's.
    pub emulated: bool,
}

/// A place where workloads run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Its short name: `host`, `nested`, a peer's.
    pub name: String,
    /// What it is, in a few words.
    pub scope: String,
}

/// A piece of work, the same at every layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// What it belongs to: `start`, `processor`, `kernel`, `memory`, `files`, `network`.
    pub group: String,
    /// What its figure counts.
    pub unit: Unit,
    /// Which figures are good.
    pub better: Better,
    /// What the figure is of: program, data, what was warm.
    pub scope: String,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Time, in seconds.
    Seconds,
    /// Data moved, in bytes a second.
    BytesPerSecond,
    /// Anything done, a second.
    PerSecond,
}

/// Which figures are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Small ones.
    Less,
    /// Great ones.
    More,
}

/// One workload at one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The workload, by its place in the record.
    pub workload: usize,
    /// The layer, by its place in the record.
    pub layer: usize,
    /// Its figures, in the order they were measured.
    pub samples: Vec<f64>,
    /// Why there are not as many as were asked for.
    pub failure: Option<String>,
}

/// How a bench ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Everything was tried.
    Complete,
    /// Somebody ended it before.
    Interrupted,
}

/// Why a text is no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is too long.
    #[error("a record has at most {MAX_RECORD_BYTES} bytes, this one {0}")]
    Length(usize),
    /// It is no JSON, or other data.
    #[error("it is no record of a bench")]
    Json(#[source] serde_json::Error),
    /// It is of another version.
    #[error("its format is {0}, this program knows {VERSION}")]
    Version(u32),
    /// More of something than anybody measures.
    #[error("it has {count} {what}, at most {limit} are read")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are read.
        limit: usize,
    },
    /// A name or sentence that no bench writes.
    #[error("the text {0:?} is empty, too long, or holds control characters")]
    Text(String),
    /// A cell of nothing in the record, or one of two.
    #[error("the entry of workload {workload} at layer {layer} is of neither, or one of two")]
    Cell {
        /// The workload it names.
        workload: usize,
        /// The layer it names.
        layer: usize,
    },
    /// Two things of one name, which nobody could tell apart.
    #[error("two {what} are called {name:?}")]
    Twice {
        /// Layers or workloads.
        what: &'static str,
        /// Their name.
        name: String,
    },
    /// What a layer reaches that is not in the record.
    #[error("what is reached at layer {0} is of no layer")]
    Surface(usize),
    /// A figure that nothing has.
    #[error("{0} is no figure of anything")]
    Figure(f64),
}

impl Record {
    /// The version that is written.
    pub const VERSION: u32 = VERSION;

    /// Reads one.
    ///
    /// # Errors
    /// Where it is none, or one that does not hold together.
    pub fn read(text: &[u8]) -> Result<Self, RecordError> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Any {
            version: u32,
        }
        if text.len() > MAX_RECORD_BYTES {
            return Err(RecordError::Length(text.len()));
        }
        let any: Any = serde_json::from_slice(text).map_err(RecordError::Json)?;
        if any.version != VERSION {
            return Err(RecordError::Version(any.version));
        }
        let record: Self = serde_json::from_slice(text).map_err(RecordError::Json)?;
        record.check()?;
        Ok(record)
    }

    /// As JSON, for people and programs.
    ///
    /// # Errors
    /// Never, as long as its keys are texts.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// What was measured of a workload at a layer.
    pub fn cell(&self, workload: usize, layer: usize) -> Option<&Cell> {
        self.cells.iter().find(|cell| (cell.workload, cell.layer) == (workload, layer))
    }

    /// The same, summed up.
    pub fn summary(&self, workload: usize, layer: usize) -> Option<Summary> {
        Summary::of(&self.cell(workload, layer)?.samples)
    }

    fn check(&self) -> Result<(), RecordError> {
        within("layers", self.layers.len(), MAX_LAYERS)?;
        within("workloads", self.workloads.len(), MAX_WORKLOADS)?;
        within("entries", self.cells.len(), MAX_LAYERS * MAX_WORKLOADS)?;
        within("arguments", self.command.len(), MAX_TEXT_BYTES)?;
        within("figures of noise", self.noise_ns.len(), MAX_RECORD_BYTES)?;
        self.texts().try_for_each(|text| check_text(text))?;
        no_two("layers", self.layers.iter().map(|layer| &layer.name))?;
        no_two("workloads", self.workloads.iter().map(|workload| &workload.name))?;
        let mut seen = BTreeSet::new();
        for cell in &self.cells {
            let (workload, layer) = (cell.workload, cell.layer);
            let known = workload < self.workloads.len() && layer < self.layers.len();
            if !known || !seen.insert((workload, layer)) {
                return Err(RecordError::Cell { workload, layer });
            }
            within("samples", cell.samples.len(), MAX_SAMPLES)?;
        }
        self.check_surfaces()?;
        let reached = self
            .reached()
            .flat_map(|it| it.calls.values().chain(it.exits.iter().flat_map(BTreeMap::values)));
        let samples = self.cells.iter().flat_map(|cell| &cell.samples);
        let figures = samples.chain(&self.noise_ns).chain(reached);
        match figures.copied().find(|figure| !(0.0..1e18).contains(figure)) {
            Some(figure) => Err(RecordError::Figure(figure)),
            None => Ok(()),
        }
    }

    fn check_surfaces(&self) -> Result<(), RecordError> {
        within("pieces of work", self.surfaces.len(), MAX_LAYERS * MAX_WORKS)?;
        let stranger = self.surfaces.iter().find(|it| it.layer >= self.layers.len());
        if let Some(surface) = stranger {
            return Err(RecordError::Surface(surface.layer));
        }
        for reached in self.reached() {
            within("system calls", reached.calls.len(), MAX_NAMES)?;
            within("reasons", reached.exits.as_ref().map_or(0, BTreeMap::len), MAX_NAMES)?;
        }
        Ok(())
    }

    fn reached(&self) -> impl Iterator<Item = &Reached> {
        self.surfaces.iter().filter_map(|surface| surface.reached.as_ref())
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let Machine { processor, kernel, guest_kernel, accelerator, .. } = &self.machine;
        let machine = [processor, kernel, guest_kernel, accelerator, &self.begun];
        let layers = self.layers.iter().flat_map(|layer| [&layer.name, &layer.scope]);
        let workloads = self.workloads.iter().flat_map(|it| [&it.name, &it.group, &it.scope]);
        let failures = self.cells.iter().filter_map(|cell| cell.failure.as_ref());
        let works =
            self.surfaces.iter().flat_map(|it| [Some(&it.work), it.failure.as_ref()]).flatten();
        let reached = self
            .reached()
            .flat_map(|it| it.calls.keys().chain(it.exits.iter().flat_map(BTreeMap::keys)));
        let measured = layers.chain(workloads).chain(failures).chain(works).chain(reached);
        machine.into_iter().chain(measured).chain(&self.command)
    }
}

/// A text that a terminal and a page may be given.
fn check_text(text: &str) -> Result<(), RecordError> {
    let sound = (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.contains(char::is_control);
    if sound { Ok(()) } else { Err(RecordError::Text(text.chars().take(64).collect())) }
}

fn within(what: &'static str, count: usize, limit: usize) -> Result<(), RecordError> {
    if count <= limit { Ok(()) } else { Err(RecordError::Count { what, count, limit }) }
}

fn no_two<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), RecordError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(RecordError::Twice { what, name: name.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
