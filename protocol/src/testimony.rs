//! What a witness inside a container says of it: the kernel's own words, for the launcher to judge.

use serde::{Deserialize, Serialize};

/// What a process of a container finds around itself. Every text is the kernel's, as it was read; one that
/// could not be read is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testimony {
    /// The version of the agent's program.
    pub agent_version: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel_release: String,
    /// /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// /proc/self/status.
    pub status: String,
    /// /proc/self/uid_map.
    pub uid_map: String,
    /// /proc/self/attr/current: AppArmor's label.
    pub label: String,
    /// /proc/self/mountinfo.
    pub mounts: String,
    /// Those of its mount points, as they stand there, that it may write to.
    pub writable: Vec<String>,
}
