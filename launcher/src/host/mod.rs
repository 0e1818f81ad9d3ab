//! The only questions asked of this place.
//!
//! Owns: what is read of the machine, the outer container and this process, and what the arguments
//! name (environment variables, files of settings). Never does: judges; [`crate::plan`] resolves
//! by these facts, [`crate::doctor`] says what they mean for a user.
//!
//! Two sizes, because the cost of starting is counted: [`HostFacts`] is what every `run` needs, a
//! few system calls; [`Survey`] is everything, for `doctor` only.

pub mod cgroup;
pub mod kvm;
mod named;
mod names;
pub mod place;
pub mod process;
mod survey;
mod sys;

pub use named::{NamedError, NamedInputs};
pub use survey::{KvmProbe, Survey};

use protocol::TerminalSize;
use rustix::fd::AsFd;
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
    /// Standard output is a terminal.
    pub stdout: bool,
    /// Standard error is a terminal.
    pub stderr: bool,
    /// The size of whichever of them is one.
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
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let is_terminal = |fd: rustix::fd::BorrowedFd<'_>| rustix::termios::isatty(fd);
        let facts = Self {
            stdin: is_terminal(stdin.as_fd()),
            stdout: is_terminal(stdout.as_fd()),
            stderr: is_terminal(stderr.as_fd()),
            size: None,
        };
        let terminal = if facts.stdin {
            stdin.as_fd()
        } else if facts.stdout {
            stdout.as_fd()
        } else {
            return facts;
        };
        let size = rustix::termios::tcgetwinsize(terminal)
            .ok()
            .map(|size| TerminalSize { rows: size.ws_row, columns: size.ws_col });
        Self { size, ..facts }
    }
}

/// How many CPUs the scheduler may put this process on; one where it will not say.
fn usable_cpus() -> u32 {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count().max(1))
}
