//! `cofferdam stop`, `pause`, `unpause`, `kill` and `wait`, and what `rm --force` takes: how a sandbox is ended from outside.
//!
//! Owns: asking for it, and waiting. Never does: end one itself, but where its supervisor does not answer.

use crate::cli::ps::RenameArgs;
use crate::cli::stop::{KillArgs, StartArgs, StopArgs, WaitArgs};
use crate::control::{ControlError, RunningSandbox};
use crate::error::{Explain, Failure, say};
use crate::plan::names;
use crate::plan::signal::{self, KILL, SIGNAL_HINT, SignalError};
use crate::session::{ControlRequest, Ending, Patience, SupervisorMessage};
use crate::state::{Sandboxes, Status};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// How long a supervisor has to end what was killed, before it is killed itself.
const KILLED_PATIENCE: Duration = Duration::from_secs(15);

impl Explain for SignalError {
    fn hint(&self) -> Option<String> {
        Some(SIGNAL_HINT.to_owned())
    }
}

/// Stops sandboxes, one after the other; gives what to print on standard output.
///
/// # Errors
/// At the first that cannot be asked.
pub fn stop(args: &StopArgs) -> Result<String, Failure> {
    let signal = args.signal.as_deref().map(signal::parse).transpose()?;
    let patience = match args.time {
        None => Patience::Own,
        Some(seconds) => u64::try_from(seconds).map_or(Patience::ForEver, Patience::Seconds),
    };
    each(&args.sandboxes, |wanted| {
        match running(&args.state_dir, wanted)? {
            Some(running) => {
                running.ask(&ControlRequest::Stop { signal, patience }, &[])?;
                ending(&running)?;
            }
            // It has ended already: it stays so.
            None => Sandboxes::open(&args.state_dir)?.stays_stopped(wanted)?,
        }
        Ok(wanted.to_owned())
    })
}

/// Sends a signal to the first process of each sandbox; gives what to print on standard output.
///
/// # Errors
/// At the first that does not run.
pub fn kill(args: &KillArgs) -> Result<String, Failure> {
    let signal = signal::parse(&args.signal)?;
    each(&args.sandboxes, |wanted| {
        let running = RunningSandbox::reach(&args.state_dir, wanted)?;
        done(&running, &ControlRequest::Signal(signal), &format!("cannot kill {wanted}"))?;
        Ok(wanted.to_owned())
    })
}

/// Has all processes of each sandbox stand still, or go on; gives what to print on standard output.
///
/// # Errors
/// At the first that does not run, or is so already.
pub fn pause(args: &StartArgs, wanted: bool) -> Result<String, Failure> {
    let action = if wanted { "pause" } else { "unpause" };
    each(&args.sandboxes, |sandbox| {
        let running = RunningSandbox::reach(&args.state_dir, sandbox)?;
        done(&running, &ControlRequest::Pause(wanted), &format!("cannot {action} {sandbox}"))?;
        Ok(sandbox.to_owned())
    })
}

/// Gives a sandbox another name.
///
/// # Errors
/// Where it is none, or taken; or there is no such sandbox.
pub fn rename(args: &RenameArgs) -> Result<String, Failure> {
    let name = names::renamed(&args.name)?;
    let free = Sandboxes::open(&args.state_dir)?.free_name(&args.sandbox, name)?;
    match running(&args.state_dir, free.id().as_str())? {
        Some(running) => {
            let request = ControlRequest::Rename(free.name().to_owned());
            done(&running, &request, &format!("cannot rename {}", args.sandbox))?;
        }
        None => free.give()?,
    }
    Ok(String::new())
}

/// Asks for what is done at once.
///
/// # Errors
/// Where it is not.
pub fn done(
    running: &RunningSandbox,
    request: &ControlRequest,
    tried: &str,
) -> Result<(), Failure> {
    running.ask(request, &[])?;
    match running.hear()? {
        (SupervisorMessage::Ended(Ending { message: Some(words), .. }), _) => {
            Err(Failure::plain(words).with_context(tried))
        }
        _ => Ok(()),
    }
}

/// Waits for the end of each sandbox; gives their exit codes, to be printed on standard output.
///
/// # Errors
/// At the first that there is not.
pub fn wait(args: &WaitArgs) -> Result<String, Failure> {
    each(&args.sandboxes, |wanted| {
        let code = match running(&args.state_dir, wanted)? {
            Some(running) => {
                running.ask(&ControlRequest::Wait, &[])?;
                ending(&running)?.exit_code
            }
            None => match Sandboxes::open(&args.state_dir)?.record_of(wanted)?.status {
                Status::Exited { exit_code } => exit_code,
                Status::Running => return Err(lost(wanted)),
            },
        };
        Ok(code.to_string())
    })
}

/// Ends a sandbox at once, if it runs, whatever its supervisor does.
///
/// # Errors
/// Where there is no such sandbox, or it cannot be ended.
pub fn end_now(state_dir: &Path, wanted: &str) -> Result<(), Failure> {
    let Some(running) = running(state_dir, wanted)? else { return Ok(()) };
    let request = ControlRequest::Stop { signal: Some(KILL), patience: Patience::Seconds(0) };
    let asked = running.ask(&request, &[]);
    if asked.is_ok() && running.ends_within(KILLED_PATIENCE) {
        return Ok(());
    }
    say(&format!("the supervisor of {wanted} does not answer: it is killed"));
    let pid = running.supervisor().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let pid =
        pid.ok_or_else(|| ControlError::Silent(running.id().clone(), KILLED_PATIENCE.as_secs()))?;
    let killed = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .and_then(|process| rustix::process::pidfd_send_signal(process, Signal::KILL));
    killed.map_err(|errno| {
        Failure::plain(errno).with_context(format!("cannot kill process {pid}"))
    })?;
    running.ends_within(KILLED_PATIENCE);
    Ok(())
}

/// The sandbox, if it runs.
fn running(state_dir: &Path, wanted: &str) -> Result<Option<RunningSandbox>, Failure> {
    Ok(RunningSandbox::if_running(state_dir, wanted)?)
}

/// How it ended. Waits until that is recorded, and its supervisor gone.
fn ending(running: &RunningSandbox) -> Result<Ending, Failure> {
    loop {
        if let (SupervisorMessage::Ended(ending), _) = running.hear()? {
            while running.hear::<SupervisorMessage>().is_ok() {}
            return Ok(ending);
        }
    }
}

fn lost(wanted: &str) -> Failure {
    Failure::plain(format!("sandbox {wanted} was lost: its cofferdam is gone"))
}

fn each(
    wanted: &[String],
    mut each: impl FnMut(&str) -> Result<String, Failure>,
) -> Result<String, Failure> {
    let mut lines = String::new();
    for wanted in wanted {
        let _ = writeln!(lines, "{}", each(wanted)?);
    }
    Ok(lines)
}
