//! A program started anew at a layer, timed from outside: until its first byte, and until all of it is gone.

use super::group::{Group, GroupError};
use super::patience::{Cut, Patience};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What is kept of what the program says where it fails.
const MAX_SAID_BYTES: usize = 4096;

/// How long it took.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    /// From its exec to its first byte here.
    pub first_output: Duration,
    /// From its exec to the end of what was started.
    pub exit: Duration,
}

/// Why it was not timed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] GroupError),
    /// Its streams are broken.
    #[error("cannot read what it says")]
    Io(#[source] io::Error),
    /// It failed.
    #[error("it failed ({0}): {1}")]
    Failed(ExitStatus, String),
    /// It ended without a word.
    #[error("it ended without a word")]
    Silent,
    /// Nobody waits for it any longer.
    #[error(transparent)]
    Cut(#[from] Cut),
}

/// A command at work whose output is read here.
struct Running<'a> {
    group: Group,
    output: ChildStdout,
    begun: Instant,
    within: Duration,
    patience: &'a Patience,
}

impl<'a> Running<'a> {
    fn start(
        mut command: Command,
        within: Duration,
        patience: &'a Patience,
    ) -> Result<Self, StartError> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut group = Group::start(&mut command)?;
        let output = group.child.stdout.take().ok_or(StartError::Silent)?;
        Ok(Self { group, output, begun, within, patience })
    }

    /// Waits for output, and reads some; nothing is its end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StartError> {
        self.patience.readable(self.output.as_fd(), self.begun, self.within)?;
        self.output.read(buffer).map_err(StartError::Io)
    }

    /// Waits for its first process, and gives how long that took.
    fn ended(mut self) -> Result<Duration, StartError> {
        self.group.wait(self.begun, self.within, self.patience)?;
        let took = self.begun.elapsed();
        let status = self.group.child.wait().map_err(StartError::Io)?;
        if status.success() {
            return Ok(took);
        }
        Err(StartError::Failed(status, crate::error::clean(self.last_words().trim())))
    }

    /// What it has said of why. Another process may hold the pipe: its end is not waited for.
    fn last_words(&mut self) -> String {
        let mut said = vec![0; MAX_SAID_BYTES];
        let Some(mut errors) = self.group.child.stderr.take() else { return String::new() };
        let soon = Timespec::default();
        let is_there = poll(&mut [PollFd::new(&errors, PollFlags::IN)], Some(&soon));
        let count = if is_there == Ok(1) { errors.read(&mut said).unwrap_or(0) } else { 0 };
        said.truncate(count);
        String::from_utf8_lossy(&said).into_owned()
    }
}

/// Times a command that writes something and ends.
///
/// # Errors
/// [`StartError`].
pub fn timed(
    command: Command,
    within: Duration,
    patience: &Patience,
) -> Result<Started, StartError> {
    let mut running = Running::start(command, within, patience)?;
    let heard = running.read(&mut [0; 64])?;
    let first_output = running.begun.elapsed();
    let exit = running.ended()?;
    if heard == 0 { Err(StartError::Silent) } else { Ok(Started { first_output, exit }) }
}

/// Waits until a command has ended whose output is of no interest, and is read.
///
/// # Errors
/// [`StartError`].
pub fn ended(command: Command, within: Duration, patience: &Patience) -> Result<(), StartError> {
    let mut running = Running::start(command, within, patience)?;
    let mut buffer = vec![0; 1 << 16];
    while running.read(&mut buffer)? > 0 {}
    running.ended().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_moments_are_seen() {
        let patience = Patience::new().unwrap();
        let started = timed(shell("echo x; sleep 0.2"), SOON, &patience).unwrap();
        assert!(started.exit >= Duration::from_millis(200), "{started:?}");
        assert!(started.first_output < started.exit, "{started:?}");
    }

    #[test]
    fn what_fails_says_why() {
        let patience = Patience::new().unwrap();
        let says = |script| timed(shell(script), SOON, &patience).unwrap_err().to_string();
        assert_eq!(says("echo no luck >&2; exit 3"), "it failed (exit status: 3): no luck");
        assert_eq!(says("true"), "it ended without a word");
        assert!(ended(shell("head -c 1000000 /dev/zero"), SOON, &patience).is_ok());
        let failed = ended(shell("echo no luck >&2; exit 3"), SOON, &patience).unwrap_err();
        assert!(failed.to_string().contains("no luck"), "{failed}");
        let late = timed(shell("sleep 60"), Duration::from_millis(50), &patience).unwrap_err();
        assert!(matches!(late, StartError::Cut(Cut::Late(_))), "{late}");
    }
}
