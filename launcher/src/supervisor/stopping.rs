//! How a sandbox comes to its end by a deadline, or because somebody has asked for it.
//!
//! Owns: the patience with it. Never does: carry out the end itself.

use super::visitors::Wish;
use super::{LAST_WORDS, Note, POWER_OFF, Stage, Step, Supervisor};
use crate::agent_client::AgentError;
use crate::outcome::Outcome;
use crate::plan::signal::{KILL, TERM};
use crate::session::{Patience, SupervisorMessage};
use protocol::{ExitStatus, Program, Request, Resources};
use std::time::{Duration, Instant};
use vmm::VmExit;

/// Why the stop signal was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It has run for as long as it may.
    TimeOut,
    /// Somebody has asked for its end.
    Asked,
    /// The same, and the patience is over: SIGKILL was sent.
    Killed,
}

impl Supervisor<'_> {
    /// Does what a visitor wishes.
    pub(super) fn grant(&mut self, wish: Wish) -> Step {
        let process = self.init.clone();
        match wish {
            Wish::Stop(signal, patience) => self.stop(signal, patience),
            Wish::Signal(signal) => self.tell(&Request::Signal { process, signal }),
            Wish::Pause(wanted) => self.pause(wanted),
            Wish::Limit(changes) => {
                let resources = &mut self.job.spec.resources;
                *resources = Resources {
                    memory_bytes: changes.memory_bytes.unwrap_or(resources.memory_bytes),
                    cpu_micros: changes.cpu_micros.unwrap_or(resources.cpu_micros),
                    pids: changes.pids.unwrap_or(resources.pids),
                };
                let (container, resources) = (self.job.spec.id.clone(), *resources);
                self.tell(&Request::Limit { container, resources })
            }
            Wish::Rename(name) => {
                // Whoever asks has seen to it that it is a name; a record is read as no more than that.
                (self.note)(Note::Name(name));
                Step::Continue(())
            }
            Wish::Resize(size) => self.tell(&Request::Resize { process, size }),
            Wish::Attach(streams) => {
                let files: Vec<_> = streams.iter().map(std::os::fd::AsFd::as_fd).collect();
                // Whoever keeps its streams may have ended: then so have they.
                let _ = self.session.send(&SupervisorMessage::Attach, &files);
                Step::Continue(())
            }
        }
    }

    /// Has it end, in order.
    pub(super) fn stop(&mut self, signal: Option<u8>, patience: Patience) -> Step {
        self.is_asked_to_end = true;
        let patience = match patience {
            Patience::Own => self.job.stop_timeout,
            Patience::Seconds(seconds) => Some(Duration::from_secs(seconds)),
            Patience::ForEver => None,
        };
        match &self.stage {
            Stage::Booting | Stage::Starting => Step::Break(Outcome::Interrupted(TERM)),
            Stage::Running | Stage::Stopping(_) => {
                // Once more is less patience, if anything.
                let deadline = patience.map(|patience| Instant::now() + patience);
                self.deadline = match self.stage {
                    Stage::Stopping(_) => [self.deadline, deadline].into_iter().flatten().min(),
                    _ => deadline,
                };
                self.stage = Stage::Stopping(Why::Asked);
                let signal = signal.unwrap_or(self.job.stop_signal);
                self.go_on()?;
                self.tell(&Request::Signal { process: self.init.clone(), signal })
            }
            // Nobody waits for the rest of its output any more.
            Stage::Draining(_) => self.on_deadline(),
            Stage::PoweringOff(_) | Stage::Lost => Step::Continue(()),
        }
    }

    /// What it is that the first process has ended while it was being stopped.
    pub(super) fn stopped(&self, why: Why, status: ExitStatus, out_of_memory: bool) -> Outcome {
        match why {
            Why::TimeOut => self.timed_out(),
            Why::Asked => Outcome::Exited { status, out_of_memory },
            Why::Killed => Outcome::Exited { status, out_of_memory: false },
        }
    }

    pub(super) fn on_deadline(&mut self) -> Step {
        self.deadline = None;
        let (why, signal) = match std::mem::replace(&mut self.stage, Stage::Lost) {
            Stage::Booting => return Step::Break(Outcome::MachineExited(VmExit::Hung)),
            Stage::Starting => return Step::Break(Outcome::StartTimedOut(self.job.boot_timeout)),
            Stage::Lost => return Step::Break(Outcome::Agent(AgentError::Closed)),
            Stage::PoweringOff(_) => return Step::Break(Outcome::PowerOffTimedOut(POWER_OFF)),
            Stage::Running => {
                self.deadline = self.job.stop_timeout.map(|patience| Instant::now() + patience);
                (Why::TimeOut, self.job.stop_signal)
            }
            // It is asked how it ended, which the agent says at once.
            Stage::Stopping(Why::Asked) => {
                self.deadline = Some(Instant::now() + LAST_WORDS);
                (Why::Killed, KILL)
            }
            Stage::Stopping(Why::Killed) => {
                let status = ExitStatus::Signal(KILL);
                return self.finish(Outcome::Exited { status, out_of_memory: false });
            }
            Stage::Draining(outcome) if self.is_asked_to_end => return self.finish(outcome),
            // Dropping the machine is a SIGKILL to all that is in it; a kept disk is synced first.
            Stage::Stopping(Why::TimeOut) | Stage::Draining(_) => {
                return self.finish(self.timed_out());
            }
        };
        self.stage = Stage::Stopping(why);
        self.go_on()?;
        self.tell(&Request::Signal { process: self.init.clone(), signal })
    }

    pub(super) fn timed_out(&self) -> Outcome {
        let after = self.job.timeout.unwrap_or_default();
        match self.job.spec.init.program {
            Program::Witness => Outcome::WitnessTimedOut(after),
            _ => Outcome::TimedOut(after),
        }
    }
}
