//! One sandbox's record: a small versioned JSON file, replaced whole.

use super::{StateError, at, document};
use network::config::Publication;
use protocol::ContainerId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "record.json";
const VERSION: u32 = 1;
/// What whoever was killed ends with.
const KILLED: u8 = 137;
/// A record is a few hundred bytes, and as long as its command, of at most a mebibyte, makes it in JSON.
const MAX_RECORD_BYTES: u64 = 16 * 1024 * 1024;

/// What is known of a sandbox from outside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// Its identifier, which is also its first container's.
    pub id: ContainerId,
    /// The name the user gave it.
    pub name: Option<String>,
    /// When it was made: milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When its container was started the last time, likewise.
    #[serde(default)]
    pub started_ms: Option<u64>,
    /// When it ended, likewise.
    #[serde(default)]
    pub ended_ms: Option<u64>,
    /// The image reference, as typed.
    pub image: String,
    /// The command that runs in it.
    pub command: Vec<String>,
    /// Where it is in its life.
    pub status: Status,
    /// What was wrong where that was not its container's own end.
    #[serde(default)]
    pub error: Option<String>,
    /// Somebody has asked for its end.
    #[serde(default)]
    pub stopped: bool,
    /// Its containers stand still.
    #[serde(default)]
    pub paused: bool,
    /// Whether it is well, where that is asked.
    #[serde(default)]
    pub health: Option<Health>,
    /// It outlives a kill of its supervisor, as one that has ended so.
    #[serde(default)]
    pub lasting: bool,
    /// The ports of this place that lead to its own, while it runs.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// The sockets of this place that lead to its container's, while it runs.
    #[serde(default)]
    pub sockets: Vec<PublishedSocket>,
}

/// A Unix socket of this place that leads to one of a container's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedSocket {
    /// The container's.
    pub inside: String,
    /// Where it is in this place.
    pub outside: PathBuf,
}

/// A port of this place that leads to one of a sandbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The sandbox's port.
    pub inside: u16,
    /// Its transport.
    pub transport: Transport,
    /// Where it is in this place.
    pub outside: SocketAddr,
}

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        })
    }
}

impl From<network::config::Transport> for Transport {
    fn from(transport: network::config::Transport) -> Self {
        match transport {
            network::config::Transport::Tcp => Transport::Tcp,
            network::config::Transport::Udp => Transport::Udp,
        }
    }
}

impl From<Publication> for PublishedPort {
    fn from(Publication { outside, inside, transport }: Publication) -> Self {
        Self { inside, transport: transport.into(), outside }
    }
}

/// Whether a container is well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is known.
    pub status: HealthStatus,
    /// How many checks in a row have failed.
    pub failures: u32,
}

/// What is known of whether a container is well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Nothing yet.
    #[default]
    Starting,
    /// It is.
    Healthy,
    /// It is not.
    Unhealthy,
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        })
    }
}

/// Where a sandbox is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum Status {
    /// Its supervisor lives, or was killed.
    Running,
    /// It ended in order.
    Exited {
        /// The exit code of the run.
        exit_code: u8,
    },
}

impl Status {
    /// Whether nothing more happens to the sandbox by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Status::Exited { .. })
    }
}

/// Now, in milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Record {
    /// The record of a sandbox that begins now, under this process.
    pub fn new(id: ContainerId, name: Option<String>, image: String, command: Vec<String>) -> Self {
        Self {
            version: VERSION,
            id,
            name,
            created_ms: now_ms(),
            started_ms: None,
            ended_ms: None,
            image,
            command,
            status: Status::Running,
            error: None,
            stopped: false,
            paused: false,
            health: None,
            lasting: false,
            ports: Vec::new(),
            sockets: Vec::new(),
        }
    }

    /// The same, which outlives a kill.
    #[must_use]
    pub fn that_lasts(self, lasting: bool) -> Self {
        Self { lasting, ..self }
    }

    /// The same, as a kill of its supervisor has left it.
    pub(super) fn killed(self) -> Self {
        let error = Some("its cofferdam was killed".to_owned());
        let status = Status::Exited { exit_code: KILLED };
        let (ports, sockets) = (Vec::new(), Vec::new());
        Self { status, error, paused: false, health: None, ports, sockets, ..self }
    }

    /// The same, of one that is started again: it is in the background now, whatever it was.
    pub(super) fn once_more(self) -> Self {
        let (started_ms, ended_ms) = (None, None);
        let status = Status::Running;
        Self { status, error: None, stopped: false, lasting: true, started_ms, ended_ms, ..self }
    }

    /// The same, with these ports published.
    #[must_use]
    pub fn with_ports(self, ports: Vec<PublishedPort>) -> Self {
        Self { ports, ..self }
    }

    /// The same, with these sockets published.
    #[must_use]
    pub fn with_sockets(self, sockets: Vec<PublishedSocket>) -> Self {
        Self { sockets, ..self }
    }

    pub(super) fn read(directory: &Path) -> Result<Self, StateError> {
        let path = directory.join(FILE_NAME);
        let record: Self = document(&path, MAX_RECORD_BYTES)?;
        if record.version != VERSION {
            let source = serde::de::Error::custom(format!("version {}", record.version));
            return Err(StateError::Record { path, source });
        }
        // Whoever asks for a sandbox means the directory: a record speaks for no other.
        if directory.file_name() != Some(record.id.as_str().as_ref()) {
            let source = serde::de::Error::custom(format!("it is of sandbox {}", record.id));
            return Err(StateError::Record { path, source });
        }
        Ok(record)
    }

    /// Writes it beside the old one, then puts it in its place: a reader sees one or the other.
    pub(super) fn write(&self, directory: &Path) -> Result<(), StateError> {
        let (path, new) = (directory.join(FILE_NAME), directory.join("record.json.new"));
        let json = serde_json::to_vec_pretty(self)
            .map_err(|source| StateError::Record { path: path.clone(), source })?;
        // One that is there is a killed process's, or leads elsewhere: nothing is written through it.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("remove", &new)(error));
            }
            _ => {}
        }
        let mut file = File::create_new(&new).map_err(at("make", &new))?;
        file.write_all(&json).map_err(at("write", &new))?;
        std::fs::rename(&new, &path).map_err(at("replace", &path))
    }
}
