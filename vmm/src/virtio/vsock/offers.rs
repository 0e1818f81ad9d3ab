//! The host ends that wait for a guest to connect.

use super::MAX_CONNECTIONS;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why an offer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// As many as are allowed wait already.
    #[error("{MAX_CONNECTIONS} streams already wait for the guest to connect")]
    Full,
}

/// Streams offered to the guest, each for one connection to one host port. A handle: clones share.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    by_port: HashMap<u32, VecDeque<OwnedFd>>,
    count: usize,
}

impl Offers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Joins the guest's next connection to host port `port` with `stream`, a connected Unix stream
    /// socket. Several offers for one port are taken in their order. Without an offer the guest's
    /// connection is refused.
    ///
    /// # Errors
    /// [`OfferError::Full`]; the stream is closed then.
    pub fn offer(&self, port: u32, stream: OwnedFd) -> Result<(), OfferError> {
        let mut waiting = self.lock();
        if waiting.count >= MAX_CONNECTIONS {
            return Err(OfferError::Full);
        }
        waiting.count += 1;
        waiting.by_port.entry(port).or_default().push_back(stream);
        Ok(())
    }

    /// Takes back what waits for `port`: the other ends see that nobody will come.
    pub fn withdraw(&self, port: u32) {
        let mut waiting = self.lock();
        let withdrawn = waiting.by_port.remove(&port).map_or(0, |streams| streams.len());
        waiting.count -= withdrawn;
    }

    /// Takes the first stream offered for `port`.
    pub(super) fn take(&self, port: u32) -> Option<OwnedFd> {
        let mut waiting = self.lock();
        let streams = waiting.by_port.get_mut(&port)?;
        let stream = streams.pop_front();
        if streams.is_empty() {
            waiting.by_port.remove(&port);
        }
        waiting.count -= usize::from(stream.is_some());
        stream
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change is whole before its lock is let go, so a panic elsewhere leaves no half of one.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
