//! The life of one sandbox, from a machine that boots to how it ended.
//!
//! Owns: the machine, the agent's channel, every deadline. Never does: anything with streams' bytes or
//! the user's terminal; it decides, others carry.
//!
//! ```text
//!   Booting ── Hello ──▶ Starting ── Started ──▶ Running ── Exited ──▶ Draining ──▶ PoweringOff ──▶ Outcome
//!      │                    │ Failed                │ time-out: stop signal, then SIGKILL
//!      └──── deadline, panic, reset, lost agent, a signal while nothing runs ──▶ Outcome
//! ```

mod asked;
mod docker_ports;
mod gate;
mod health;
mod job;
mod neighbours;
mod notes;
mod orders;
mod pausing;
mod stopping;
mod visitor;
mod visitors;

pub use docker_ports::{DockerPorts, Reader as DockerPortsReader};
pub use gate::Gate;
pub use health::Health;
pub use job::{Job, Timings};
pub use neighbours::{Neighbours, Watched};
pub use notes::{Note, Notes};
pub use orders::Orders;
use pausing::Pausing;
use stopping::Why;
pub use visitors::Visitors;
use visitors::Ways;

use crate::accelerator::Machine;
use crate::agent_client::{AgentClient, AgentError};
use crate::jail::channel::{Channel, ChannelError};
use crate::jail::machine::MachineEvent;
use crate::outcome::Outcome;
use crate::session::{Patience, StreamKind, SupervisorMessage, TerminalMessage, ends_a_process};
use protocol::{Event, ExitStatus, ProcessRef, Request, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ops::{ControlFlow, RangeInclusive};
use std::time::{Duration, Instant};
use vmm::VmExit;

/// How long a machine has for its last words, once its agent or its streams are gone.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long the last output of a container that was stopped is waited for.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a guest may take to sync and unmount.
const POWER_OFF: Duration = Duration::from_secs(60);

/// How often the agent may tell of what it was not asked for. An honest one never does.
const UNASKED_MAX: u32 = 100;
/// The signals that there are.
const SIGNALS: RangeInclusive<u8> = 1..=64;

/// SIGHUP: the terminal is gone.
const HANG_UP: u8 = 1;

enum Stage {
    Booting,
    Starting,
    Running,
    /// The stop signal was sent; SIGKILL follows at the deadline.
    Stopping(Why),
    /// The outcome is known; the machine still holds output that its reader has not taken.
    Draining(Outcome),
    /// The outcome is known; the guest syncs.
    PoweringOff(Outcome),
    /// The agent's channel is closed; the machine may yet say why.
    Lost,
}

/// Supervises one sandbox.
pub struct Supervisor<'a> {
    machine: &'a mut Machine,
    agent: AgentClient,
    session: &'a Channel,
    /// Processes that the guest relies on beside its machine's own.
    beside: Neighbours<'a>,
    /// Until when its machine has to say why, if one of those is gone.
    lost: Option<(Instant, Outcome)>,
    job: Job,
    init: ProcessRef,
    stage: Stage,
    /// Further processes, for those who come.
    visitors: Option<Visitors>,
    /// Its channel has ended: it is always ready, and there is nothing to read.
    agent_gone: bool,
    /// All output is with whoever reads it.
    output_ended: bool,
    /// Somebody has asked for its end.
    is_asked_to_end: bool,
    /// How often the agent has told of what it was not asked for.
    unasked: u32,
    pausing: Pausing,
    health: Option<Health>,
    note: Notes<'a>,
    deadline: Option<Instant>,
    /// What was reached when.
    pub timings: Timings,
}

type Step = ControlFlow<Outcome>;

impl<'a> Supervisor<'a> {
    /// A supervisor for a machine that has just been started.
    pub fn new(
        machine: &'a mut Machine,
        agent: AgentClient,
        session: &'a Channel,
        job: Job,
        beside: Neighbours<'a>,
    ) -> Self {
        let init =
            ProcessRef { container: Some(job.spec.id.clone()), process: job.spec.init_id.clone() };
        let deadline = Some(Instant::now() + job.boot_timeout);
        let (stage, timings) = (Stage::Booting, Timings::default());
        let (agent_gone, output_ended, is_asked_to_end) = (false, false, false);
        Self {
            machine,
            agent,
            session,
            beside,
            lost: None,
            job,
            init,
            stage,
            visitors: None,
            agent_gone,
            output_ended,
            is_asked_to_end,
            unasked: 0,
            pausing: Pausing::default(),
            health: None,
            note: Box::new(drop),
            deadline,
            timings,
        }
    }

    /// Lets others come for further processes, or to pause it; has it asked now and then whether its container is well, where
    /// that is wanted; and has noted what becomes of it.
    pub fn admit(&mut self, visitors: Visitors, health: Option<Health>, note: Notes<'a>) {
        self.visitors = Some(visitors);
        self.health = health;
        self.note = note;
    }

    /// Goes on until it is known how the sandbox ended.
    pub fn run(&mut self) -> Outcome {
        loop {
            if let ControlFlow::Break(outcome) = self.step() {
                self.visitors.iter_mut().for_each(Visitors::close);
                return outcome;
            }
        }
    }

    /// Whether somebody has asked for its end; and those who are there still when it has ended, and are to be told how.
    pub fn into_visitors(self) -> (bool, Option<Visitors>) {
        (self.is_asked_to_end, self.visitors)
    }

    fn step(&mut self) -> Step {
        let (machine, session, agent, beside, visitors) = {
            let mut fds = vec![
                PollFd::new(self.machine.channel(), PollFlags::IN),
                PollFd::new(self.session, PollFlags::IN),
            ];
            let beside = fds.len();
            if self.lost.is_none() {
                fds.extend(self.beside.watched());
            }
            let agent = fds.len();
            if !self.agent_gone {
                fds.push(PollFd::new(&self.agent, PollFlags::IN));
            }
            let visitors = fds.len();
            fds.extend(self.visitors.iter().flat_map(Visitors::watched));
            let lost = self.lost.as_ref().map(|(at, _)| *at);
            let next = [self.deadline, lost, self.next_health()].into_iter().flatten().min();
            let left = next.map(|at| at.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            // The only error of poll that can come is an interruption, and then nothing is ready.
            let _ = poll(&mut fds, left.as_ref());
            let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
            let of_visitors: Vec<bool> = (visitors..fds.len()).map(ready).collect();
            let of_beside: Vec<bool> = (beside..agent).map(ready).collect();
            // Where it is not watched, what stands in its place is somebody else.
            let agent = !self.agent_gone && ready(agent);
            (ready(0), ready(1), agent, of_beside, of_visitors)
        };
        // The agent first: what it said last comes before how its machine ended.
        if agent {
            self.on_agent()?;
        }
        if machine {
            self.on_machine()?;
        }
        if session {
            self.on_session()?;
        }
        self.on_visitors(&visitors)?;
        self.on_beside(&beside);
        if let Some((_, outcome)) = self.lost.take_if(|(at, _)| *at <= Instant::now()) {
            return Step::Break(outcome);
        }
        if self.deadline.is_some_and(|at| at <= Instant::now()) {
            self.on_deadline()?;
        }
        self.check_health()
    }

    /// What has become of the processes beside the machine's.
    fn on_beside(&mut self, ready: &[bool]) {
        if ready.contains(&true)
            && let Some(outcome) = self.beside.hear(ready, self.visitors.as_mut())
        {
            // It ends with its machine, too, which then says so in a moment.
            self.lost = Some((Instant::now() + LAST_WORDS, outcome));
        }
    }

    fn on_agent(&mut self) -> Step {
        match self.read_agent() {
            Ok(step) => step,
            Err(AgentError::Closed) => {
                self.agent_gone = true;
                // The machine's own end, if that is what it is, arrives in a moment.
                if !matches!(self.stage, Stage::PoweringOff(_) | Stage::Draining(_)) {
                    self.stage = Stage::Lost;
                    self.deadline = Some(Instant::now() + LAST_WORDS);
                }
                Step::Continue(())
            }
            Err(error) => Step::Break(Outcome::Agent(error)),
        }
    }

    fn read_agent(&mut self) -> Result<Step, AgentError> {
        let filled = self.agent.fill();
        if matches!(self.stage, Stage::Booting)
            && let Some(hello) = self.agent.shake_hands()?
        {
            self.timings.kernel = Some(Duration::from_nanos(hello.agent_started_ns));
            self.timings.agent = Some(Instant::now());
            self.agent.request(&Request::Start(Box::new(self.job.spec.clone())))?;
            self.stage = Stage::Starting;
        }
        while !matches!(self.stage, Stage::Booting)
            && let Some(event) = self.agent.event()?
        {
            if let Step::Break(outcome) = self.on_event(event)? {
                return Ok(Step::Break(outcome));
            }
        }
        filled.map(|()| Step::Continue(()))
    }

    fn on_visitors(&mut self, ready: &[bool]) -> Step {
        let Some(visitors) = self.visitors.as_mut().filter(|_| ready.contains(&true)) else {
            return Step::Continue(());
        };
        let runs = matches!(self.stage, Stage::Running | Stage::Stopping(_));
        let first = runs.then_some((&self.init, &self.job.spec));
        let orders = self.beside.orders.as_mut();
        let streams = self.job.detached.then(|| StreamKind::of(self.job.spec.init.stdio));
        let mut wishes = Vec::new();
        let is_paused = self.pausing.is_paused();
        let agent = &self.agent;
        let mut ways = Ways { first, agent, orders, streams, is_paused, wishes: &mut wishes };
        match visitors.hear(ready, &mut ways) {
            // How that came about is seen where it is read.
            Ok(()) | Err(AgentError::Closed) => {}
            Err(error) => return Step::Break(Outcome::Agent(error)),
        }
        wishes.into_iter().try_for_each(|wish| self.grant(wish))
    }

    fn on_event(&mut self, event: Event) -> Result<Step, AgentError> {
        if self.is_of_health(&event) || self.is_of_pausing(&event) {
            return Ok(Step::Continue(()));
        }
        let event = match &mut self.visitors {
            Some(visitors) => match visitors.event(event)? {
                Some(event) => event,
                None => return Ok(Step::Continue(())),
            },
            None => event,
        };
        match (&self.stage, event) {
            (Stage::Starting, Event::Started { process, .. }) if process == self.init => {
                self.timings.started = Some(Instant::now());
                self.stage = Stage::Running;
                self.deadline = self.job.timeout.map(|timeout| Instant::now() + timeout);
                // The terminal side may be gone: the session's end is noticed where it is read.
                let _ = self.session.send(&SupervisorMessage::Started, &[]);
                self.watch_docker()?;
                (self.note)(Note::Started);
                self.begin_health();
                if let Some(visitors) = &mut self.visitors {
                    visitors.open_gate((&self.init, &self.job.spec), &self.agent)?;
                }
            }
            (Stage::Starting, Event::Failed { process, failure }) if process == self.init => {
                return self.end(Outcome::NotStarted(failure));
            }
            (Stage::Running, Event::Exited { process, status, out_of_memory })
                if process == self.init =>
            {
                if let ExitStatus::Signal(signal) = status
                    && !SIGNALS.contains(&signal)
                {
                    return Err(AgentError::NoSuchSignal(signal));
                }
                self.timings.exited = Some(Instant::now());
                return self.drain(Outcome::Exited { status, out_of_memory });
            }
            (Stage::Stopping(why), Event::Exited { process, status, out_of_memory })
                if process == self.init =>
            {
                let outcome = self.stopped(*why, status, out_of_memory);
                let patience = Instant::now() + OUTPUT_PATIENCE;
                self.deadline = Some(self.deadline.map_or(patience, |at| at.min(patience)));
                return self.drain(outcome);
            }
            // Anything else is out of order, or of a process nobody asked for: a claim not believed.
            _ => {
                self.unasked += 1;
                if self.unasked > UNASKED_MAX {
                    return Err(AgentError::Unasked(self.unasked));
                }
            }
        }
        Ok(Step::Continue(()))
    }

    /// Has Docker's ports watched in the container, where that is wanted.
    fn watch_docker(&mut self) -> Result<(), AgentError> {
        if let (Some(docker), Some(visitors)) = (&mut self.beside.docker, &mut self.visitors)
            && let Some(said) = visitors.watch_docker((&self.init, &self.job.spec), &self.agent)?
        {
            docker.listen_to(said);
        }
        Ok(())
    }

    /// The outcome is known: what the machine holds of the output goes first, however slow its reader.
    fn drain(&mut self, outcome: Outcome) -> Result<Step, AgentError> {
        if self.output_ended {
            return self.end(outcome);
        }
        self.stage = Stage::Draining(outcome);
        Ok(Step::Continue(()))
    }

    fn on_output_ended(&mut self) -> Step {
        self.output_ended = true;
        match std::mem::replace(&mut self.stage, Stage::Lost) {
            Stage::Draining(outcome) => self.finish(outcome),
            stage => {
                self.stage = stage;
                Step::Continue(())
            }
        }
    }

    /// As [`Supervisor::end`], where there is no agent to be read afterwards.
    fn finish(&mut self, outcome: Outcome) -> Step {
        self.end(outcome).unwrap_or_else(|error| Step::Break(Outcome::Agent(error)))
    }

    /// The outcome is known: a disk that is kept is synced first, any other sandbox is simply dropped.
    fn end(&mut self, outcome: Outcome) -> Result<Step, AgentError> {
        if !self.job.keep_disk {
            return Ok(Step::Break(outcome));
        }
        self.agent.request(&Request::PowerOff)?;
        self.stage = Stage::PoweringOff(outcome);
        self.deadline = Some(Instant::now() + POWER_OFF);
        Ok(Step::Continue(()))
    }

    fn on_machine(&mut self) -> Step {
        match self.machine.event() {
            MachineEvent::Running => Step::Continue(()),
            MachineEvent::Refused(causes) => Step::Break(Outcome::MachineRefused(causes)),
            MachineEvent::Exited(exit) => {
                let stage = std::mem::replace(&mut self.stage, Stage::Lost);
                match (stage, exit) {
                    (Stage::PoweringOff(outcome), VmExit::Stopped) => Step::Break(outcome),
                    // It was to be dropped anyway.
                    (Stage::Draining(outcome), _) if !self.job.keep_disk => Step::Break(outcome),
                    (_, exit) => Step::Break(Outcome::MachineExited(exit)),
                }
            }
        }
    }

    fn on_session(&mut self) -> Step {
        let message = match self.session.receive::<TerminalMessage>() {
            Ok((message, _)) => message,
            Err(ChannelError::Malformed(_) | ChannelError::TooLong) => return Step::Continue(()),
            Err(_) => return Step::Break(Outcome::SessionLost),
        };
        let request = match (&self.stage, message) {
            (_, TerminalMessage::OutputEnded) => return self.on_output_ended(),
            (_, TerminalMessage::Stop) => return self.stop(None, Patience::Own),
            // Its terminal is gone for good: a shell that ignores that, as PID 1 does, would never end.
            (Stage::Running, TerminalMessage::Signal(HANG_UP)) if self.has_terminal() => {
                return self.finish(Outcome::Interrupted(HANG_UP));
            }
            // Nobody waits for the rest of the output any more.
            (Stage::Draining(_), TerminalMessage::Signal(signal)) if ends_a_process(signal) => {
                return self.finish(Outcome::Interrupted(signal));
            }
            (Stage::Running | Stage::Stopping(_), TerminalMessage::Signal(signal)) => {
                Request::Signal { process: self.init.clone(), signal }
            }
            (
                Stage::Running | Stage::Stopping(_) | Stage::Starting,
                TerminalMessage::Resize(size),
            ) => Request::Resize { process: self.init.clone(), size },
            (_, TerminalMessage::Signal(signal)) if ends_a_process(signal) => {
                return Step::Break(Outcome::Interrupted(signal));
            }
            _ => return Step::Continue(()),
        };
        self.tell(&request)
    }

    fn has_terminal(&self) -> bool {
        matches!(self.job.spec.init.stdio, Stdio::Terminal { .. })
    }

    fn tell(&self, request: &Request) -> Step {
        match self.agent.request(request) {
            Ok(()) | Err(AgentError::Closed) => Step::Continue(()),
            Err(error) => Step::Break(Outcome::Agent(error)),
        }
    }
}

#[cfg(test)]
mod tests;
