//! How a sandbox's containers are stopped where they are, and go on.
//!
//! Owns: whether they stand still, as far as the agent says. Never does: keep them so: whoever ends the sandbox lets them go
//! on first, so that they hear it.

use super::{Step, Supervisor};
use protocol::Request;

/// Where it is kept that they stand still.
pub type Keep<'a> = Box<dyn FnMut(bool) + 'a>;

/// Whether a sandbox's containers stand still.
pub struct Pausing<'a> {
    is_paused: bool,
    /// How often the agent was asked, and has not answered.
    unanswered: u32,
    keep: Keep<'a>,
}

impl std::fmt::Debug for Pausing<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({} unanswered)", self.is_paused, self.unanswered)
    }
}

impl<'a> Pausing<'a> {
    /// They go on. `keep` is told when that changes.
    pub fn new(keep: Keep<'a>) -> Self {
        Self { is_paused: false, unanswered: 0, keep }
    }

    /// Whether they stand still.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The agent has said whether they do. False where nobody had asked.
    pub fn told(&mut self, is_paused: bool) -> bool {
        let Some(left) = self.unanswered.checked_sub(1) else { return false };
        self.unanswered = left;
        if self.is_paused != is_paused {
            self.is_paused = is_paused;
            (self.keep)(is_paused);
        }
        true
    }
}

impl Supervisor<'_> {
    /// Has all containers stand still, or go on.
    pub(super) fn pause(&mut self, wanted: bool) -> Step {
        self.pausing.unanswered += 1;
        self.tell(&Request::Freeze(wanted))
    }

    /// Has them go on where they may stand still, so that they hear what comes next.
    pub(super) fn go_on(&mut self) -> Step {
        if self.pausing.is_paused || self.pausing.unanswered > 0 {
            return self.pause(false);
        }
        Step::Continue(())
    }
}
