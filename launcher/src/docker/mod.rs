//! `cofferdam docker`: a Docker daemon in a sandbox of its own, and commands here that use it.
//!
//! Owns: the order of what is done, and its exit code. Never does: speak Docker's language, but to ask whether the daemon is
//! there.
//!
//! ```text
//!   cofferdam docker -- CMD          cofferdam run --keeper=bound …           the VM
//!      │ starts ─────────────────────▶ supervisor ──────────────────────▶ dockerd, in a privileged container
//!      │ GET /_ping ──▶ sockets/docker.sock ──▶ vsock ──▶ the gate ──▶ /var/run/docker.sock
//!      │ CMD, with DOCKER_HOST ──▶ the same way
//!      │ CMD's end: lets go of it ───▶ ends with whoever has started it, however that ends
//! ```

mod command;
mod daemon;

use crate::cli::docker::{DaemonArgs, DockerArgs, DockerCommand, NamedArgs, ShellArgs, StartArgs};
use crate::cli::stop::StopArgs;
use crate::command::print;
use crate::error::{Explain, Failure, report, say};
use crate::exit_code::LAUNCHER;
use crate::jail::orphans;
use crate::state::{Record, Sandboxes, StateError, Status};
use daemon::{Daemon, SOCKET};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What `docker status` ends with where there is nobody.
const NOT_RUNNING: u8 = 1;

/// Why there is no Docker daemon to be used.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No image came with this program.
    #[error("no image with a Docker daemon lies beside this program")]
    NoImage,
    /// Nothing is to be run.
    #[error("there is no command to run")]
    NoCommand,
    /// It said nothing.
    #[error("the Docker daemon did not answer within {0} s")]
    Silent(u64),
    /// Its sandbox is gone.
    #[error("the Docker daemon ended before it answered")]
    Ended,
    /// There is none of this name.
    #[error("no Docker daemon called {0:?} runs")]
    NotRunning(String),
    /// This directory's path has both characters that mean something in a mount's words.
    #[error("{0} cannot be shared: its path holds a colon and a comma")]
    Unsharable(PathBuf),
}

impl Explain for DockerError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoImage => {
                "name one with --image, as in --image docker:dind; make docker-image makes ours"
            }
            Self::NoCommand => "write it after two hyphens: cofferdam docker -- docker version",
            Self::Silent(_) => "give it more time with --start-timeout",
            Self::Ended => return None,
            Self::NotRunning(_) => "cofferdam docker start starts one that stays",
            Self::Unsharable(_) => "add --no-share, or work in another directory",
        };
        Some(hint.to_owned())
    }
}

/// The command, from its arguments to its exit code.
pub fn main(args: &DockerArgs) -> u8 {
    let done = match &args.command {
        None => run(&args.daemon, &args.words),
        Some(DockerCommand::Start(args)) => start(args),
        Some(DockerCommand::Stop(args)) => stop(args),
        Some(DockerCommand::Status(args)) => status(args),
        Some(DockerCommand::Shell(args)) => shell(args),
    };
    done.unwrap_or_else(|failure| {
        report(&failure);
        failure.exit_code()
    })
}

/// Runs a command here with a daemon that is there for it alone.
fn run(args: &DaemonArgs, words: &[OsString]) -> Result<u8, Failure> {
    let Some((program, rest)) = words.split_first() else {
        return Err(DockerError::NoCommand.into());
    };
    let Some(mut daemon) = Daemon::start(args, None)? else { return Ok(LAUNCHER) };
    let code = daemon.answers().and_then(|()| command::run(program, rest, daemon.socket()));
    if code.is_ok() && daemon.has_ended() {
        say("the Docker daemon's sandbox ended before the command did");
    }
    daemon.end();
    code
}

/// Starts one that stays.
fn start(args: &StartArgs) -> Result<u8, Failure> {
    let name = args.name.as_str();
    if let Some(socket) = running(&args.daemon.state_dir, name)? {
        print(&exported(&socket))?;
        return Ok(0);
    }
    let Some(mut daemon) = Daemon::start(&args.daemon, Some(name))? else { return Ok(LAUNCHER) };
    if let Err(failure) = daemon.answers() {
        daemon.end();
        return Err(failure);
    }
    print(&exported(daemon.socket()))?;
    Ok(if orphans::are_ours_to_reap() { daemon.outlive() } else { 0 })
}

fn stop(args: &NamedArgs) -> Result<u8, Failure> {
    if running(&args.state_dir, &args.name)?.is_none() {
        return Err(DockerError::NotRunning(args.name.clone()).into());
    }
    let state_dir = args.state_dir.clone();
    crate::stop::stop(&StopArgs {
        signal: None,
        time: None,
        sandboxes: vec![args.name.clone()],
        state_dir,
    })?;
    Ok(0)
}

fn status(args: &NamedArgs) -> Result<u8, Failure> {
    let Some(socket) = running(&args.state_dir, &args.name)? else {
        print("not running\n")?;
        return Ok(NOT_RUNNING);
    };
    let answers = daemon::answers(&socket);
    print(&format!(
        "running, {}\nDOCKER_HOST={}\n",
        if answers { "answers" } else { "does not answer" },
        command::host(&socket).to_string_lossy()
    ))?;
    Ok(if answers { 0 } else { NOT_RUNNING })
}

/// Runs a shell, or a command, with one that is there.
fn shell(args: &ShellArgs) -> Result<u8, Failure> {
    let NamedArgs { name, state_dir } = &args.named;
    let socket = running(state_dir, name)?;
    let socket = socket.ok_or_else(|| DockerError::NotRunning(name.clone()))?;
    let shell = std::env::var_os("SHELL").filter(|it| !it.is_empty());
    let shell = [shell.unwrap_or_else(|| "/bin/sh".into())];
    let words = if args.words.is_empty() { &shell[..] } else { &args.words };
    let (program, rest) = words.split_first().ok_or(DockerError::NoCommand)?;
    command::run(program, rest, &socket)
}

/// The socket that leads to the daemon of this name; `None` where none runs.
fn running(state_dir: &Path, name: &str) -> Result<Option<PathBuf>, Failure> {
    let sandboxes = Sandboxes::open(state_dir)?;
    crate::sandboxes::sweep(&sandboxes)?;
    match sandboxes.record_of(name) {
        Ok(record) => Ok(socket(&record)),
        Err(StateError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The socket of a sandbox that leads to a Docker daemon.
fn socket(record: &Record) -> Option<PathBuf> {
    let published = record.sockets.iter().find(|it| it.inside == SOCKET);
    published.filter(|_| record.status == Status::Running).map(|it| it.outside.clone())
}

/// What a shell is to evaluate.
fn exported(socket: &Path) -> String {
    let quoted = command::host(socket).to_string_lossy().replace('\'', "'\\''");
    format!("export DOCKER_HOST='{quoted}'\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_it_as_it_is() {
        let text = exported(Path::new("/it's/docker.sock"));
        assert_eq!(text, "export DOCKER_HOST='unix:///it'\\''s/docker.sock'\n");
    }
}
