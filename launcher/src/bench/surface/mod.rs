//! What each layer reaches of the host's kernel for one unit of work: its system calls by strace, and where this user may
//! trace the kernel, KVM's exits and the functions that ran.
//!
//! A unit's share is what many of them add to a run that does none: so a start's calls are counted once, as a start's.

mod account;
mod strace;
mod tracefs;

use super::layer::Layer;
use super::patience::{Cut, Patience};
use super::start::StartError;
use crate::error::{chain, clean, shortened};
use ::bench::{Counts, Reached, Surface, per_unit};
use std::error::Error;
use std::time::Duration;
use tracefs::Tracing;

/// A run that takes longer is not counted: each call of a traced process waits for its tracer.
const WITHIN: Duration = Duration::from_secs(300);
/// So many units show which functions run for one.
const UNITS_OF_FUNCTIONS: u32 = 10;
/// What is kept of the words of something that failed.
const MAX_FAILURE_BYTES: usize = 400;

/// A piece of work.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// What one unit is.
    pub unit: &'static str,
    /// A script that does `$n` of them.
    script: &'static str,
    /// How many are done at once.
    units: u32,
}

/// A start, which is what is left of all others where they do nothing.
const START: Work =
    Work { unit: "a start: sh -c true, from exec to exit", script: "true", units: 1 };

/// All pieces of work.
pub const WORKS: [Work; 6] = [
    START,
    Work {
        unit: "two system calls: dd reads one byte and writes it",
        script: "dd if=/dev/zero of=/dev/null bs=1 count=$n 2>/dev/null",
        units: 2000,
    },
    Work {
        unit: "a process: a shell starts /bin/true and waits for it",
        script: "i=0; while [ $i -lt $n ]; do /bin/true; i=$((i + 1)); done",
        units: 100,
    },
    Work {
        unit: "1 MiB of output, read by the shell that started it all",
        script: "dd if=/dev/zero bs=65536 count=$((n * 16)) 2>/dev/null",
        units: 20,
    },
    Work {
        unit: "1 MiB written to a file, and at the end flushed",
        script: "f=/var/tmp/surface.$$; dd if=/dev/zero of=$f bs=65536 count=$((n * 16)) conv=fsync 2>/dev/null; rm -f $f",
        units: 20,
    },
    Work { unit: "a second of nothing: sleep", script: "sleep $n", units: 3 },
];

/// Why there is no count.
#[derive(Debug, thiserror::Error)]
enum SurfaceError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Strace(#[from] strace::StraceError),
    #[error(transparent)]
    Tracing(#[from] tracefs::TracingError),
    #[error("cannot read the launcher's account of a run")]
    Account(#[source] std::io::Error),
    #[error("its work is done by {0}'s daemon, which is no process of ours to be counted")]
    Daemon(String),
}

impl SurfaceError {
    fn is_interruption(&self) -> bool {
        matches!(self, Self::Start(StartError::Cut(Cut::Interrupted)))
    }
}

/// What runs without any unit of work reach at one layer.
#[derive(Default)]
struct Base {
    calls: Counts,
    exits: Option<Counts>,
}

/// Counts all of it at each layer, or as much as there is until somebody ends the bench: then the second is true.
pub fn measure(
    layers: &[Layer],
    patience: &Patience,
    mut tell: impl FnMut(&str, usize),
) -> (Vec<Surface>, bool) {
    let mut surfaces = Vec::new();
    let tracing = Tracing::begin();
    for (place, layer) in layers.iter().enumerate() {
        let mut base = None;
        for work in WORKS {
            tell(work.unit, place);
            let counter = Counter { layer, patience, tracing: tracing.as_ref() };
            let (reached, failure) = match counter.reached(work, &mut base) {
                Err(error) if error.is_interruption() => return (surfaces, true),
                Err(error) => (None, Some(words(&error))),
                Ok((reached, failure)) => (Some(reached), failure.map(|it| words(&it))),
            };
            let work = work;
            surfaces.push(Surface {
                work: work.unit.into(),
                layer: place,
                units: work.units,
                reached,
                failure,
            });
        }
    }
    surfaces.sort_by_key(|it| WORKS.iter().position(|work| work.unit == it.work));
    (surfaces, false)
}

/// Who counts at a layer.
struct Counter<'a> {
    layer: &'a Layer,
    patience: &'a Patience,
    tracing: Option<&'a Tracing>,
}

impl Counter<'_> {
    /// What a piece of work reaches, and what could not be counted of it.
    fn reached(
        &self,
        work: Work,
        base: &mut Option<Base>,
    ) -> Result<(Reached, Option<SurfaceError>), SurfaceError> {
        if let Layer::Container { engine, .. } = self.layer
            && engine.contains("docker")
        {
            return Err(SurfaceError::Daemon(engine.clone()));
        }
        let is_start = work.unit == START.unit;
        if base.is_none() {
            *base = Some(Base { calls: self.calls(START, 0)?, exits: self.exits(START, 0)? });
        }
        let none = Base::default();
        let base = base.as_ref().unwrap_or(&none);
        if is_start {
            let exits = base.exits.as_ref().map(|exits| per_unit(exits, &Counts::new(), 1));
            let (functions, failure) = self.functions(work)?;
            let calls = per_unit(&base.calls, &Counts::new(), 1);
            return Ok((Reached { calls, exits, functions }, failure));
        }
        let calls = per_unit(&self.calls(work, work.units)?, &base.calls, work.units);
        let exits = match (self.exits(work, work.units)?, &base.exits) {
            (Some(with), Some(without)) => Some(per_unit(&with, without, work.units)),
            _ => None,
        };
        let (functions, failure) = self.functions(work)?;
        Ok((Reached { calls, exits, functions }, failure))
    }

    /// The system calls of so many units.
    fn calls(&self, work: Work, units: u32) -> Result<Counts, SurfaceError> {
        let script = script(work, units);
        strace::counted(self.layer, &script, WITHIN, self.patience)
    }

    /// KVM's exits of so many units, where somebody can count them.
    fn exits(&self, work: Work, units: u32) -> Result<Option<Counts>, SurfaceError> {
        let script = script(work, units);
        let Some(tracing) = self.tracing.filter(|tracing| tracing.knows_exits()) else {
            return account::exits(self.layer, &script, WITHIN, self.patience);
        };
        let run = || {
            super::start::ended(self.layer.command(&["sh", "-c", &script]), WITHIN, self.patience)
        };
        tracing.exits(run).map(Some)
    }

    /// The functions that run for some units; a tracer's failure is told beside the rest.
    fn functions(&self, work: Work) -> Result<(Option<u64>, Option<SurfaceError>), SurfaceError> {
        let Some(tracing) = self.tracing else { return Ok((None, None)) };
        let script = script(work, work.units.min(UNITS_OF_FUNCTIONS));
        let run = || {
            super::start::ended(self.layer.command(&["sh", "-c", &script]), WITHIN, self.patience)
        };
        match tracing.functions(run) {
            Ok(count) => Ok((Some(count), None)),
            Err(error) if error.is_interruption() => Err(error),
            Err(error) => Ok((None, Some(error))),
        }
    }
}

fn script(work: Work, units: u32) -> String {
    format!("n={units}; {}", work.script)
}

/// What a failure says, on one line that a record takes.
fn words(error: &(dyn Error + 'static)) -> String {
    shortened(&clean(&chain(error)), MAX_FAILURE_BYTES)
}
