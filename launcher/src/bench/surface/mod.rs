//! What each layer reaches of the host's kernel for one unit of work: its system calls by strace, KVM's exits by KVM's own
//! count, and how many of the kernel's functions ran by its function tracer, where this user may.
//!
//! A unit's share is what many of them add to a run that does none, so that a start's calls are counted as a start's.

mod account;
mod functions;
mod ring;
mod strace;

use super::group::GroupError;
use super::layer::Layer;
use super::patience::{Cut, Patience};
use super::start::{StartError, ended};
use super::words;
use ::bench::{Counts, Reached, Surface, per_unit};
use std::time::Duration;

/// A run that takes longer is not counted: each call of a traced process waits for its tracer.
const WITHIN: Duration = Duration::from_secs(300);

/// A piece of work.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// What it belongs to.
    pub group: &'static str,
    /// What one unit is.
    unit: &'static str,
    /// A script that does `$n` of them.
    script: &'static str,
    /// How many are done at once.
    units: u32,
}

/// Whatever the others start, with nothing to do: what they add to it is their work.
const NO_WORK: &str = "d=$(place); dd if=/dev/zero of=/dev/null count=0 2>/dev/null && sleep 0 && rm -f $d/surface.none";
/// Where a file may be made, in an image of whatever kind.
const PLACE: &str = "place() { for d in /var/tmp /tmp /; do [ -w $d ] && break; done; echo $d; }";

/// A start, and nothing else.
const START: Work = Work {
    group: "start",
    unit: "a start: sh -c true, from exec to exit",
    script: "true",
    units: 1,
};

/// What the others belong to.
const SURFACE: &str = "surface";

/// All pieces of work.
pub const WORKS: [Work; 6] = [
    START,
    Work {
        group: SURFACE,
        unit: "two system calls: dd reads one byte and writes it",
        script: "dd if=/dev/zero of=/dev/null bs=1 count=$n 2>/dev/null",
        // Many: an emulator's own calls in a start differ by some thousands from run to run.
        units: 20_000,
    },
    Work {
        group: SURFACE,
        unit: "a process: a shell starts /bin/true and waits for it",
        script: "i=0; while [ $i -lt $n ]; do /bin/true; i=$((i + 1)); done",
        units: 100,
    },
    Work {
        group: SURFACE,
        unit: "1 MiB of output, read by the shell that started it all",
        script: "dd if=/dev/zero bs=65536 count=$((n * 16)) 2>/dev/null",
        units: 20,
    },
    Work {
        group: SURFACE,
        unit: "1 MiB written to a file, and at the end flushed",
        script: "f=$(place)/surface.$$; dd if=/dev/zero of=$f bs=65536 count=$((n * 16)) conv=fsync 2>/dev/null && rm -f $f",
        units: 20,
    },
    Work { group: SURFACE, unit: "a second of nothing: sleep", script: "sleep $n", units: 5 },
];

/// Why there is no count.
#[derive(Debug, thiserror::Error)]
enum SurfaceError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Strace(#[from] strace::StraceError),
    #[error(transparent)]
    Tracing(#[from] functions::TracingError),
    #[error("cannot read the launcher's account of a run")]
    Account(#[source] std::io::Error),
    #[error("its work is done by {0}'s daemon, which is no process of ours to be counted")]
    Daemon(String),
}

impl SurfaceError {
    fn is_interruption(&self) -> bool {
        use functions::TracingError::Run;
        matches!(
            self,
            Self::Start(StartError::Cut(Cut::Interrupted))
                | Self::Tracing(Run(StartError::Cut(Cut::Interrupted)))
        )
    }
}

/// What a run without any unit of work reaches at one layer.
struct Base {
    calls: Counts,
    exits: Option<Counts>,
}

/// Counts all of it at each layer, or as much as there is until somebody ends the bench: then the second is true.
pub fn measure(
    works: &[Work],
    layers: &[Layer],
    patience: &Patience,
    mut tell: impl FnMut(&str, usize),
) -> (Vec<Surface>, bool) {
    let mut surfaces = Vec::new();
    let tracing = functions::Tracing::begin();
    for (place, layer) in layers.iter().enumerate() {
        let mut base = None;
        for work in works.iter().copied() {
            tell(work.unit, place);
            let counter = Counter { layer, tracing: tracing.as_ref(), patience };
            let (reached, failure) = match counter.reached(work, &mut base) {
                Err(error) if error.is_interruption() => return (surfaces, true),
                Err(error) => (None, Some(words(&error))),
                Ok(reached) => (Some(reached), None),
            };
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
    tracing: Option<&'a functions::Tracing>,
    patience: &'a Patience,
}

impl Counter<'_> {
    /// What a piece of work reaches.
    fn reached(&self, work: Work, base: &mut Option<Base>) -> Result<Reached, SurfaceError> {
        if let Layer::Container { engine, .. } = self.layer
            && engine.contains("docker")
        {
            return Err(SurfaceError::Daemon(engine.clone()));
        }
        if work.unit == START.unit {
            let nothing = Counts::new();
            let calls = per_unit(&self.calls(work.script)?, &nothing, 1);
            let exits = self.exits(work.script)?.map(|exits| per_unit(&exits, &nothing, 1));
            return Ok(Reached { calls, exits, functions: self.functions(work.script)? });
        }
        let base = match base {
            Some(base) => base,
            None => base.insert(Base { calls: self.calls(NO_WORK)?, exits: self.exits(NO_WORK)? }),
        };
        let script = format!("n={}; {}", work.units, work.script);
        let calls = per_unit(&self.calls(&script)?, &base.calls, work.units);
        let exits = self.exits(&script)?.zip(base.exits.as_ref());
        let exits = exits.map(|(with, without)| per_unit(&with, without, work.units));
        Ok(Reached { calls, exits, functions: self.functions(&script)? })
    }

    /// The system calls of a script.
    fn calls(&self, script: &str) -> Result<Counts, SurfaceError> {
        strace::counted(self.layer, &whole(script), WITHIN, self.patience)
    }

    /// KVM's exits of a script, where there is a guest and a KVM that tells.
    fn exits(&self, script: &str) -> Result<Option<Counts>, SurfaceError> {
        account::exits(self.layer, &whole(script), WITHIN, self.patience)
    }

    /// The functions of the host's kernel that ran for it, from start to end.
    fn functions(&self, script: &str) -> Result<Option<u64>, SurfaceError> {
        let Some(tracing) = self.tracing else { return Ok(None) };
        let command = self.layer.command(&["sh", "-c", &whole(script)])?;
        Ok(Some(tracing.functions(|| ended(command, WITHIN, self.patience))?))
    }
}

/// A script with what it may call.
fn whole(script: &str) -> String {
    if script.contains("$(place)") { format!("{PLACE}; {script}") } else { script.to_owned() }
}
