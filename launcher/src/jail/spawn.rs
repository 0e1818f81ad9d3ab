//! Starting a child, and holding on to it: a [`Child`] that is dropped is killed and reaped.
//!
//! A child has nothing of the user's terminal: its standard error is a pipe that nobody waits for. What
//! fits the pipe is kept until somebody asks for the child's [last words](Child::last_words); what
//! does not is lost, and the child is not held up by it.

use super::Role;
use super::channel::{Channel, ChannelError};
use super::orphans::Ours;
use super::walls::Walls;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::Serialize;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a killed process may take to vanish. One in the kernel's hands may take for ever: then it is
/// left to whoever reaps after us.
const REAP_PATIENCE: Duration = Duration::from_secs(10);
/// The most of what a child wrote that is looked at, in bytes: what fits its pipe.
const MOST_READ_BYTES: usize = 64 * 1024;
/// The most of it that is shown, in bytes.
const MOST_SHOWN_BYTES: usize = 1024;

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Its channel could not be made, or broke at once.
    #[error("cannot speak to the {name} process")]
    Channel {
        /// The child's name.
        name: &'static str,
        /// Why not.
        #[source]
        source: ChannelError,
    },
    /// The program could not be executed.
    #[error("cannot start the {name} process")]
    Execute {
        /// The child's name.
        name: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A running child and the channel to it.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    _ours: Ours,
    pidfd: OwnedFd,
    channel: Channel,
    stderr: OwnedFd,
    reap_patience: Duration,
}

/// Starts a child and sends it its first message. Call it from a thread that outlives the child: the
/// child dies with it.
///
/// # Errors
/// [`SpawnError`]; a child that was begun then ends with its channel, or with this process.
pub fn spawn<M: Serialize>(
    role: Role,
    first: &M,
    descriptors: &[BorrowedFd<'_>],
) -> Result<Child, SpawnError> {
    let name = role.process_name();
    let (ours, theirs) = Channel::pair().map_err(|source| SpawnError::Channel { name, source })?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0(name).arg(Walls::here().to_argument());
    #[cfg(feature = "trial")]
    command.args([super::trial::words(), super::trial::family(&super::orphans::children())]);
    command.env_clear().current_dir("/").stdin(Stdio::from(theirs.into_fd()));
    let child = start(command, ours).map_err(|source| SpawnError::Execute { name, source })?;
    child
        .channel
        .send(first, descriptors)
        .map_err(|source| SpawnError::Channel { name, source })?;
    Ok(child)
}

/// Starts a command as the child at the other end of `channel`.
pub(crate) fn start(mut command: Command, channel: Channel) -> io::Result<Child> {
    let (stderr, their_stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    command.stdout(Stdio::null()).stderr(Stdio::from(their_stderr));
    #[cfg(feature = "trial")]
    if super::trial::attempts() {
        command.stderr(Stdio::inherit());
    }
    let (process, ours) = Ours::start(&mut command)?;
    match rustix::process::pidfd_open(Pid::from_child(&process), PidfdFlags::empty()) {
        Ok(pidfd) => {
            let reap_patience = REAP_PATIENCE;
            Ok(Child { process, _ours: ours, pidfd, channel, stderr, reap_patience })
        }
        // Without the descriptor nobody could watch it, or end it: our lists have no kill by number. So it is
        // not waited for either, and sees the end of its channel, which is dropped here.
        Err(errno) => Err(errno.into()),
    }
}

impl Child {
    /// The channel to it.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Readable once it has ended.
    pub fn end_event(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Gives it so long to end by itself, then kills it. Tells how it ended where that was by itself.
    pub fn end(&mut self, patience: Duration) -> Option<ExitStatus> {
        let by_itself = crate::wait::readable_within(&self.pidfd, patience).unwrap_or(false);
        self.kill().filter(|_| by_itself)
    }

    /// What it has written to standard error, as far as it fits one line: cleaned where it is printed.
    pub fn last_words(&self) -> Option<String> {
        let mut bytes = vec![0; MOST_READ_BYTES];
        // Nothing there, or the pipe's end: there are no words.
        let count = rustix::io::read(&self.stderr, &mut bytes).unwrap_or(0);
        one_line(bytes.get(..count).unwrap_or_default())
    }

    /// Kills it, and does not wait: for one that may be stuck in the kernel.
    pub fn abandon(mut self) {
        self.reap_patience = Duration::ZERO;
    }

    /// Kills it, if it still runs, and reaps it if it vanishes in time.
    fn kill(&mut self) -> Option<ExitStatus> {
        // Fails only where it has been reaped, which is what is wanted.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let patience = std::mem::take(&mut self.reap_patience);
        // Whatever came of waiting, this asks once more and does not wait.
        let _ = crate::wait::readable_within(&self.pidfd, patience);
        self.process.try_wait().ok().flatten()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All that was written as one line, without our own name before it, and not too long.
fn one_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim().trim_start_matches("cofferdam: "))
        .filter(|line| !line.is_empty())
        .collect();
    let words = crate::error::shortened(&lines.join("; "), MOST_SHOWN_BYTES);
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests;
