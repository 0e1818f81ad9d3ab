//! `cofferdam update`: other limits for a sandbox's container, whether it runs or not.
//!
//! Owns: that they are in force now, and the next time. Never does: what is not the container's alone: the machine has the
//! memory and the processors that it began with.

use crate::cli::update::UpdateArgs;
use crate::control::RunningSandbox;
use crate::error::{Explain, Failure};
use crate::plan::limits;
use crate::session::{ControlRequest, LimitChanges};
use crate::state::{Again, Limits, Sandboxes, StateError};
use std::fmt::Write as _;

/// Why nothing is changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Nothing was typed.
    #[error("no limit is given")]
    Nothing,
    /// One that has ended, and leaves nothing.
    #[error("{0} has ended and cannot be started again")]
    Over(String),
}

impl Explain for UpdateError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Nothing => Some("--memory, --cpus or --pids-limit".to_owned()),
            Self::Over(_) => None,
        }
    }
}

/// Gives sandboxes other limits; gives what to print on standard output.
///
/// # Errors
/// At the first that cannot have them.
pub fn update(args: &UpdateArgs) -> Result<String, Failure> {
    let typed = Limits {
        memory: args.memory.clone(),
        cpus: args.cpus.clone(),
        pids_limit: args.pids_limit.clone(),
    };
    if typed == Limits::default() {
        return Err(UpdateError::Nothing.into());
    }
    let changes = LimitChanges {
        memory_bytes: typed.memory.as_deref().map(limits::memory).transpose()?,
        cpu_micros: typed.cpus.as_deref().map(limits::cpus).transpose()?,
        pids: typed.pids_limit.as_deref().map(limits::pids).transpose()?,
    };
    let mut lines = String::new();
    for wanted in &args.sandboxes {
        let (id, directory) = Sandboxes::open(&args.state_dir)?.directory_of(wanted)?;
        let running = RunningSandbox::if_running(&args.state_dir, id.as_str())?;
        let is_running = running.is_some();
        if let Some(running) = running {
            let request = ControlRequest::Update(changes);
            crate::stop::done(&running, &request, &format!("cannot update {wanted}"))?;
        }
        match Again::change(&directory, &typed) {
            // It leaves nothing when it ends.
            Err(StateError::Path { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && is_running => {}
            Err(StateError::Path { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                return Err(UpdateError::Over(wanted.clone()).into());
            }
            other => other?,
        }
        let _ = writeln!(lines, "{wanted}");
    }
    Ok(lines)
}
