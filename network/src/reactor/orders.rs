//! What the network's owner orders while it serves.

use super::Reactor;
use crate::config::Publication;
use crate::owner::{Counts, Order, Owner, Word};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

/// The most ports that are published at a time.
const MOST_PUBLISHED: usize = 4096;

impl Reactor {
    /// Does what an owner orders, and tells them what they want to know. It ends with them.
    ///
    /// # Errors
    /// Where they cannot be watched.
    pub fn obey(&mut self, owner: Box<dyn Owner>) -> Result<(), crate::NetworkError> {
        let socket = owner.socket();
        epoll::add(&self.epoll, socket, EventData::new_u64(super::OWNER), EventFlags::IN)
            .map_err(|errno| crate::NetworkError::Watch(errno.into()))?;
        self.owner = Some(owner);
        Ok(())
    }

    /// Hears the owner's next order; false where they are gone.
    pub(super) fn hear_owner(&mut self) -> bool {
        let Some(order) = self.owner.as_mut().and_then(|owner| owner.order()) else {
            return false;
        };
        let word = match order {
            Order::Publish(publication) => self.publish(publication),
            Order::Withdraw(publication) => {
                self.published.remove(&publication);
                Word::Withdrawn(publication)
            }
            Order::Count => Word::Counted(self.counts()),
        };
        self.tell(word);
        true
    }

    /// Tells the owner something, if there is one.
    pub(super) fn tell(&mut self, word: Word) {
        if let Some(owner) = &mut self.owner {
            owner.tell(word);
        }
    }

    fn publish(&mut self, publication: Publication) -> Word {
        let published = match self.published.len() {
            ..MOST_PUBLISHED => self.published.add(publication, &self.epoll),
            _ => Err(Errno::MFILE),
        };
        match published {
            Ok(publication) => Word::Published(publication),
            Err(errno) => Word::NotPublished { publication, errno: errno.raw_os_error() },
        }
    }

    /// How much has passed, and what there is.
    pub(super) fn counts(&self) -> Counts {
        let (received, sent) = self.link.passed();
        Counts {
            received,
            sent,
            flows: self.flows.len() as u64,
            most_flows: self.flows.most() as u64,
            begun: self.flows.begun(),
            refused: self.refusals.count(),
            turned_away: self.turned_away,
        }
    }
}
