//! What is said after the handshake: closed enums, one frame each.

use crate::{
    ContainerId, ContainerSpec, ExitStatus, ProcessRef, ProcessSpec, Resources, TerminalSize, Usage,
};
use serde::{Deserialize, Serialize};

/// From the launcher to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Make this container and start its init process. Answered by `Started` or `Failed`, later `Exited`.
    Start(Box<ContainerSpec>),
    /// Start a further process, in a container or (with none) in the guest itself. Answered likewise.
    Run {
        /// Where it runs, and its new name.
        process: ProcessRef,
        /// What it is.
        spec: Box<ProcessSpec>,
    },
    /// Send a signal to a process. One that has already ended is no error.
    Signal {
        /// To whom.
        process: ProcessRef,
        /// The signal's number, 1 to 64.
        signal: u8,
    },
    /// The terminal of a process has a new size.
    Resize {
        /// Whose terminal.
        process: ProcessRef,
        /// Its new size.
        size: TerminalSize,
    },
    /// Kill what still runs, sync and unmount the disks, say `PoweringOff`, and reset the machine.
    PowerOff,
    /// Say what a container uses. Answered by `Measured`, unless there is none.
    Measure(ContainerId),
    /// Have all processes of all containers stand still, or go on. Answered by `Frozen`.
    Freeze(bool),
    /// Give a container these limits, and no others. Answered by `Limited`.
    Limit {
        /// Which.
        container: ContainerId,
        /// Those.
        resources: Resources,
    },
}

/// From the agent to the launcher: a claim, not a fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The process has been started.
    Started {
        /// Which.
        process: ProcessRef,
        /// Its process id in the guest's own PID namespace.
        guest_pid: u32,
    },
    /// The process could not be started. No `Exited` follows.
    Failed {
        /// Which.
        process: ProcessRef,
        /// Why not.
        failure: Failure,
    },
    /// The process has ended, and all its output has been given to its streams.
    Exited {
        /// Which.
        process: ProcessRef,
        /// How.
        status: ExitStatus,
        /// The kernel killed something in its container for want of memory.
        out_of_memory: bool,
    },
    /// Everything is synced; the next thing that happens is a reset of the machine.
    PoweringOff,
    /// What a container uses.
    Measured {
        /// Which.
        container: ContainerId,
        /// That.
        usage: Usage,
    },
    /// Whether all processes of all containers stand still.
    Frozen(bool),
    /// A container has the limits that it was to have, or why not. Untrusted text, as a failure's.
    Limited(Option<String>),
}

/// Why a process could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind: it decides the exit code.
    pub kind: FailureKind,
    /// One line: what was tried, on what, why not. Untrusted text: it is cleaned before it is printed.
    pub message: String,
}

/// Kinds of failure, as Docker's exit codes tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The program is there but cannot be invoked (126).
    CannotInvoke,
    /// The program is not there (127).
    NotFound,
    /// The container itself could not be made (125).
    Setup,
}
