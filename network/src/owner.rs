//! Whoever has a network: what they order while it serves, and what they are told.
//!
//! Owns: those words. Never does: say how they are carried.

use crate::config::Publication;
use crate::refusals::Refusal;
use serde::{Deserialize, Serialize};
use std::os::fd::BorrowedFd;

/// What an owner may order. Each is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Publish a port. Answered by [`Word::Published`] or [`Word::NotPublished`].
    Publish(Publication),
    /// Publish it no more: nobody else comes by it. Answered by [`Word::Withdrawn`].
    Withdraw(Publication),
    /// Say how much has passed. Answered by [`Word::Counted`].
    Count,
}

/// What an owner is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// A port is published, as it was ordered.
    Published(Publication),
    /// A port is not to be had.
    NotPublished {
        /// Which.
        publication: Publication,
        /// Why not: the kernel's number.
        errno: i32,
    },
    /// A port is published no more.
    Withdrawn(Publication),
    /// The guest wanted what is closed to it.
    Refused(Refusal),
    /// How much has passed.
    Counted(Counts),
}

/// Whoever has a network.
pub trait Owner: Send {
    /// Where their orders come.
    fn socket(&self) -> BorrowedFd<'_>;

    /// Their next order, when there is one; `None` where they are gone.
    fn order(&mut self) -> Option<Order>;

    /// Tells them something. Nobody waits for them to hear it.
    fn tell(&mut self, word: Word);
}

/// How much has passed, and what there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// What the guest was sent.
    pub received: Passed,
    /// What it has sent.
    pub sent: Passed,
    /// Flows that there are: connections, and pairs of ends between which datagrams pass.
    pub flows: u64,
    /// The most that there may be.
    pub most_flows: u64,
    /// All that there have been.
    pub begun: u64,
    /// Those that a rule has refused.
    pub refused: u64,
    /// Those that there was no room for.
    pub turned_away: u64,
}

/// What has passed one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Frames, as long as they were on the link: one may be what many packets are outside.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Passed {
    /// One more has.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}
