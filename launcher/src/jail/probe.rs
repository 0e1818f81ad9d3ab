//! The probe process: runs a few guest instructions on KVM, and may be killed if it does not answer.

use super::channel::{Channel, ChannelError};
use super::machine::causes;
use super::{Role, SpawnError, spawn};
use serde::{Deserialize, Serialize};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;
use vmm::probe::ProbeReport;

/// How long a KVM may take to answer. A good one takes a few milliseconds.
pub const DEADLINE: Duration = Duration::from_millis(800);
/// How long one that has answered may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

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

/// Probes the open `/dev/kvm` in a process of its own. Never takes much longer than [`DEADLINE`].
///
/// # Errors
/// Where the process cannot be started.
pub fn probe(kvm: BorrowedFd<'_>) -> Result<ProbeOutcome, SpawnError> {
    let mut child = spawn(Role::Probe, &(), &[kvm])?;
    match crate::wait::readable_within(child.channel(), DEADLINE) {
        Ok(true) => {
            let outcome = child.channel().receive().map_or(ProbeOutcome::Died, |(it, _)| it);
            // Its machine is taken apart by the kernel whether it ends or is killed.
            child.end(LAST_MOMENTS);
            Ok(outcome)
        }
        Ok(false) => {
            // A KVM that hangs may keep it from dying, too.
            child.abandon();
            Ok(ProbeOutcome::TimedOut)
        }
        Err(_) => Ok(ProbeOutcome::Died),
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
