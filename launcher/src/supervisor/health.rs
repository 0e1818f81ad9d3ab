//! Whether the sandbox's container is well, by a command that runs in it now and then.
//!
//! Owns: when it runs, how long it may, and what has come of it. Never does: start it, or end it; or end a sandbox that is not
//! well, which is for those to do who read it.
//!
//! ```text
//!   waits ── its time ──▶ runs ── ended with 0 ──▶ healthy ──▶ waits
//!                          │ ended otherwise, or late: SIGKILL ──▶ one more failure in a row ──▶ waits
//! ```

use super::{Note, Stage, Step, Supervisor, asked};
use crate::plan::health::HealthPlan;
use crate::plan::signal::KILL;
use crate::state::{Health as Known, HealthStatus};
use protocol::{Event, ExitStatus, ProcessId, ProcessRef, Request};
use std::time::{Duration, Instant};

/// Whether a container is well, as far as it is known.
#[derive(Debug)]
pub struct Health {
    plan: HealthPlan,
    stage: Probe,
    known: Known,
    began: Instant,
    count: u64,
}

/// The command.
#[derive(Debug, PartialEq, Eq)]
enum Probe {
    /// Its container does not run.
    Idle,
    /// It runs next at this time.
    Waits(Instant),
    /// It runs, until then.
    Runs(ProcessRef, Instant),
    /// It has been killed, and is not gone yet.
    Late(ProcessRef),
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Start(ProcessRef, Vec<String>),
    Kill(ProcessRef),
}

impl Health {
    /// Of a container that does not run yet.
    pub fn new(plan: HealthPlan) -> Self {
        let (stage, known, began) = (Probe::Idle, Known::default(), Instant::now());
        Self { plan, stage, known, began, count: 0 }
    }

    /// Its container runs. What is known then.
    fn begin(&mut self, now: Instant) -> Known {
        self.began = now;
        self.stage = Probe::Waits(now + self.plan.interval);
        self.known
    }

    /// When there is something to be done.
    fn next(&self) -> Option<Instant> {
        match self.stage {
            Probe::Waits(at) | Probe::Runs(_, at) => Some(at),
            Probe::Idle | Probe::Late(_) => None,
        }
    }

    /// What is to be done now. One whose container stands still is asked later.
    fn due(&mut self, now: Instant, init: &ProcessRef, is_paused: bool) -> Option<Due> {
        if self.next().is_none_or(|at| at > now) {
            return None;
        }
        match std::mem::replace(&mut self.stage, Probe::Idle) {
            Probe::Runs(process, _) if !is_paused => {
                self.stage = Probe::Late(process.clone());
                Some(Due::Kill(process))
            }
            Probe::Runs(process, _) => {
                self.stage = Probe::Runs(process, now + self.plan.timeout);
                None
            }
            _ if is_paused => {
                self.stage = Probe::Waits(now + self.plan.interval);
                None
            }
            _ => {
                self.count += 1;
                let process = ProcessId::try_from(format!("health-{}", self.count)).ok()?;
                let process = ProcessRef { process, ..init.clone() };
                self.stage = Probe::Runs(process.clone(), now + self.plan.timeout);
                Some(Due::Start(process, self.plan.args.clone()))
            }
        }
    }

    /// Takes in an event, if it is of its command: what is known then.
    fn hear(&mut self, event: &Event, now: Instant) -> Option<Known> {
        let (Probe::Runs(own, _) | Probe::Late(own)) = &self.stage else { return None };
        let is_well = match event {
            Event::Started { process, .. } if process == own => return Some(self.known),
            Event::Failed { process, .. } if process == own => false,
            Event::Exited { process, status, .. } if process == own => {
                *status == ExitStatus::Code(0) && matches!(self.stage, Probe::Runs(..))
            }
            _ => return None,
        };
        self.stage = Probe::Waits(now + self.plan.interval);
        self.learn(is_well, now.saturating_duration_since(self.began));
        Some(self.known)
    }

    fn learn(&mut self, is_well: bool, since: Duration) {
        let Known { status, failures } = self.known;
        let is_early = status == HealthStatus::Starting && since < self.plan.start_period;
        let failures = if is_well { 0 } else { failures.saturating_add(u32::from(!is_early)) };
        let status = match is_well {
            true => HealthStatus::Healthy,
            false if failures >= self.plan.retries => HealthStatus::Unhealthy,
            false => status,
        };
        self.known = Known { status, failures };
    }
}

impl Supervisor<'_> {
    /// Its container has been started.
    pub(super) fn begin_health(&mut self) {
        if let Some(health) = &mut self.health {
            let known = health.begin(Instant::now());
            (self.note)(Note::Health(known));
        }
    }

    /// Does what is due.
    pub(super) fn check_health(&mut self) -> Step {
        let (Some(health), Stage::Running) = (&mut self.health, &self.stage) else {
            return Step::Continue(());
        };
        match health.due(Instant::now(), &self.init, self.pausing.is_paused()) {
            None => Step::Continue(()),
            Some(Due::Kill(process)) => self.tell(&Request::Signal { process, signal: KILL }),
            Some(Due::Start(process, args)) => {
                let spec = Box::new(asked::unheard(&self.job.spec.init, args));
                self.tell(&Request::Run { process, spec })
            }
        }
    }

    /// Whether an event is of the command by which that is asked.
    pub(super) fn is_of_health(&mut self, event: &Event) -> bool {
        let Some(health) = &mut self.health else { return false };
        let before = health.known;
        let Some(known) = health.hear(event, Instant::now()) else { return false };
        if known != before {
            (self.note)(Note::Health(known));
        }
        true
    }

    /// When something is due.
    pub(super) fn next_health(&self) -> Option<Instant> {
        let is_running = matches!(self.stage, Stage::Running);
        self.health.as_ref().filter(|_| is_running).and_then(Health::next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ContainerId;

    const SECOND: Duration = Duration::from_secs(1);

    fn init() -> ProcessRef {
        let container = ContainerId::try_from("box".to_owned()).unwrap();
        let process = ProcessId::try_from("init".to_owned()).unwrap();
        ProcessRef { container: Some(container), process }
    }

    fn plan() -> HealthPlan {
        HealthPlan {
            args: vec!["ask".to_owned()],
            interval: 10 * SECOND,
            timeout: 3 * SECOND,
            start_period: 25 * SECOND,
            retries: 2,
        }
    }

    /// One command that is started when it is due, and ends after so many seconds.
    fn round(
        health: &mut Health,
        now: &mut Instant,
        takes: u32,
        status: ExitStatus,
    ) -> (HealthStatus, u32) {
        *now = health.next().unwrap();
        let Some(Due::Start(process, args)) = health.due(*now, &init(), false) else {
            panic!("{health:?}")
        };
        assert_eq!(args, ["ask"]);
        *now += takes * SECOND;
        if takes > 3 {
            assert_eq!(health.due(*now, &init(), false), Some(Due::Kill(process.clone())));
        }
        let ended = Event::Exited { process, status, out_of_memory: false };
        let known = health.hear(&ended, *now).unwrap();
        assert_eq!(health.hear(&ended, *now), None, "it is over");
        (known.status, known.failures)
    }

    #[test]
    fn it_is_well_until_it_fails_in_a_row() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        let mut health = Health::new(plan());
        let mut now = Instant::now();
        assert!(health.next().is_none());
        assert_eq!(health.begin(now).status, Starting);
        let (good, bad) = (ExitStatus::Code(0), ExitStatus::Code(1));
        // Within its first time nothing counts that fails.
        for (takes, status, known) in [
            (1, bad, (Starting, 0)),
            (1, bad, (Starting, 0)),
            (1, bad, (Starting, 1)),
            (1, good, (Healthy, 0)),
            (1, bad, (Healthy, 1)),
            // Too late is bad, however it ends.
            (5, good, (Unhealthy, 2)),
            (1, good, (Healthy, 0)),
        ] {
            assert_eq!(round(&mut health, &mut now, takes, status), known);
        }
    }

    #[test]
    fn one_that_stands_still_is_not_asked() {
        let mut health = Health::new(plan());
        let now = Instant::now();
        health.begin(now);
        let due = health.next().unwrap();
        assert_eq!(health.due(due, &init(), true), None);
        assert_eq!(health.next(), Some(due + 10 * SECOND));
        let started = health.due(due + 10 * SECOND, &init(), false);
        assert!(matches!(started, Some(Due::Start(..))));
        assert_eq!(health.due(due + 20 * SECOND, &init(), true), None, "nor is it late");
        let other =
            Event::Exited { process: init(), status: ExitStatus::Code(0), out_of_memory: false };
        assert_eq!(health.hear(&other, now), None);
    }
}
