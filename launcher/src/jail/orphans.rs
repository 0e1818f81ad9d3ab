//! Which children are ours, and the reaping of all others.
//!
//! As PID 1 of the outer container the launcher is given every orphan there. Its own children are reaped
//! by who holds them ([`super::Child`]), who wants to know how they ended.

use rustix::process::{Pid, WaitOptions};
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

static OURS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A child that is not to be reaped as an orphan, until this is dropped.
#[derive(Debug)]
pub(crate) struct Ours(Pid);

impl Ours {
    /// Starts a child of ours.
    pub(crate) fn start(command: &mut Command) -> io::Result<(Child, Self)> {
        // Held over the start: one that ends before it is known here would be taken for an orphan.
        let mut ours = known();
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        ours.push(pid);
        Ok((child, Self(pid)))
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        known().retain(|pid| *pid != self.0);
    }
}

/// The children that are ours.
#[cfg(feature = "trial")]
pub(super) fn children() -> Vec<Pid> {
    known().clone()
}

/// Whether orphans come to this process.
pub fn are_ours_to_reap() -> bool {
    rustix::process::getpid().is_init()
}

/// Reaps the orphans that have ended. Behind an ended child of ours they wait for the next call.
pub fn reap() {
    let ours = known();
    while let Some(pid) = crate::sys::ended_child().filter(|pid| !ours.contains(pid)) {
        // Fails only where it is gone.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

fn known() -> MutexGuard<'static, Vec<Pid>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}
