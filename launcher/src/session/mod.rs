//! The terminal side of a sandbox and its supervisor speak over a socket, even in one process, so
//! that detaching and attaching are no second way.
//!
//! Owns: what they say. Never does: anything with a stream's bytes, which flow past it: the streams'
//! ends themselves are handed to the terminal side.
//!
//! ```text
//!   terminal side                          supervisor
//!      │ ◀──────── Kept ─────────────────────── │   the sandbox has a directory
//!      │ ◀──────── Streams + open files ─────── │   before the machine boots
//!      │ ◀──────── Started ──────────────────── │
//!      │ ───────── Signal, Resize, Stop ──────▶ │
//!      │ ◀──────── Attach + open files ──────── │   where it has no terminal: somebody else wants the streams, too
//!      │ ───────── OutputEnded ───────────────▶ │   before that, the machine holds bytes that are wanted
//!      │ ◀──────── Ended ────────────────────── │   the last message
//! ```

pub mod keeper;
pub mod keys;
pub mod relay;
pub mod signals;
pub mod terminal;

use network::Counts;
use protocol::{ContainerId, ContainerSpec, Stdio, TerminalSize, Usage};
use serde::{Deserialize, Serialize};

/// From the terminal side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TerminalMessage {
    /// The user, or whoever started us, sent this signal.
    Signal(u8),
    /// The terminal has a new size.
    Resize(TerminalSize),
    /// The last byte of every output stream has been written, or nobody takes it any more.
    OutputEnded,
    /// The sandbox is to end, in order.
    Stop,
}

/// The first message of whoever comes later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlRequest {
    /// A further process is wanted.
    Exec(ExecRequest),
    /// A further container is wanted, of whatever image: its layers come as open files beside the message.
    Container(Box<ContainerRequest>),
    /// What the sandbox uses is wanted.
    Measure,
    /// Its first process is to be sent this signal. Answered at once.
    Signal(u8),
    /// It is to end, in order, which is waited for.
    Stop {
        /// By this signal, and not its own.
        signal: Option<u8>,
        /// How long it has until SIGKILL.
        patience: Patience,
    },
    /// Its end is waited for.
    Wait,
    /// Its first process's streams are wanted, besides whoever has them.
    Attach {
        /// Standard input, too, where it has one.
        input: bool,
    },
    /// A list of its first container's processes is wanted, on standard output.
    Tasks,
    /// All its containers are to stand still, or to go on; answered once they do.
    Pause(bool),
    /// It is to be called so; answered once it is.
    Rename(String),
    /// Its first container is to have other limits; answered once it has.
    Update(LimitChanges),
    /// Something is to be copied: the archive is on standard output, or expected on standard input.
    Copy(CopyRequest),
}

/// Other limits of a container: what is not there stays, and no number is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitChanges {
    /// Memory, in bytes.
    pub memory_bytes: Option<Option<u64>>,
    /// Processors, in millionths.
    pub cpu_micros: Option<Option<u64>>,
    /// Processes and threads.
    pub pids: Option<Option<u64>>,
}

/// How long somebody waits for what is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Patience {
    /// As long as was said at its start.
    Own,
    /// So long.
    Seconds(u64),
    /// For ever.
    ForEver,
}

/// A further container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRequest {
    /// The container. Where its layers stand, where it writes, and the ports of its streams are the supervisor's to say.
    pub spec: ContainerSpec,
    /// How long each file is.
    pub files: Vec<u64>,
    /// How long each file system is that they make, one behind the other.
    pub file_systems: Vec<u64>,
}

/// What is to be copied, by its path in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyRequest {
    /// Out of it.
    Out {
        /// What.
        path: String,
        /// Follow it where it is a link.
        follow: bool,
    },
    /// Into it.
    In {
        /// Where to.
        path: String,
        /// The archive is one file or directory, which lands as `cp` has it; else it goes into a directory as it is.
        tree: bool,
        /// Give files the owners that they have in the archive, and not root.
        owners: bool,
    },
}

/// A further process that is wanted in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments; at least one.
    pub args: Vec<String>,
    /// NAME=value, beside and before what the container has.
    pub env: Vec<String>,
    /// Its working directory, where it is not the container's.
    pub cwd: Option<String>,
    /// Whom it runs as, where it is not as the container.
    pub user: Option<String>,
    /// Its terminal, where it has one.
    pub terminal: Option<TerminalSize>,
    /// Whether it has a standard input.
    pub interactive: bool,
    /// Nobody has its streams, or waits for its end.
    pub detached: bool,
}

/// From the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorMessage {
    /// The streams, as open files beside the message, in the order of the kind.
    Streams(StreamKind),
    /// The process runs.
    Started,
    /// Whose streams these are, and where what they say may be kept. Before they come.
    Kept(ContainerId),
    /// Somebody else has the streams, too, by these, in the order of their kind.
    Attach,
    /// What was measured.
    Measured(Box<Measured>),
    /// It is over. The streams end by themselves.
    Ended(Ending),
}

/// What a sandbox uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Its first container, as the guest says.
    pub usage: Usage,
    /// Its network, if it has one.
    pub network: Option<Counts>,
}

/// Which streams come with [`SupervisorMessage::Streams`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamKind {
    /// Standard output, standard error, and standard input where it is wanted.
    Pipes {
        /// Whether a third stream, standard input, is there.
        stdin: bool,
    },
    /// One stream both ways.
    Terminal {
        /// Whether standard input goes into it.
        input: bool,
    },
}

impl StreamKind {
    /// Those of such a process.
    pub fn of(stdio: Stdio) -> Self {
        match stdio {
            Stdio::Pipes { stdin_port, .. } => Self::Pipes { stdin: stdin_port.is_some() },
            Stdio::Nothing => Self::Pipes { stdin: false },
            Stdio::Terminal { input, .. } => Self::Terminal { input },
        }
    }

    /// The same, without standard input where it is not wanted.
    #[must_use]
    pub fn with_input(self, wanted: bool) -> Self {
        match self {
            Self::Pipes { stdin } => Self::Pipes { stdin: stdin && wanted },
            Self::Terminal { input } => Self::Terminal { input: input && wanted },
        }
    }

    /// How many streams there are.
    pub fn count(self) -> usize {
        match self {
            Self::Pipes { stdin } => 2 + usize::from(stdin),
            Self::Terminal { .. } => 1,
        }
    }
}

/// Whether a signal asks whoever gets it to end.
pub fn ends_a_process(signal: u8) -> bool {
    let signals = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
    signals.contains(&i32::from(signal))
}

/// How it ended, as the user is to see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The exit code.
    pub exit_code: u8,
    /// What to say on standard error, if anything.
    pub message: Option<String>,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// The process ended by itself: its output is waited for, however slow its reader.
    pub by_itself: bool,
}

/// The longest text of an [`Ending`], in bytes: a guest may have written it.
pub const MAX_TEXT_BYTES: usize = 8 * 1024;

impl Ending {
    /// An ending that fits a message, whatever its texts; by itself.
    pub fn new(exit_code: u8, message: Option<String>, hint: Option<String>) -> Self {
        let fit = |text: String| crate::error::shortened(&text, MAX_TEXT_BYTES);
        Self { exit_code, message: message.map(fit), hint: hint.map(fit), by_itself: true }
    }
}
