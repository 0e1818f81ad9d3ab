//! A command and what it starts, as a group of processes of its own that does not outlive this value.

use super::patience::{Cut, Patience};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The group, by its first process.
#[derive(Debug)]
pub struct Group {
    /// The first process, with the streams that are pipes.
    pub child: Child,
    pid: Pid,
    /// Readable once it has ended.
    end: OwnedFd,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {program:?}")]
pub struct GroupError {
    program: String,
    source: io::Error,
}

impl GroupError {
    /// What `program` needs to be started cannot be had.
    pub fn of(program: &str, source: io::Error) -> Self {
        Self { program: program.to_owned(), source }
    }
}

impl Group {
    /// Starts a command whose streams are already said.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(command: &mut Command) -> Result<Self, GroupError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |source| GroupError { program, source };
        let mut child = match command.process_group(0).spawn() {
            Ok(child) => child,
            Err(error) => return Err(failed(error)),
        };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let held = pid.ok_or(io::ErrorKind::InvalidData.into());
        let held = held.and_then(|pid| Ok((pid, pidfd_open(pid, PidfdFlags::empty())?)));
        match held {
            Ok((pid, end)) => Ok(Self { child, pid, end }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(error))
            }
        }
    }

    /// Waits for its first process to end.
    ///
    /// # Errors
    /// [`Cut`].
    pub fn wait(&self, begun: Instant, within: Duration, patience: &Patience) -> Result<(), Cut> {
        patience.readable(self.end.as_fd(), begun, within)
    }

    /// What becomes readable with its end.
    pub fn end(&self) -> &OwnedFd {
        &self.end
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that was waited for is no group any more, and its number may be another's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
