//! The only questions asked of this place.
//!
//! Owns: what is read of the machine, the outer container and this process, and what the arguments
//! name (environment variables, files of settings). Never does: judges; [`crate::plan`] resolves
//! by these facts, [`crate::doctor`] says what they mean for a user.
//!
//! Two sizes, because the cost of starting is counted: [`HostFacts`] is what every `run` needs, a
//! few system calls; [`Survey`] is everything, for `doctor` only.

pub mod cgroup;
pub mod family;
pub mod kvm;
pub mod mounts;
mod named;
mod names;
pub mod network;
pub mod place;
pub mod process;
mod survey;
mod sys;

pub use named::{NamedError, NamedInputs};
pub use survey::{KvmProbe, Survey};

use protocol::TerminalSize;
use std::path::Path;

/// What `run` resolves its arguments against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// How much memory there is.
    pub memory: MemoryFacts,
    /// How many CPUs there are.
    pub cpus: CpuFacts,
    /// What the standard streams are.
    pub terminal: TerminalFacts,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryFacts {
    /// The machine's.
    pub total_bytes: u64,
    /// The smallest limit of the cgroups this process is in.
    pub limit_bytes: Option<u64>,
}

/// CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuFacts {
    /// How many this process may run on.
    pub usable: u32,
    /// The smallest quota of the cgroups this process is in, in millionths of a CPU.
    pub quota_micros: Option<u64>,
}

/// What the standard streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TerminalFacts {
    /// Standard input is a terminal.
    pub stdin: bool,
    /// The size of the terminal on standard output, or else standard input.
    pub size: Option<TerminalSize>,
}

impl HostFacts {
    /// Asks.
    pub fn ask() -> Self {
        let limits = cgroup::Limits::read(Path::new("/"));
        let info = rustix::system::sysinfo();
        Self {
            memory: MemoryFacts {
                total_bytes: info.totalram.saturating_mul(u64::from(info.mem_unit)),
                limit_bytes: limits.memory_bytes,
            },
            cpus: CpuFacts { usable: usable_cpus(), quota_micros: limits.cpu_micros },
            terminal: TerminalFacts::ask(),
        }
    }
}

impl TerminalFacts {
    /// Asks.
    pub fn ask() -> Self {
        Self { stdin: rustix::termios::isatty(rustix::stdio::stdin()), size: terminal_size() }
    }
}

/// The size of the terminal on standard output, or else standard input; `None` where it does not say.
pub fn terminal_size() -> Option<TerminalSize> {
    use rustix::termios::tcgetwinsize;
    [rustix::stdio::stdout(), rustix::stdio::stdin()]
        .into_iter()
        .filter_map(|stream| tcgetwinsize(stream).ok())
        .map(|size| TerminalSize { rows: size.ws_row, columns: size.ws_col })
        .find(|size| size.rows > 0 && size.columns > 0)
}

/// How many CPUs the scheduler may put this process on; one where it will not say.
fn usable_cpus() -> u32 {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count().max(1))
}
