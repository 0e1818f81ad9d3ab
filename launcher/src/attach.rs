//! `cofferdam attach`: this process's terminal for the first process of a detached sandbox, as long as it is wanted.
//!
//! Owns: what is asked of the sandbox's supervisor. Never does: speak to a guest; what comes of it is heard as by `run`.

use crate::cli::logs::AttachArgs;
use crate::control::RunningSandbox;
use crate::error::Failure;
use crate::session::keys::DetachKeys;
use crate::session::signals::Signals;
use crate::session::{ControlRequest, Ending, terminal};

/// Attaches to a sandbox. Gives the exit code.
pub fn attach(args: &AttachArgs) -> u8 {
    crate::run::told(attached(args))
}

fn attached(args: &AttachArgs) -> Result<Ending, Failure> {
    let keys = DetachKeys::parse(&args.detach_keys).map_err(Failure::plain)?;
    let running = RunningSandbox::reach(&args.state_dir, &args.sandbox)?;
    crate::jail::confine_launcher(false).map_err(Failure::plain)?;
    let signals = if args.sig_proxy { Signals::take() } else { Signals::of_the_terminal() };
    let signals = signals.map_err(Failure::plain)?;
    running.ask(&ControlRequest::Attach { input: !args.no_stdin }, &[])?;
    let ending = terminal::attach(running.channel(), &signals, keys);
    Ok(ending.map_err(|error| running.failed(error))?)
}
