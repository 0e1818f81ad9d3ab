//! `--init`: a tiny PID 1 for containers whose program is none, as Docker's docker-init.
//!
//! The agent's own program, executed from an open file, so that nothing of it stands in the
//! container. Hands signals on to its child, reaps whatever ends, and ends as its child did.

use crate::sys;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// The name under which the reaper runs, and is recognised.
pub const REAPER_NAME: &str = "/sbin/docker-init";

/// The reaper's arguments: the child it stands for, then what that child runs, to be seen in ps.
pub fn arguments(child: libc::pid_t, program: &[String]) -> Vec<CString> {
    let child = child.to_string();
    let words = [REAPER_NAME, child.as_str(), "--"].into_iter();
    let all = words.chain(program.iter().map(String::as_str));
    all.filter_map(|word| CString::new(word).ok()).collect()
}

/// In the child: a process group of its own, in the foreground of the terminal if there is one. Goes on once its parent
/// has become the reaper, when `became` is at its end: until then it stands outside the AppArmor profile, from within which
/// nobody may send it a signal.
pub fn become_child(became: &OwnedFd) {
    let stdin = rustix::stdio::stdin();
    if rustix::process::setpgid(None, None).is_ok() && rustix::termios::isatty(stdin) {
        // A background process that takes the foreground is stopped by SIGTTOU unless it is blocked.
        let _ = sys::set_signal_mask(true);
        let _ = rustix::termios::tcsetpgrp(stdin, rustix::process::getpid());
        let _ = sys::set_signal_mask(false);
    }
    while rustix::io::read(became, &mut [0; 1]) == Err(rustix::io::Errno::INTR) {}
}

/// Runs the reaper for the child that `word` names, and ends as it ends.
pub fn run(word: Option<&str>) -> ! {
    let child = word.and_then(|word| word.parse().ok()).and_then(Pid::from_raw);
    let Some(child) = child else { sys::exit_now(127) };
    let _ = sys::set_signal_mask(true);
    loop {
        if let Some(status) = reap(child) {
            let code = status.exit_status().or(status.terminating_signal().map(|n| n + 128));
            sys::exit_now(code.unwrap_or(127));
        }
        let number = sys::wait_for_signal();
        if number != libc::SIGCHLD {
            forward(child, number);
        }
    }
}

/// Reaps all that have ended; the child's own status where it is among them.
fn reap(child: Pid) -> Option<WaitStatus> {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == child {
            return Some(status);
        }
    }
    None
}

fn forward(child: Pid, number: libc::c_int) {
    sys::kill(child.as_raw_nonzero().get(), number);
}
