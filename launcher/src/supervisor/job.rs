//! What a supervisor is told, and what it has to tell of when its stages were reached.

use protocol::ContainerSpec;
use std::time::{Duration, Instant};

/// What is to be done in the sandbox, and with what patience.
#[derive(Debug)]
pub struct Job {
    /// The container.
    pub spec: ContainerSpec,
    /// How long the machine may take until the agent speaks.
    pub boot_timeout: Duration,
    /// How long the container may run.
    pub timeout: Option<Duration>,
    /// What stops it.
    pub stop_signal: u8,
    /// How long it has, after that, until SIGKILL; `None` is for ever.
    pub stop_timeout: Option<Duration>,
    /// Whether its disk is kept, and so the guest must power off in order.
    pub keep_disk: bool,
    /// Whether nobody's terminal has its streams: others may.
    pub detached: bool,
}

/// When the stages of a run were reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// The guest kernel's own count when the agent began.
    pub kernel: Option<Duration>,
    /// The agent spoke.
    pub agent: Option<Instant>,
    /// The container's process had been started.
    pub started: Option<Instant>,
    /// It had ended.
    pub exited: Option<Instant>,
}
