//! Whether the sandbox's container is well, by a command that runs in it now and then.
//!
//! Owns: when it runs, how long it may, and what has come of it. Never does: start it, or end it; or end a sandbox that is not
//! well, which is for those to do who read it.
//!
//! ```text
//!   waits ── its time ──▶ runs ── ended with 0 ──▶ healthy ──▶ waits
//!                          │ ended otherwise, or late: SIGKILL ──▶ one more failure in a row ──▶ waits
//! ```

use super::{Stage, Step, Supervisor, asked};
use crate::plan::health::HealthPlan;
use crate::plan::signal::KILL;
use crate::state::{Health as Known, HealthStatus};
use protocol::{Event, ExitStatus, ProcessId, ProcessRef, Request};
use std::time::{Duration, Instant};

/// Where it is kept whether it is well.
pub type Keep<'a> = Box<dyn FnMut(Known) + 'a>;

/// Whether a container is well, as far as it is known.
pub struct Health<'a> {
    plan: HealthPlan,
    keep: Keep<'a>,
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

impl std::fmt::Debug for Health<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} ({:?})", self.known, self.stage)
    }
}

impl<'a> Health<'a> {
    /// Of a container that does not run yet. `keep` is told whenever more is known.
    pub fn new(plan: HealthPlan, keep: Keep<'a>) -> Self {
        let (stage, known, began) = (Probe::Idle, Known::default(), Instant::now());
        Self { plan, keep, stage, known, began, count: 0 }
    }

    /// Its container runs.
    pub fn begin(&mut self, now: Instant) {
        self.began = now;
        self.stage = Probe::Waits(now + self.plan.interval);
        (self.keep)(self.known);
    }

    /// When there is something to be done.
    pub fn next(&self) -> Option<Instant> {
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

    /// Takes in an event. Whether it is of its command.
    fn hear(&mut self, event: &Event, now: Instant) -> bool {
        let (Probe::Runs(own, _) | Probe::Late(own)) = &self.stage else { return false };
        let is_well = match event {
            Event::Started { process, .. } if process == own => return true,
            Event::Failed { process, .. } if process == own => false,
            Event::Exited { process, status, .. } if process == own => {
                *status == ExitStatus::Code(0) && matches!(self.stage, Probe::Runs(..))
            }
            _ => return false,
        };
        self.stage = Probe::Waits(now + self.plan.interval);
        self.learn(is_well, now.saturating_duration_since(self.began));
        true
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
        let known = Known { status, failures };
        if known != self.known {
            self.known = known;
            (self.keep)(known);
        }
    }
}

impl Supervisor<'_> {
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
        self.health.as_mut().is_some_and(|health| health.hear(event, Instant::now()))
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
    use std::cell::RefCell;

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
    fn round(health: &mut Health<'_>, now: &mut Instant, takes: u32, status: ExitStatus) {
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
        assert!(health.hear(&ended, *now));
        assert!(!health.hear(&ended, *now), "it is over");
    }

    #[test]
    fn it_is_well_until_it_fails_in_a_row() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        let kept = RefCell::new(Vec::new());
        let keep = Box::new(|it: Known| kept.borrow_mut().push((it.status, it.failures)));
        let mut health = Health::new(plan(), keep);
        let mut now = Instant::now();
        assert!(health.next().is_none());
        health.begin(now);
        let (good, bad) = (ExitStatus::Code(0), ExitStatus::Code(1));
        // Within its first time nothing counts that fails.
        round(&mut health, &mut now, 1, bad);
        round(&mut health, &mut now, 1, bad);
        round(&mut health, &mut now, 1, bad);
        round(&mut health, &mut now, 1, good);
        round(&mut health, &mut now, 1, bad);
        // Too late is bad, however it ends.
        round(&mut health, &mut now, 5, good);
        round(&mut health, &mut now, 1, good);
        let expected = [
            (Starting, 0),
            (Starting, 1),
            (Healthy, 0),
            (Healthy, 1),
            (Unhealthy, 2),
            (Healthy, 0),
        ];
        assert_eq!(*kept.borrow(), expected);
    }

    #[test]
    fn one_that_stands_still_is_not_asked() {
        let mut health = Health::new(plan(), Box::new(drop));
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
        assert!(!health.hear(&other, now));
    }
}
