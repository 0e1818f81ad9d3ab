//! How a sandbox's containers are stopped where they are, and go on.
//!
//! Owns: whether they stand still, as far as the agent says. Never does: keep them so: whoever ends the sandbox lets them go
//! on first, so that they hear it.

use super::{Note, Step, Supervisor};
use protocol::{Event, Request};

/// Whether a sandbox's containers stand still.
#[derive(Debug, Default)]
pub struct Pausing {
    is_paused: bool,
    /// How often the agent was asked, and has not answered.
    unanswered: u32,
}

impl Pausing {
    /// Whether they stand still.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }
}

impl Supervisor<'_> {
    /// Has all containers stand still, or go on.
    pub(super) fn pause(&mut self, wanted: bool) -> Step {
        self.pausing.unanswered += 1;
        self.tell(&Request::Freeze(wanted))
    }

    /// Whether an event says whether they do, and somebody had asked.
    pub(super) fn is_of_pausing(&mut self, event: &Event) -> bool {
        let Event::Frozen(is_paused) = *event else { return false };
        let Some(left) = self.pausing.unanswered.checked_sub(1) else { return false };
        self.pausing.unanswered = left;
        if self.pausing.is_paused != is_paused {
            self.pausing.is_paused = is_paused;
            (self.note)(Note::Paused(is_paused));
        }
        self.visitors.iter_mut().for_each(|visitors| visitors.paused(is_paused));
        true
    }

    /// Has them go on where they may stand still, so that they hear what comes next.
    pub(super) fn go_on(&mut self) -> Step {
        if self.pausing.is_paused || self.pausing.unanswered > 0 {
            return self.pause(false);
        }
        Step::Continue(())
    }
}
