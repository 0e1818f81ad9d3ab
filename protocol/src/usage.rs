//! What a container uses, and the guest around it.

use serde::{Deserialize, Serialize};

/// What a container has used so far, and holds now, as its cgroup counts; and the guest's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory, in bytes, without the files that the kernel keeps at hand (as `docker stats` has it).
    pub memory_bytes: u64,
    /// The most that it may have, in bytes, where it has a limit of its own.
    pub memory_max: Option<u64>,
    /// Processes and threads.
    pub tasks: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written to disks.
    pub written_bytes: u64,
    /// The guest's memory, in bytes.
    pub guest_bytes: u64,
    /// What of that could be given to whoever asks for it, in bytes.
    pub guest_available_bytes: u64,
}
