//! The command that is run here, with the way to a Docker daemon in its environment.
//!
//! Owns: that environment, and its end. Never does: read what it says.

use super::daemon::SOCKET;
use crate::child_end;
use crate::error::{Explain, Failure};
use crate::exit_code::FailureClass;
use crate::jail::orphans::Ours;
use rustix::process::Signal;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::Command;

/// What would lead a client elsewhere, or have it ask for TLS.
const MISLEADING: [&str; 4] =
    ["DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"];

/// What testcontainers guesses wrongly in a container: where ports are published, and the socket's path where the daemon is.
const FOR_TESTCONTAINERS: [(&str, &str); 2] = [
    ("TESTCONTAINERS_HOST_OVERRIDE", "localhost"),
    ("TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE", SOCKET),
];

/// It cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {}", .program.to_string_lossy())]
struct CommandError {
    program: OsString,
    source: io::Error,
}

impl Explain for CommandError {
    fn class(&self) -> FailureClass {
        match self.source.kind() {
            io::ErrorKind::NotFound => FailureClass::NotFound,
            _ => FailureClass::CannotInvoke,
        }
    }
}

/// Where a client finds the daemon.
pub fn host(socket: &Path) -> OsString {
    let mut host = OsString::from("unix://");
    host.push(socket);
    host
}

/// Runs it to its end; gives its exit code.
///
/// # Errors
/// Where it cannot be run.
pub fn run(program: &OsStr, words: &[OsString], socket: &Path) -> Result<u8, Failure> {
    let mut command = Command::new(program);
    command.args(words).env("DOCKER_HOST", host(socket));
    for name in MISLEADING {
        command.env_remove(name);
    }
    for (name, value) in FOR_TESTCONTAINERS {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let (mut process, _ours) = Ours::start(&mut command)
        .map_err(|source| CommandError { program: program.to_owned(), source })?;
    // What the terminal sends, it is sent as well.
    let next = |signals: &crate::session::signals::Signals| {
        signals.next_sent().and_then(|number| Signal::from_named_raw(number.into()))
    };
    Ok(child_end::wait_passing_on(&mut process, next))
}
