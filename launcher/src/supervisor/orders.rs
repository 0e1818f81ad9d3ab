//! What the network process is asked for while it serves.
//!
//! Owns: the order that is answered next, and those behind it: one at a time, so that nobody ever waits for its socket to
//! have room. Never does: wait for an answer.

use crate::jail::Child;
use network::Order;
use std::collections::VecDeque;

/// The orders of one network.
#[derive(Debug)]
pub struct Orders<'a> {
    process: &'a Child,
    /// What it refuses is not told.
    pub quiet: bool,
    waiting: VecDeque<Order>,
    is_asked: bool,
}

impl<'a> Orders<'a> {
    /// No order yet.
    pub fn new(process: &'a Child, quiet: bool) -> Self {
        Self { process, quiet, waiting: VecDeque::new(), is_asked: false }
    }

    /// Gives one. Whoever wants to know how much has passed shares the answer with others who do.
    pub fn give(&mut self, order: Order) {
        if order != Order::Count || !self.waiting.contains(&order) {
            self.waiting.push_back(order);
        }
        self.next();
    }

    /// The last one is answered.
    pub fn answered(&mut self) {
        self.is_asked = false;
        self.next();
    }

    fn next(&mut self) {
        if !self.is_asked
            && let Some(order) = self.waiting.pop_front()
        {
            self.is_asked = true;
            // That it is gone is noticed where it is watched.
            let _ = self.process.channel().send(&order, &[]);
        }
    }
}
