//! How a sandbox ended, and what the user is told of it: one exit code, at most one line and a hint.

use crate::agent_client::AgentError;
use crate::error::chain;
use crate::exit_code::{self, FailureClass};
use crate::session::Ending;
use protocol::{ExitStatus, Failure};
use std::time::Duration;
use vmm::VmExit;

/// How a sandbox ended.
#[derive(Debug)]
pub enum Outcome {
    /// The container's init process ended.
    Exited {
        /// How.
        status: ExitStatus,
        /// The kernel killed something in the container for want of memory.
        out_of_memory: bool,
    },
    /// The container's init process could not be started.
    NotStarted(Failure),
    /// `--timeout` ended it.
    TimedOut(Duration),
    /// A witness, in place of the container's command, was not done in time.
    WitnessTimedOut(Duration),
    /// A signal came while nothing ran that could have got it.
    Interrupted(u8),
    /// The machine could not be made: the causes, outermost first.
    MachineRefused(Vec<String>),
    /// The machine stopped while the container was still wanted.
    MachineExited(VmExit),
    /// It did because its kernel panicked, which said why.
    Panicked(String),
    /// The agent answered, but had not started the container in time.
    StartTimedOut(Duration),
    /// The guest did not power off in time; what it wrote last may not be on its disk.
    PowerOffTimedOut(Duration),
    /// The agent is gone or talks nonsense.
    Agent(AgentError),
    /// The process that serves shared directories is gone.
    SharesLost,
    /// The process that carries the network is gone: its last words.
    NetworkLost(Option<String>),
    /// The terminal side is gone.
    SessionLost,
}

const CONSOLE_HINT: &str = "--console FILE keeps the guest kernel's own log";

impl Outcome {
    /// The same, with what a kernel that panicked has said of it.
    #[must_use]
    pub fn explained(self, reason: impl FnOnce() -> Option<String>) -> Self {
        match self {
            // A kernel that panics before QEMU shares its memory leaves its words, and no mark.
            Outcome::MachineExited(exit @ (VmExit::Panicked | VmExit::Reset)) => {
                reason().map_or(Outcome::MachineExited(exit), Outcome::Panicked)
            }
            other => other,
        }
    }

    /// The exit code of the run.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Exited { status, .. } => exit_code::of_status(*status),
            Outcome::NotStarted(failure) => FailureClass::from(failure.kind).exit_code(),
            Outcome::TimedOut(_) => exit_code::TIMED_OUT,
            Outcome::Interrupted(signal) => ExitStatus::Signal(*signal).exit_code(),
            _ => exit_code::LAUNCHER,
        }
    }

    /// What the user is told.
    pub fn ending(&self) -> Ending {
        let (message, hint) = self.words();
        let by_itself = matches!(self, Outcome::Exited { .. } | Outcome::NotStarted(_));
        let ending = Ending::new(self.exit_code(), message, hint.map(str::to_owned));
        Ending { by_itself, ..ending }
    }

    fn words(&self) -> (Option<String>, Option<&'static str>) {
        let (message, hint) = match self {
            // With --init it is the reaper that exits, as a shell would.
            Outcome::Exited {
                out_of_memory: true,
                status: ExitStatus::Signal(9) | ExitStatus::Code(137),
            } => (
                "the container was killed: it used more memory than it may".to_owned(),
                Some("--memory sets the container's limit, --vm-memory the machine's"),
            ),
            Outcome::Exited { .. } | Outcome::Interrupted(_) | Outcome::SessionLost => {
                return (None, None);
            }
            Outcome::NotStarted(failure) => {
                (format!("cannot start the container: {}", failure.message), None)
            }
            Outcome::TimedOut(after) => {
                (format!("the container was stopped after {} s (--timeout)", after.as_secs()), None)
            }
            Outcome::WitnessTimedOut(after) => (
                format!("the witness in the container was not done within {} s", after.as_secs()),
                Some("--boot-timeout gives it longer"),
            ),
            Outcome::MachineRefused(causes) => {
                (format!("cannot boot the microVM: {}", causes.join(": ")), None)
            }
            Outcome::MachineExited(exit) => of_machine(exit),
            Outcome::Panicked(reason) => {
                (format!("the guest kernel panicked: {reason}"), Some(CONSOLE_HINT))
            }
            Outcome::StartTimedOut(after) => (
                format!("the guest agent did not start the container within {} s", after.as_secs()),
                Some("--boot-timeout gives it longer"),
            ),
            Outcome::PowerOffTimedOut(after) => (
                format!(
                    "the microVM did not power off within {} s and was killed",
                    after.as_secs()
                ),
                Some("what was written last may not be on the sandbox's disk"),
            ),
            Outcome::SharesLost => {
                ("the process that serves the shared directories is gone".to_owned(), None)
            }
            Outcome::NetworkLost(words) => {
                let words = words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
                (format!("the process that carries the network is gone{words}"), None)
            }
            Outcome::Agent(error) => {
                (format!("the sandbox is lost: {}", chain(error)), Some(CONSOLE_HINT))
            }
        };
        (Some(message), hint)
    }
}

fn of_machine(exit: &VmExit) -> (String, Option<&'static str>) {
    let message = match exit {
        VmExit::Panicked => "the guest kernel panicked".to_owned(),
        VmExit::Reset => "the guest reset its machine".to_owned(),
        VmExit::TripleFault => "the guest stopped on a triple fault".to_owned(),
        VmExit::Stopped => "the guest powered off while the container was running".to_owned(),
        VmExit::Hung => {
            let message = "the guest did not boot in time".to_owned();
            return (
                message,
                Some(
                    "--console FILE keeps the guest kernel's own log; --boot-timeout gives it longer",
                ),
            );
        }
        VmExit::Failed(words) => format!("the microVM failed: {words}"),
    };
    (message, Some(CONSOLE_HINT))
}

#[cfg(test)]
mod tests;
