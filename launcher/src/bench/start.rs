//! A program started anew at a layer, timed from outside: until its first byte, and until all of it is gone.

use super::patience::{Cut, Patience};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What is kept of what the program says where it fails.
const MAX_SAID_BYTES: u64 = 4096;

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
    #[error("cannot start {0:?}")]
    Start(String, #[source] io::Error),
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

/// A group of processes that ends with this, by force where it has not ended.
struct Group(Child);

impl Group {
    fn start(mut command: Command) -> Result<Self, StartError> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        command.spawn().map(Self).map_err(|error| StartError::Start(name, error))
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.0.id()).ok()?)
    }

    /// Waits for its first process, and gives how long that took.
    fn ended(
        &mut self,
        begun: Instant,
        within: Duration,
        patience: &Patience,
    ) -> Result<Duration, StartError> {
        let pid = self.pid().ok_or(StartError::Silent)?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| StartError::Io(e.into()))?;
        patience.readable(handle.as_fd(), begun, within)?;
        let took = begun.elapsed();
        let status = self.0.wait().map_err(StartError::Io)?;
        if status.success() {
            return Ok(took);
        }
        let mut said = Vec::new();
        if let Some(errors) = self.0.stderr.take() {
            let _ = errors.take(MAX_SAID_BYTES).read_to_end(&mut said);
        }
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        Err(StartError::Failed(status, crate::error::clean(&said)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that was waited for is no group any more, and its number may be another's.
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Times a command that writes something and ends.
///
/// # Errors
/// [`StartError`].
pub fn timed(
    mut command: Command,
    within: Duration,
    patience: &Patience,
) -> Result<Started, StartError> {
    command.stdout(Stdio::piped());
    let begun = Instant::now();
    let mut group = Group::start(command)?;
    let mut output = group.0.stdout.take().ok_or(StartError::Silent)?;
    patience.readable(output.as_fd(), begun, within)?;
    let first_output = begun.elapsed();
    let heard = output.read(&mut [0; 64]).map_err(StartError::Io)?;
    let exit = group.ended(begun, within, patience)?;
    if heard == 0 { Err(StartError::Silent) } else { Ok(Started { first_output, exit }) }
}

/// Waits until a command has ended whose output is of no interest, and is read; gives how long it took.
///
/// # Errors
/// [`StartError`].
pub fn ended(
    mut command: Command,
    within: Duration,
    patience: &Patience,
) -> Result<Duration, StartError> {
    command.stdout(Stdio::piped());
    let begun = Instant::now();
    let mut group = Group::start(command)?;
    let mut output = group.0.stdout.take().ok_or(StartError::Silent)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        patience.readable(output.as_fd(), begun, within)?;
        if output.read(&mut buffer).map_err(StartError::Io)? == 0 {
            return group.ended(begun, within, patience);
        }
    }
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
