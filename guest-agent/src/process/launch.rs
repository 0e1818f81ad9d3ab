//! What passes between the agent and the process it re-executes itself as to start one process
//! ([`super::starter`]): one [`Launch`] in, [`Report`]s out, over one socket.
//!
//! ```text
//!   agent                                   starter                    the process itself
//!     │ ── Launch ─────────────────────────▶ │
//!     │                                      │ ── libcontainer makes it ──▶ │
//!     │ ◀───────────── Report::Terminal (with the terminal's master) ────── │
//!     │ ◀── Report::Created { pid } ──────── │ exits                        │
//!     │ ◀───────────── Report::Failed, or ──────────────────────────────── │
//!     │ ◀───────────── end of file: its program runs ────────────────────── │
//! ```
//!
//! The socket closes on exec in whoever holds it, so its end of file means that the program runs.

use crate::container::bundle::NamespaceKind;
use crate::container::user_namespace::IdRange;
use crate::error::setup_failure;
use crate::rootfs::RootfsPaths;
use crate::sys;
use protocol::frame::{self, Decoder, FrameError};
use protocol::{
    AppArmor, ContainerId, ContainerSpec, Failure, FailureKind, ProcessSpec, SeccompProfile,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio as Standard};
use std::sync::{Mutex, PoisonError};

/// The first argument of a starter.
pub const STARTER_WORD: &str = "start-process";

/// One process to start.
#[derive(Debug, Serialize, Deserialize)]
pub enum Launch {
    /// A container's init process, and the container with it.
    Container {
        /// The container.
        spec: Box<ContainerSpec>,
        /// Its root file system.
        rootfs: RootfsPaths,
        /// Open files of the namespaces it takes from other containers.
        joined: Vec<(NamespaceKind, i32)>,
        /// The ids of its user namespace, where it has one.
        range: Option<IdRange>,
    },
    /// A further process in a container.
    Exec {
        /// Which.
        container: ContainerId,
        /// The process.
        process: Box<ProcessSpec>,
        /// The container's filter.
        seccomp: Option<SeccompProfile>,
        /// The container's AppArmor profile.
        apparmor: AppArmor,
        /// Where in the container's cgroup its init process is.
        cgroup: Option<String>,
        /// The ids of the container's user namespace, where it has one.
        range: Option<IdRange>,
        /// The open file of that namespace.
        users: Option<i32>,
    },
    /// A process in the guest itself.
    Guest {
        /// Its cgroup.
        cgroup: String,
        /// The process.
        process: Box<ProcessSpec>,
    },
}

/// What becomes of a launch.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The process exists.
    Created {
        /// Its process id in the guest.
        pid: u32,
    },
    /// It has a terminal: its master comes with this.
    Terminal,
    /// It could not be started.
    Failed(Failure),
}

/// How a launch came out.
#[derive(Debug)]
pub struct Launched {
    /// The process, where it came to exist, even if it then failed.
    pub pid: Option<u32>,
    /// The master of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Why its program does not run.
    pub failure: Option<Failure>,
}

/// Why a launch could not be attempted or followed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No starter could be run.
    #[error("cannot run the starter")]
    Spawn(#[source] io::Error),
    /// It broke off.
    #[error("cannot talk to the starter")]
    Talk(#[source] io::Error),
    /// What it said, or was to be told, is no message.
    #[error("cannot exchange messages with the starter")]
    Frame(#[from] FrameError),
}

/// The three standard streams of a process.
#[derive(Debug)]
pub struct StandardFiles {
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// A starter that runs and waits to be told what to start.
#[derive(Debug)]
pub struct Starter {
    socket: UnixStream,
}

impl Starter {
    /// Runs a starter. `kept` are open files that it is to have under the same numbers.
    ///
    /// # Errors
    /// [`LaunchError::Spawn`].
    pub fn spawn(files: StandardFiles, kept: &[OwnedFd]) -> Result<Self, LaunchError> {
        // Descriptors are inherited between the clearing of their flag and the setting of it again:
        // no other spawn may come between.
        static SPAWNING: Mutex<()> = Mutex::new(());
        let (ours, theirs) = UnixStream::pair().map_err(LaunchError::Spawn)?;
        let _guard = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = OwnedFd::from(theirs);
        let inherit = |inherited: bool| {
            use rustix::io::{FdFlags, fcntl_setfd};
            let flags = if inherited { FdFlags::empty() } else { FdFlags::CLOEXEC };
            std::iter::once(&theirs).chain(kept).try_for_each(|file| fcntl_setfd(file, flags))
        };
        inherit(true).map_err(|errno| LaunchError::Spawn(errno.into()))?;
        let child = Command::new("/proc/self/exe")
            .arg0("cofferdam-agent")
            .arg(STARTER_WORD)
            .arg(theirs.as_raw_fd().to_string())
            .env_clear()
            .stdin(Standard::from(files.stdin))
            .stdout(Standard::from(files.stdout))
            .stderr(Standard::from(files.stderr))
            .spawn();
        inherit(false).map_err(|errno| LaunchError::Spawn(errno.into()))?;
        // It is the supervisor that waits for it, as for every child.
        child.map_err(LaunchError::Spawn)?;
        Ok(Self { socket: ours })
    }

    /// Tells the starter what to start.
    ///
    /// # Errors
    /// The launch is too long to tell, or the starter has gone.
    pub fn tell(mut self, launch: &Launch) -> Result<Told, LaunchError> {
        self.socket.write_all(&frame::encode(launch)?).map_err(LaunchError::Talk)?;
        self.socket.shutdown(std::net::Shutdown::Write).map_err(LaunchError::Talk)?;
        Ok(Told { socket: self.socket })
    }
}

/// A starter that knows what to start.
#[derive(Debug)]
pub struct Told {
    socket: UnixStream,
}

impl Told {
    /// Follows the starter until the program runs or cannot.
    pub fn follow(self) -> Launched {
        let mut launched = Launched { pid: None, terminal: None, failure: None };
        if let Err(error) = self.listen(&mut launched) {
            launched.failure = Some(setup_failure(&error));
        }
        if launched.pid.is_none() && launched.failure.is_none() {
            let message = "the process that starts it ended before it had".to_owned();
            launched.failure = Some(Failure { kind: FailureKind::Setup, message });
        }
        launched
    }

    fn listen(self, launched: &mut Launched) -> Result<(), LaunchError> {
        let mut decoder = Decoder::default();
        let mut buffer = [0; 4096];
        loop {
            let (count, file) =
                sys::receive_with_file(&self.socket, &mut buffer).map_err(LaunchError::Talk)?;
            if let Some(file) = file {
                launched.terminal = Some(file);
            }
            if count == 0 {
                return Ok(());
            }
            decoder.push(buffer.get(..count).unwrap_or_default());
            while let Some(report) = decoder.next()? {
                match report {
                    // None is no process: to kill(2) it would be a whole group.
                    Report::Created { pid } => launched.pid = Some(pid).filter(|&pid| pid != 0),
                    Report::Terminal => {}
                    Report::Failed(failure) => launched.failure = Some(failure),
                }
            }
        }
    }
}

/// The starter's side of the socket.
#[derive(Debug)]
pub struct Reports {
    socket: UnixStream,
}

impl Reports {
    /// Takes the socket over under the number the agent gave.
    ///
    /// # Errors
    /// There is no such socket.
    pub fn inherit(number: &str) -> io::Result<Self> {
        let number = number.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let fd = sys::inherited(number)?;
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Self { socket: UnixStream::from(fd) })
    }

    /// Reads what is to be started.
    ///
    /// # Errors
    /// No whole message came.
    pub fn read_launch(&self) -> Result<Launch, LaunchError> {
        use std::io::Read;
        let mut bytes = Vec::new();
        (&self.socket).read_to_end(&mut bytes).map_err(LaunchError::Talk)?;
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        let broken = || LaunchError::Talk(io::ErrorKind::UnexpectedEof.into());
        decoder.next()?.ok_or_else(broken)
    }

    /// Says what became of it. A report that nobody hears is no error: the agent has gone.
    pub fn send(&self, report: &Report) {
        if let Ok(bytes) = frame::encode(report) {
            let _ = (&self.socket).write_all(&bytes);
        }
    }

    /// Hands over the master of the process's terminal.
    ///
    /// # Errors
    /// It could not be sent.
    pub fn send_terminal(&self, master: &File) -> io::Result<()> {
        use std::os::fd::AsFd;
        let bytes = frame::encode(&Report::Terminal).map_err(io::Error::other)?;
        sys::send_with_file(&self.socket, &bytes, master.as_fd())
    }

    /// Says that it failed.
    pub fn send_failure(&self, failure: Failure) {
        self.send(&Report::Failed(failure));
    }

    /// Says that an error of the set-up ended it.
    pub fn send_error(&self, error: &dyn std::error::Error) {
        self.send_failure(setup_failure(error));
    }
}
