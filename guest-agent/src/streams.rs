//! The standard streams of one process: pipes or a terminal, their connections, their relays.
//!
//! Each step consumes the one before: made ([`Streams`]), connected ([`Near`]), relayed
//! ([`Relays`]). Never looks at what passes; that is [`crate::stdio`].

use crate::error::{OsError, Tried};
use crate::process::launch::StandardFiles;
use crate::stdio::{Ended, relay_input, relay_output, spawn};
use crate::sys;
use protocol::Stdio;
use protocol::port::HOST_CID;
use rustix::fs::{Mode, OFlags};
use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

const NULL: &str = "/dev/null";

/// Opens /dev/null: once, before a container that has every device could put something else there.
///
/// # Errors
/// What open(2) says.
pub fn open_null() -> Result<OwnedFd, OsError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(NULL, flags, Mode::empty()).tried("open", NULL)
}

/// The agent's ends of the streams, not connected yet.
#[derive(Debug)]
pub enum Streams {
    /// Pipes, each with the port of its connection.
    Pipes {
        /// The writing end of standard input.
        stdin: Option<(OwnedFd, u32)>,
        /// The reading ends of standard output and standard error.
        outputs: [(OwnedFd, u32); 2],
    },
    /// A terminal, which the process makes itself.
    Terminal {
        /// The port of its connection.
        port: u32,
        /// Whether bytes are accepted from it.
        input: bool,
    },
    /// None.
    Nothing,
}

impl Streams {
    /// Makes the streams, and what the process gets of them. `null` is /dev/null.
    ///
    /// # Errors
    /// There are no more pipes to be had.
    pub fn new(stdio: Stdio, null: &OwnedFd) -> Result<(Self, StandardFiles), OsError> {
        let null = || null.try_clone().tried("duplicate", NULL);
        match stdio {
            Stdio::Terminal { port, input, .. } => {
                let files = StandardFiles { stdin: null()?, stdout: null()?, stderr: null()? };
                Ok((Self::Terminal { port, input }, files))
            }
            Stdio::Nothing => {
                let files = StandardFiles { stdin: null()?, stdout: null()?, stderr: null()? };
                Ok((Self::Nothing, files))
            }
            Stdio::Pipes { stdin_port, stdout_port, stderr_port } => {
                let (stdout_reader, stdout) = new_pipe()?;
                let (stderr_reader, stderr) = new_pipe()?;
                let (stdin, writer) = match stdin_port {
                    None => (null()?, None),
                    Some(port) => {
                        let (reader, writer) = new_pipe()?;
                        (reader, Some((writer, port)))
                    }
                };
                let outputs = [(stdout_reader, stdout_port), (stderr_reader, stderr_port)];
                let files = StandardFiles { stdin, stdout, stderr };
                Ok((Self::Pipes { stdin: writer, outputs }, files))
            }
        }
    }

    /// Opens the connections.
    ///
    /// # Errors
    /// The launcher does not offer one of the ports.
    pub fn connect(self) -> Result<Near, OsError> {
        let open = |port: u32| sys::connect_vsock(HOST_CID, port).tried("connect to port", port);
        Ok(match self {
            Self::Nothing => Near::Nothing,
            Self::Terminal { port, input } => Near::Terminal { connection: open(port)?, input },
            Self::Pipes { stdin, outputs: [(stdout, stdout_port), (stderr, stderr_port)] } => {
                let stdin = match stdin {
                    Some((pipe, port)) => Some((pipe, open(port)?)),
                    None => None,
                };
                let outputs = [(stdout, open(stdout_port)?), (stderr, open(stderr_port)?)];
                Near::Pipes { stdin, outputs }
            }
        })
    }
}

/// The agent's ends of the streams, each with its connection.
#[derive(Debug)]
pub enum Near {
    /// Pipes.
    Pipes {
        /// The writing end of standard input.
        stdin: Option<(OwnedFd, OwnedFd)>,
        /// The reading ends of standard output and standard error.
        outputs: [(OwnedFd, OwnedFd); 2],
    },
    /// A terminal.
    Terminal {
        /// Its connection.
        connection: OwnedFd,
        /// Whether bytes are accepted from it.
        input: bool,
    },
    /// None.
    Nothing,
}

impl Near {
    /// Starts the relays. `terminal` is the master of the process's terminal, where it has one.
    ///
    /// # Errors
    /// A thread cannot be made.
    pub fn relay(self, terminal: Option<Arc<OwnedFd>>) -> Result<Relays, OsError> {
        const RELAY: &str = "a relay";
        let ended = Ended::new().tried("make", "an event")?;
        let mut outputs = Vec::new();
        let mut slave = None;
        match (self, terminal) {
            (Self::Pipes { stdin, outputs: pipes }, _) => {
                for (pipe, connection) in pipes {
                    let ended = Arc::clone(&ended);
                    let relay = move || relay_output(&pipe, &connection, &ended);
                    outputs.push(spawn("output", relay).tried("start", RELAY)?);
                }
                if let Some((pipe, connection)) = stdin {
                    let ended = Arc::clone(&ended);
                    let relay = move || relay_input(&connection, &pipe, &ended, Shutdown::Both);
                    spawn("input", relay).tried("start", RELAY)?;
                }
            }
            (Self::Terminal { connection, input }, Some(master)) => {
                slave = Some(crate::terminal::open_slave(&master)?);
                let connection = Arc::new(connection);
                let (from, to, end) =
                    (Arc::clone(&master), Arc::clone(&connection), Arc::clone(&ended));
                let relay = move || relay_output(&from, &to, &end);
                outputs.push(spawn("output", relay).tried("start", RELAY)?);
                if input {
                    let ended = Arc::clone(&ended);
                    let relay = move || relay_input(&connection, &master, &ended, Shutdown::Read);
                    spawn("input", relay).tried("start", RELAY)?;
                }
            }
            // The process ended before it had made its terminal.
            (Self::Terminal { .. }, None) | (Self::Nothing, _) => {}
        }
        Ok(Relays { ended, outputs, slave })
    }
}

/// The relays at work.
#[derive(Debug)]
pub struct Relays {
    ended: Arc<Ended>,
    outputs: Vec<JoinHandle<()>>,
    /// Held while the process lives: a terminal that nobody has open for a moment is not at its end.
    slave: Option<OwnedFd>,
}

impl Relays {
    /// The process has ended: waits until all its output has been given on.
    pub fn finish(self) {
        drop(self.slave);
        self.ended.tell();
        for output in self.outputs {
            // A relay that panicked has no more to give.
            let _ = output.join();
        }
    }
}

fn new_pipe() -> Result<(OwnedFd, OwnedFd), OsError> {
    pipe_with(PipeFlags::CLOEXEC).tried("make", "a pipe")
}
