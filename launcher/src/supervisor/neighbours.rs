//! The processes that a guest relies on beside its machine's own, and what they say.
//!
//! Owns: which there are, what is asked of whoever carries the network, and what of Docker's ports has come of that. Never
//! does: start one, or end one.

use super::docker_ports::DockerPorts;
use super::orders::Orders;
use super::visitors::Visitors;
use crate::jail::Child;
use crate::networks;
use crate::outcome::Outcome;
use network::Word;
use rustix::event::{PollFd, PollFlags};

/// A process that the guest relies on beside its machine's own.
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a> {
    /// The process.
    pub process: &'a Child,
    /// What it is that it is gone, while its machine runs.
    pub lost: fn(&Child) -> Outcome,
    /// Hears what it says; none where it is not to be understood, and as good as gone.
    pub hear: fn(&Child) -> Option<Word>,
}

impl Watched<'_> {
    /// Its end, and its word.
    fn events(&self) -> [PollFd<'_>; 2] {
        let Self { process, .. } = self;
        [
            PollFd::new(process.end_event(), PollFlags::IN),
            PollFd::new(process.channel(), PollFlags::IN),
        ]
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Neighbours<'a> {
    /// They themselves.
    pub processes: Vec<Watched<'a>>,
    /// The way to whoever carries the network, if there is one.
    pub orders: Option<Orders<'a>>,
    /// What Docker publishes in the guest, where that is wanted.
    pub docker: Option<DockerPorts<'a>>,
}

impl Neighbours<'_> {
    /// What is to be watched.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let docker = self.docker.as_ref().and_then(DockerPorts::watched);
        let docker = docker.map(|said| PollFd::from_borrowed_fd(said, PollFlags::IN));
        self.processes.iter().flat_map(Watched::events).chain(docker)
    }

    /// Hears those that are ready, in the order in which they were watched. What it is that one of them is gone.
    pub fn hear(&mut self, ready: &[bool], mut visitors: Option<&mut Visitors>) -> Option<Outcome> {
        let mut lost = None;
        let mut words = Vec::new();
        for (neighbour, events) in self.processes.iter().zip(ready.chunks(2)) {
            let [has_ended, speaks] = [0, 1].map(|index| events.get(index) == Some(&true));
            let word = speaks.then(|| (neighbour.hear)(neighbour.process));
            if has_ended || matches!(word, Some(None)) {
                lost = lost.or_else(|| Some((neighbour.lost)(neighbour.process)));
            }
            words.extend(word.flatten());
        }
        words.into_iter().for_each(|word| self.on_word(&word, visitors.as_deref_mut()));
        if ready.get(2 * self.processes.len()) == Some(&true)
            && let (Some(docker), Some(orders)) = (&mut self.docker, &mut self.orders)
        {
            docker.hear().into_iter().for_each(|order| orders.give(order));
        }
        lost
    }

    /// What whoever carries the network says.
    fn on_word(&mut self, word: &Word, visitors: Option<&mut Visitors>) {
        let Some(orders) = &mut self.orders else { return };
        if let Word::Refused(refusal) = word {
            if !orders.quiet {
                networks::tell(refusal);
            }
            return;
        }
        orders.answered();
        match (word, visitors, &mut self.docker) {
            (Word::Counted(counts), Some(visitors), _) => visitors.counted(*counts),
            (Word::Counted(_), None, _) | (_, _, None) => {}
            (_, _, Some(docker)) => docker.told(word),
        }
    }
}
