//! `cofferdam start` and `restart`: a sandbox that has ended, once more, with what it had written.
//!
//! Owns: what of a run is kept for that, and what it is the second time. Never does: run it; a supervisor does, of the words
//! that were typed the first time.

use crate::cli::RunArgs;
use crate::cli::images::PullPolicy;
use crate::cli::stop::{StartArgs, StopArgs};
use crate::command::print;
use crate::detached::{self, Launched};
use crate::error::{Explain, Failure, report};
use crate::exit_code::LAUNCHER;
use crate::host::{NamedError, NamedInputs};
use crate::jail::orphans;
use crate::state::{Again, Sandboxes, Status};
use image::Image;
use protocol::ContainerId;
use std::path::{Path, PathBuf};

/// Why it cannot be started again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is no directory any more.
    #[error("{0}, where it was begun, is no directory any more")]
    Directory(PathBuf),
    /// A directory that is none of a sandbox's.
    #[error("{0} is no sandbox's directory")]
    NoSandbox(PathBuf),
    /// What there is of the image would not fit what was written.
    #[error("the image {0} is not the one that it began with")]
    OtherImage(String),
    /// It cannot be grown or shrunk.
    #[error("its disk has {found} bytes, and not {wanted}")]
    DiskSize {
        /// What it has.
        found: u64,
        /// What it is to have.
        wanted: u64,
    },
}

impl Explain for StartError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::OtherImage(_) => Some("cofferdam run begins a new one with that".to_owned()),
            Self::Directory(_) => {
                Some("what was typed may have named files there: make it again".to_owned())
            }
            Self::NoSandbox(_) | Self::DiskSize { .. } => None,
        }
    }
}

/// Starts sandboxes, and prints what they were called. Gives the exit code.
pub fn start(args: &StartArgs) -> u8 {
    each(&args.sandboxes, |wanted| begin(&args.state_dir, wanted))
}

/// Stops sandboxes that run, and starts them. Gives the exit code.
pub fn restart(args: &StopArgs) -> u8 {
    each(&args.sandboxes, |wanted| {
        crate::stop::stop(&StopArgs { sandboxes: vec![wanted.to_owned()], ..args.clone() })?;
        begin(&args.state_dir, wanted)
    })
}

fn each(sandboxes: &[String], begin: impl Fn(&str) -> Result<Option<Launched>, Failure>) -> u8 {
    let mut last = None;
    for wanted in sandboxes {
        let begun = begin(wanted)
            .map_err(|failure| failure.with_context(format!("cannot start {wanted}")))
            .and_then(|launched| print(&format!("{wanted}\n")).map(|()| launched));
        match begun {
            Ok(launched) => last = launched.or(last),
            Err(failure) => {
                report(&failure);
                return LAUNCHER;
            }
        }
    }
    // With PID 1 all would end.
    match last.filter(|_| orphans::are_ours_to_reap()) {
        Some(launched) => launched.outlive(),
        None => 0,
    }
}

/// Starts one; `None` where it runs.
fn begin(state_dir: &Path, wanted: &str) -> Result<Option<Launched>, Failure> {
    let sandboxes = Sandboxes::open(state_dir)?;
    crate::sandboxes::sweep(&sandboxes)?;
    let record = sandboxes.record_of(wanted)?;
    if record.status == Status::Running {
        return Ok(None);
    }
    let (_, directory) = sandboxes.directory_of(record.id.as_str())?;
    let again = Again::read(&directory)?;
    if !again.directory.is_dir() {
        return Err(StartError::Directory(again.directory).into());
    }
    let directory = std::path::absolute(&directory).map_err(Failure::plain)?;
    let mut launched = detached::launch_again(&directory, &again.words, &again.directory)?;
    match launched.started() {
        Ok(_) => Ok(Some(launched)),
        Err(Err(failure)) => Err(failure),
        Err(Ok(ending)) => {
            let words = ending.message.unwrap_or_else(|| "it did not run".to_owned());
            Err(match ending.hint {
                Some(hint) => Failure::plain(words).with_hint(hint),
                None => Failure::plain(words),
            })
        }
    }
}

/// What a supervisor begins with: asked before it walls itself in.
#[derive(Debug)]
pub struct Beginning {
    /// What was typed, as it is meant here and now: where the state is by now, and with the image that there is.
    pub args: RunArgs,
    /// Where it was typed.
    pub directory: PathBuf,
    /// The sandbox, if it was before.
    pub before: Option<Before>,
}

/// A sandbox that was before.
#[derive(Debug)]
pub struct Before {
    /// Its identifier.
    pub id: ContainerId,
    /// What was kept of it.
    pub again: Again,
}

impl Beginning {
    /// What this process begins with.
    ///
    /// # Errors
    /// Where what it is to start again is none of a sandbox's.
    pub fn of(args: &RunArgs) -> Result<Self, Failure> {
        let mut args = args.clone();
        // One that is removed is a place where no path leads from.
        let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
        let Some(again) = args.again.clone() else {
            args.state_dir = directory.join(&args.state_dir);
            return Ok(Self { args, directory, before: None });
        };
        let none = || StartError::NoSandbox(again.clone());
        let name = again.file_name().and_then(|name| name.to_str()).ok_or_else(none)?;
        let id = ContainerId::try_from(name.to_owned()).map_err(|_| none())?;
        args.state_dir = again.ancestors().nth(2).ok_or_else(none)?.to_owned();
        if args.pull == PullPolicy::Always {
            args.pull = PullPolicy::Missing;
        }
        let again = Again::read(&again)?;
        let later = again.limits.clone();
        args.memory = later.memory.or(args.memory);
        args.cpus = later.cpus.or(args.cpus);
        args.pids_limit = later.pids_limit.or(args.pids_limit);
        let before = Some(Before { id, again });
        Ok(Self { args, directory, before })
    }

    /// What the words name.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn inputs(&self) -> Result<NamedInputs, NamedError> {
        match &self.before {
            Some(before) => Ok(before.again.inputs.clone()),
            None => NamedInputs::read(&self.args),
        }
    }
}

/// The layers of an image, by what is in them.
pub fn layers(image: &Image) -> Vec<String> {
    image.layers.iter().map(|layer| layer.key.diff_id.to_string()).collect()
}
