//! One sample after the other, in the order of the schedule. What fails at one layer fails there alone.

use super::layer::Layer;
use super::patience::{Cut, Patience};
use super::plan::BenchPlan;
use super::progress::Progress;
use super::shell::{self, Answer, Shell, ShellError};
use super::start::{StartError, timed};
use super::suite::{How, Item};
use super::{surface, text, words};
use ::bench::{Cell, Ended, Schedule, Step, Surface};
use std::time::{Duration, Instant};

/// A sample that takes longer is none: each is meant to take about a second.
const SAMPLE: Duration = Duration::from_secs(120);

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// One for each workload at each layer that was tried.
    pub cells: Vec<Cell>,
    /// What of the host's kernel was reached, where that was to be counted.
    pub surfaces: Vec<Surface>,
    /// How long the same piece of work took between them.
    pub noise_ns: Vec<f64>,
    /// Whether all was tried.
    pub ended: Ended,
    /// What the deepest layer says its kernel is.
    pub guest_kernel: Option<String>,
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
enum SampleError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Shell(#[from] ShellError),
    #[error("exit status {0}: {1}")]
    Status(u8, String),
    #[error(transparent)]
    Reading(#[from] super::reading::ReadingError),
}

impl SampleError {
    fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Start(StartError::Cut(Cut::Interrupted))
                | Self::Shell(ShellError::Cut(Cut::Interrupted))
        )
    }
}

/// A bench at work.
struct Bench<'a> {
    plan: &'a BenchPlan,
    patience: &'a Patience,
    shells: Vec<Option<Shell>>,
    /// The exits of the programs whose first output was timed in this round, by layer.
    exits: Vec<Option<f64>>,
}

/// Measures all of it, or as much as there is until somebody ends it.
pub fn measure(plan: &BenchPlan, patience: &Patience, progress: &mut Progress) -> Measured {
    let shells = plan.layers.iter().map(|_| None).collect();
    let mut bench = Bench { plan, patience, shells, exits: vec![None; plan.layers.len()] };
    let schedule = Schedule {
        workloads: plan.items.len(),
        layers: plan.layers.len(),
        warmups: plan.warmups,
        repeats: plan.repeats,
    };
    let mut measured = Measured {
        cells: Vec::new(),
        surfaces: Vec::new(),
        noise_ns: Vec::new(),
        ended: Ended::Complete,
        guest_kernel: None,
    };
    for step in schedule.steps() {
        let Some(item) = plan.items.get(step.workload) else { continue };
        let cell = cell(&mut measured.cells, step);
        if cell.failure.is_some() {
            continue;
        }
        progress.step(item.name, step, schedule);
        match bench.sample(item, step.layer) {
            Ok(figure) if schedule.keeps(step) => cell.samples.push(figure),
            Ok(_) => {}
            Err(error) if error.is_interruption() => {
                measured.ended = Ended::Interrupted;
                break;
            }
            Err(error) => cell.failure = Some(words(&error)),
        }
        if step.layer == 0 {
            measured.noise_ns.push(noise());
        }
    }
    if measured.ended == Ended::Complete {
        measured.guest_kernel = bench.guest_kernel();
    }
    // What stands idle beside it would take time from it.
    drop(bench);
    if measured.ended == Ended::Complete && !plan.works.is_empty() {
        let tell = |work: &str, layer| progress.counting(work, layer);
        let (surfaces, interrupted) = surface::measure(&plan.works, &plan.layers, patience, tell);
        measured.surfaces = surfaces;
        measured.ended = if interrupted { Ended::Interrupted } else { Ended::Complete };
    }
    progress.end();
    plan.layers.iter().for_each(Layer::tidy);
    measured
}

impl Bench<'_> {
    fn sample(&mut self, item: &Item, layer: usize) -> Result<f64, SampleError> {
        let Some(place) = self.plan.layers.get(layer) else {
            return Err(ShellError::Ended.into());
        };
        match item.how {
            How::Exit => match self.exits.get_mut(layer).and_then(Option::take) {
                Some(exit) => Ok(exit),
                None => Ok(self.start(place)?.exit.as_secs_f64()),
            },
            How::FirstOutput => {
                let started = self.start(place)?;
                if let Some(exit) = self.exits.get_mut(layer) {
                    *exit = Some(started.exit.as_secs_f64());
                }
                Ok(started.first_output.as_secs_f64())
            }
            How::Script(script, reading) => {
                let answer = self.ask(layer, script)?;
                if answer.status != 0 {
                    return Err(SampleError::Status(answer.status, text(answer.output.trim())));
                }
                Ok(reading.of(&answer.output)?)
            }
        }
    }

    fn start(&self, layer: &Layer) -> Result<super::start::Started, StartError> {
        timed(layer.command(&["echo", "x"])?, SAMPLE, self.patience)
    }

    /// Asks a layer's shell, which is started where there is none.
    fn ask(&mut self, layer: usize, script: &str) -> Result<Answer, ShellError> {
        let (Some(slot), Some(place)) = (self.shells.get_mut(layer), self.plan.layers.get(layer))
        else {
            return Err(ShellError::Ended);
        };
        let mut shell = match slot.take() {
            Some(shell) => shell,
            None => Shell::start(place.command(&shell::WORDS)?)?,
        };
        let answer = shell.ask(script, SAMPLE, self.patience)?;
        // One that gave no answer is not asked again: the next script gets another.
        *slot = Some(shell);
        Ok(answer)
    }

    fn guest_kernel(&mut self) -> Option<String> {
        let is_guest = |layer: &Layer| matches!(layer, Layer::Vm { .. } | Layer::Nested { .. });
        let layer = self.plan.layers.iter().position(is_guest)?;
        let answer = self.ask(layer, "uname -r").ok()?;
        Some(text(answer.output.trim()))
    }
}

/// The cell of a step, made where there is none.
fn cell(cells: &mut Vec<Cell>, step: Step) -> &mut Cell {
    let (workload, layer) = (step.workload, step.layer);
    let place = cells.iter().position(|cell| (cell.workload, cell.layer) == (workload, layer));
    let place = place.unwrap_or_else(|| {
        cells.push(Cell { workload, layer, samples: Vec::new(), failure: None });
        cells.len() - 1
    });
    &mut cells[place]
}

/// How long one piece of work takes this process now, in nanoseconds: it makes no system call and touches no memory.
fn noise() -> f64 {
    const ROUNDS: u64 = 2_000_000;
    let begun = Instant::now();
    let sum =
        (0..ROUNDS).fold(1u64, |sum, round| sum.wrapping_mul(6_364_136_223_846_793_005) ^ round);
    std::hint::black_box(sum);
    begun.elapsed().as_secs_f64() * 1e9
}
