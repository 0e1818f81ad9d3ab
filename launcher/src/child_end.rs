//! Waiting for a child with whose end this process ends, too.
//!
//! Owns: what is passed on to it until then, and its exit code as a shell has it. Never does: start it.

use crate::exit_code::LAUNCHER;
use crate::session::signals::Signals;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;

/// Waits for its end, passing on what `next` makes of each signal that comes; gives its exit code.
pub fn wait_passing_on(process: &mut Child, next: impl Fn(&Signals) -> Option<Signal>) -> u8 {
    let watched =
        || Ok((Signals::take()?, pidfd_open(Pid::from_child(process), PidfdFlags::empty())?));
    let watched: rustix::io::Result<_> = watched();
    let Ok((signals, pidfd)) = watched else { return wait(process) };
    loop {
        let mut fds = [PollFd::new(&signals, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
        let _ = poll(&mut fds, None);
        let [signal, ended] = fds.map(|fd| !fd.revents().is_empty());
        if signal && let Some(signal) = next(&signals) {
            // Fails only where it has ended.
            let _ = pidfd_send_signal(&pidfd, signal);
        }
        if ended {
            return wait(process);
        }
    }
}

/// Waits for its end; gives its exit code.
pub fn wait(process: &mut Child) -> u8 {
    let Ok(status) = process.wait() else { return LAUNCHER };
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(LAUNCHER)
}
