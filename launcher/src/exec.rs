//! `cofferdam exec` and `cofferdam top`: a further process in a sandbox that runs, with this process's terminal as its own.
//!
//! Owns: what is asked of the sandbox's supervisor. Never does: speak to a guest; what comes of it is heard as by `run`.

use crate::cli::exec::ExecArgs;
use crate::cli::stats::TopArgs;
use crate::control::RunningSandbox;
use crate::error::{Explain, Failure};
use crate::host::terminal_size;
use crate::plan::{DEFAULT_TERMINAL, working_directory};
use crate::session::signals::Signals;
use crate::session::{ControlRequest, Ending, ExecRequest, SupervisorMessage, terminal};
use std::path::Path;

/// Why there is no further process.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No command.
    #[error("no command: what is to run in the sandbox?")]
    NoCommand,
    /// A text that no argument can hold.
    #[error("{0} holds a null character")]
    Null(&'static str),
}

impl Explain for ExecError {}

/// Lists the processes of a sandbox's container. Gives the exit code.
pub fn top(args: &TopArgs) -> u8 {
    let listed = || followed(&args.state_dir, &args.sandbox, &ControlRequest::Tasks);
    crate::run::told(listed())
}

/// Runs a further process. Gives the exit code.
pub fn exec(args: &ExecArgs) -> u8 {
    crate::run::told(attached(args))
}

fn attached(args: &ExecArgs) -> Result<Ending, Failure> {
    let Some((wanted, command)) = args.words.split_first() else {
        return Err(ExecError::NoCommand.into());
    };
    let request = request(args, command)?;
    let how = if args.detach { left_alone } else { followed };
    how(&args.state_dir, wanted, &ControlRequest::Exec(request))
}

/// Has a process started that nobody waits for.
fn left_alone(state_dir: &Path, wanted: &str, request: &ControlRequest) -> Result<Ending, Failure> {
    let running = RunningSandbox::reach(state_dir, wanted)?;
    crate::jail::confine_launcher(false).map_err(Failure::plain)?;
    running.ask(request, &[])?;
    loop {
        match running.hear()?.0 {
            SupervisorMessage::Started => return Ok(Ending::new(0, None, None)),
            SupervisorMessage::Ended(ending) => return Ok(ending),
            _ => {}
        }
    }
}

/// Has a process started, and this process's streams for its own.
fn followed(state_dir: &Path, wanted: &str, request: &ControlRequest) -> Result<Ending, Failure> {
    let running = RunningSandbox::reach(state_dir, wanted)?;
    crate::jail::confine_launcher(false).map_err(Failure::plain)?;
    let signals = Signals::take().map_err(Failure::plain)?;
    running.ask(request, &[])?;
    let ending = terminal::attach(running.channel(), &signals, None);
    Ok(ending.map_err(|error| running.failed(error))?)
}

fn request(args: &ExecArgs, command: &[String]) -> Result<ExecRequest, ExecError> {
    let ExecArgs { workdir, user, .. } = args;
    if command.first().is_none_or(String::is_empty) {
        return Err(ExecError::NoCommand);
    }
    let has_null = |text: &String| text.contains('\0');
    if command.iter().chain(workdir).chain(user).chain(&args.env).any(has_null) {
        return Err(ExecError::Null("an argument"));
    }
    let variable = |typed: &String| match typed.contains('=') {
        true => Some(typed.clone()),
        false => std::env::var(typed).ok().map(|value| format!("{typed}={value}")),
    };
    Ok(ExecRequest {
        args: command.to_vec(),
        env: args.env.iter().filter_map(variable).collect(),
        cwd: workdir.as_deref().map(working_directory),
        user: user.clone(),
        terminal: args.tty.then(|| terminal_size().unwrap_or(DEFAULT_TERMINAL)),
        interactive: args.interactive,
        detached: args.detach,
    })
}
