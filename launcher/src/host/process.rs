//! What this process is and may do: its ids, capabilities, filters and labels (proc_pid_status(5)).

use std::fs;

/// What this process is and may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Effective capabilities.
    pub capabilities: Option<u64>,
    /// It may gain no privilege.
    pub no_new_privileges: Option<bool>,
    /// Its system call filter.
    pub seccomp: Option<SeccompMode>,
    /// Its label: AppArmor's or SELinux's.
    pub label: Option<String>,
    /// Descriptors it may have open: soft and hard limit; `None` is unlimited.
    pub descriptors: (Option<u64>, Option<u64>),
}

/// How a process's system calls are filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeccompMode {
    /// Not at all.
    Off,
    /// By the strict mode of old.
    Strict,
    /// By this many programs (0 where the kernel does not say).
    Filter(u32),
}

impl ProcessFacts {
    /// Asks.
    pub fn ask() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let groups = rustix::process::getgroups().unwrap_or_default();
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            groups: groups.into_iter().map(rustix::process::Gid::as_raw).collect(),
            capabilities: field(&status, "CapEff")
                .and_then(|hex| u64::from_str_radix(hex, 16).ok()),
            no_new_privileges: field(&status, "NoNewPrivs").map(|value| value == "1"),
            seccomp: seccomp_mode(&status),
            label: label(),
            descriptors: (descriptors.current, descriptors.maximum),
        }
    }
}

/// What /proc/PID/status says of any process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Real, effective, saved and file system user id.
    pub uids: Vec<u32>,
    /// Capabilities that it has or may take: effective, permitted, inheritable and ambient ones.
    pub capabilities: u64,
    /// Those that a program that it executes may get.
    pub bounding: u64,
    /// It may gain no privilege.
    pub no_new_privileges: bool,
    /// Its system call filter.
    pub seccomp: SeccompMode,
}

impl ProcessStatus {
    /// Reads the text; `None` where something is missing in it.
    pub fn parse(status: &str) -> Option<Self> {
        let set = |name| u64::from_str_radix(field(status, name)?, 16).ok();
        let held = ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(set);
        let uids = field(status, "Uid")?.split_whitespace().map(str::parse);
        Some(Self {
            uids: uids.collect::<Result<Vec<u32>, _>>().ok().filter(|uids| uids.len() == 4)?,
            capabilities: held.into_iter().try_fold(0, |all, set| Some(all | set?))?,
            bounding: set("CapBnd")?,
            no_new_privileges: field(status, "NoNewPrivs")? == "1",
            seccomp: seccomp_mode(status)?,
        })
    }
}

/// The value of a `Name:\tvalue` line.
pub(super) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn seccomp_mode(status: &str) -> Option<SeccompMode> {
    match field(status, "Seccomp")? {
        "0" => Some(SeccompMode::Off),
        "1" => Some(SeccompMode::Strict),
        "2" => {
            let filters = field(status, "Seccomp_filters").and_then(|count| count.parse().ok());
            Some(SeccompMode::Filter(filters.unwrap_or(0)))
        }
        _ => None,
    }
}

/// The label, where a security module gives one.
fn label() -> Option<String> {
    // The second is where a kernel with several security modules, or an old one, keeps it.
    ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"].iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        let text = text.trim_end_matches(['\n', '\0']);
        (!text.is_empty()).then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests;
