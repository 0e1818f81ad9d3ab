//! The probe process: runs a few guest instructions on KVM, and may be killed if it does not answer.

use super::channel::{Channel, ChannelError};
use super::machine::causes;
use super::{Role, SpawnError, spawn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use std::os::fd::{BorrowedFd, OwnedFd};
use vmm::probe::ProbeReport;

/// How long a KVM may take to answer. A good one takes a few milliseconds.
pub const DEADLINE_MS: i64 = 800;

/// What the probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ProbeOutcome {
    /// It ran: here is what it measured.
    Measured(ProbeReport),
    /// KVM refused a step: the causes, outermost first.
    Refused(Vec<String>),
    /// It did not answer in time, and was killed.
    TimedOut,
    /// It ended without an answer.
    Died,
}

/// Probes the open `/dev/kvm` in a process of its own. Never takes much longer than [`DEADLINE_MS`].
///
/// # Errors
/// Where the process cannot be started.
pub fn probe(kvm: BorrowedFd<'_>) -> Result<ProbeOutcome, SpawnError> {
    let child = spawn(Role::Probe, &(), &[kvm])?;
    let deadline = Timespec { tv_sec: 0, tv_nsec: DEADLINE_MS * 1_000_000 };
    let mut poll_fds = [PollFd::new(child.channel(), PollFlags::IN)];
    match poll(&mut poll_fds, Some(&deadline)) {
        Ok(0) => Ok(ProbeOutcome::TimedOut),
        _ => Ok(child.channel().receive().map_or(ProbeOutcome::Died, |(outcome, _)| outcome)),
    }
}

/// What the process does, to its end.
///
/// # Errors
/// Where the launcher cannot be heard or told.
pub fn run(channel: Channel) -> Result<(), ChannelError> {
    let ((), descriptors) = channel.receive()?;
    let Ok([kvm]) = <[OwnedFd; 1]>::try_from(descriptors) else { return Err(ChannelError::Closed) };
    let outcome = match vmm::probe::measure(kvm) {
        Ok(report) => ProbeOutcome::Measured(report),
        Err(error) => ProbeOutcome::Refused(causes(&error)),
    };
    channel.send(&outcome, &[])
}
