//! Starting a child, and holding on to it: a [`Child`] that is dropped is killed and reaped.

use super::Role;
use super::channel::{Channel, ChannelError};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::Serialize;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

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
    pidfd: OwnedFd,
    channel: Channel,
}

/// Starts a child and sends it its first message. Call it from a thread that outlives the child: the
/// child dies with it.
///
/// # Errors
/// [`SpawnError`], and then no child is left.
pub fn spawn<M: Serialize>(
    role: Role,
    first: &M,
    descriptors: &[BorrowedFd<'_>],
) -> Result<Child, SpawnError> {
    let name = role.process_name();
    let (ours, theirs) = Channel::pair().map_err(|source| SpawnError::Channel { name, source })?;
    let process = Command::new("/proc/self/exe")
        .arg0(name)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs.into_fd()))
        .stdout(Stdio::null())
        .spawn()
        .map_err(|source| SpawnError::Execute { name, source })?;
    let pidfd = Pid::from_child(&process);
    let pidfd = rustix::process::pidfd_open(pidfd, PidfdFlags::empty())
        .map_err(|errno| SpawnError::Execute { name, source: errno.into() })?;
    let child = Child { process, pidfd, channel: ours };
    child
        .channel
        .send(first, descriptors)
        .map_err(|source| SpawnError::Channel { name, source })?;
    Ok(child)
}

impl Child {
    /// The channel to it.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Where waiting itself fails.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait()
    }

    /// Kills it, if it still runs, and reaps it.
    pub fn kill(&mut self) {
        // Either fails only where the child has been reaped, which is what is wanted.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
