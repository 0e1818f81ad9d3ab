//! The children of PID 1: who they are, that every one is reaped, and that a signal reaches only a
//! process that is still the one meant.
//!
//! One thread waits for all children. A process id stays taken until it is reaped, and reaping and
//! signalling happen under one lock, so that a signal cannot go to a process that has the number
//! now but had not when the signal was asked for.

use crate::sys::{self, ChildPid};
use protocol::{ExitStatus, ProcessRef, TerminalSize};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is known of a process that was asked for.
#[derive(Debug)]
enum State {
    /// It is being started: these signals came meanwhile.
    Starting { signals: Vec<i32>, size: Option<TerminalSize> },
    /// It runs.
    Running { pid: ChildPid, terminal: Option<Arc<OwnedFd>> },
    /// It has ended.
    Ended(ExitStatus),
}

#[derive(Debug, Default)]
struct Table {
    processes: HashMap<ProcessRef, State>,
    pids: HashMap<ChildPid, ProcessRef>,
    /// How many processes are being started.
    starting: usize,
    /// Children that ended while processes were being started: one of them may be one of those.
    unclaimed: HashMap<ChildPid, ExitStatus>,
    /// How many children were made, ever: some may have come since the last look.
    made: u64,
    /// There was no child at the last look.
    childless: bool,
    /// The machine is about to stop: nothing more is started.
    stopping: bool,
}

/// The table of processes.
#[derive(Debug, Default)]
pub struct Supervisor {
    table: Mutex<Table>,
    changed: Condvar,
}

/// Why a process may not be started.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Its name is taken.
    #[error("there is a process {0} already")]
    NameTaken(ProcessRef),
    /// The machine is about to stop.
    #[error("the machine is about to stop")]
    Stopping,
}

/// Signals kept for a process that is being started.
const MAX_EARLY_SIGNALS: usize = 64;

impl Supervisor {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the name of a process that is about to be started.
    ///
    /// # Errors
    /// It is taken, or the machine is about to stop.
    pub fn begin(&self, process: &ProcessRef) -> Result<(), Refused> {
        let mut table = self.lock();
        if table.stopping {
            return Err(Refused::Stopping);
        }
        if table.processes.contains_key(process) {
            return Err(Refused::NameTaken(process.clone()));
        }
        let state = State::Starting { signals: Vec::new(), size: None };
        table.processes.insert(process.clone(), state);
        table.starting += 1;
        Ok(())
    }

    /// From now on, nothing more is started.
    pub fn refuse_more(&self) {
        self.lock().stopping = true;
    }

    /// A child was made: the reaper, if it waits for one, looks again.
    pub fn child_made(&self) {
        let mut table = self.lock();
        table.made += 1;
        table.childless = false;
        self.changed.notify_all();
    }

    /// The process runs, or has ended since. Signals that came meanwhile are sent.
    pub fn started(&self, process: &ProcessRef, pid: u32, terminal: Option<Arc<OwnedFd>>) {
        let mut table = self.lock();
        let Ok(pid) = ChildPid::try_from(pid) else { return };
        let ended = table.unclaimed.remove(&pid);
        let state = match ended {
            Some(status) => State::Ended(status),
            None => State::Running { pid, terminal: terminal.clone() },
        };
        let is_running = matches!(state, State::Running { .. });
        let before = table.processes.insert(process.clone(), state);
        if let (true, Some(State::Starting { signals, size })) = (is_running, before) {
            if let (Some(terminal), Some(size)) = (&terminal, size) {
                let _ = crate::terminal::resize(terminal, size);
            }
            for signal in signals {
                sys::kill(pid, signal);
            }
            table.pids.insert(pid, process.clone());
        }
        table.start_is_over();
        self.changed.notify_all();
    }

    /// The process does not run its program: its name is free again, and `pid`, where it came to exist
    /// nevertheless, is killed.
    pub fn not_started(&self, process: &ProcessRef, pid: Option<u32>) {
        let mut table = self.lock();
        if let Some(pid) = pid.and_then(|pid| ChildPid::try_from(pid).ok())
            && !table.unclaimed.contains_key(&pid)
        {
            sys::kill(pid, libc::SIGKILL);
        }
        table.processes.remove(process);
        table.start_is_over();
    }

    /// Waits until the process has ended.
    pub fn wait(&self, process: &ProcessRef) -> ExitStatus {
        let mut table = self.lock();
        loop {
            match table.processes.get(process) {
                Some(State::Ended(status)) => return *status,
                // A process that nobody knows has ended without a trace.
                None => return ExitStatus::Code(u8::MAX),
                Some(State::Starting { .. } | State::Running { .. }) => {}
            }
            table = self.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Forgets a process that has ended: its name is free again.
    pub fn forget(&self, process: &ProcessRef) {
        self.lock().processes.remove(process);
    }

    /// The process id of a process that runs.
    pub fn pid(&self, process: &ProcessRef) -> Option<u32> {
        match self.lock().processes.get(process) {
            Some(State::Running { pid, .. }) => u32::try_from(*pid).ok(),
            _ => None,
        }
    }

    /// Sends a signal; a process that has ended, or is not known, gets none.
    pub fn signal(&self, process: &ProcessRef, signal: u8) {
        match self.lock().processes.get_mut(process) {
            Some(State::Running { pid, .. }) => sys::kill(*pid, i32::from(signal)),
            Some(State::Starting { signals, .. }) if signals.len() < MAX_EARLY_SIGNALS => {
                signals.push(i32::from(signal));
            }
            _ => {}
        }
    }

    /// Resizes the terminal of a process.
    pub fn resize(&self, process: &ProcessRef, new: TerminalSize) {
        match self.lock().processes.get_mut(process) {
            Some(State::Running { terminal: Some(terminal), .. }) => {
                // A terminal that is gone has no size.
                let _ = crate::terminal::resize(terminal, new);
            }
            Some(State::Starting { size, .. }) => *size = Some(new),
            _ => {}
        }
    }

    /// Waits until there is no child left, or the time is over. Whether there is none.
    pub fn wait_until_childless(&self, limit: Duration) -> bool {
        let table = self.lock();
        let waited = self.changed.wait_timeout_while(table, limit, |table| !table.childless);
        waited.is_ok_and(|(table, _)| table.childless)
    }

    /// Reaps children for ever.
    pub fn reap_for_ever(&self) -> ! {
        loop {
            let seen = self.lock().made;
            // Looks without reaping: the process id stays taken until the lock is held.
            match sys::wait_for_child() {
                Ok((pid, status)) => self.reap(pid, status),
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => self.await_child(seen),
                Err(_) => {}
            }
        }
    }

    fn await_child(&self, seen: u64) {
        let mut table = self.lock();
        if table.made == seen {
            table.childless = true;
            self.changed.notify_all();
        }
        while table.made == seen {
            table = self.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn reap(&self, pid: ChildPid, status: ExitStatus) {
        let mut table = self.lock();
        sys::reap(pid);
        if let Some(process) = table.pids.remove(&pid) {
            table.processes.insert(process, State::Ended(status));
            self.changed.notify_all();
        } else if table.starting > 0 {
            table.unclaimed.insert(pid, status);
        }
    }
}

impl Table {
    fn start_is_over(&mut self) {
        self.starting = self.starting.saturating_sub(1);
        if self.starting == 0 {
            self.unclaimed.clear();
        }
    }
}

#[cfg(test)]
mod tests;
