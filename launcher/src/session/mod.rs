//! The terminal side of a sandbox and its supervisor speak over a socket, even in one process, so
//! that detaching and attaching are no second way.
//!
//! Owns: what they say. Never does: anything with a stream's bytes, which flow past it: the streams'
//! ends themselves are handed to the terminal side.
//!
//! ```text
//!   terminal side                          supervisor
//!      │ ◀──────── Streams + open files ─────── │   before the machine boots
//!      │ ◀──────── Started ──────────────────── │
//!      │ ───────── Signal, Resize ────────────▶ │
//!      │ ───────── OutputEnded ───────────────▶ │   before that, the machine holds bytes that are wanted
//!      │ ◀──────── Ended ────────────────────── │   the last message
//! ```

pub mod relay;
pub mod signals;
pub mod terminal;

use network::Counts;
use protocol::{ContainerSpec, TerminalSize, Usage};
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
    /// Something is to be copied: the archive is on standard output, or expected on standard input.
    Copy(CopyRequest),
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
}

/// From the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorMessage {
    /// The streams, as open files beside the message, in the order of the kind.
    Streams(StreamKind),
    /// The process runs.
    Started,
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
