//! The host ends that wait for a guest to connect.

use super::MAX_CONNECTIONS;
use crate::virtio::line;
use rustix::io::Errno;
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
    /// Where more may come from.
    line: Option<OwnedFd>,
}

impl Waiting {
    /// Takes in what has come by the line.
    fn hear(&mut self) {
        while self.count < MAX_CONNECTIONS
            && let Some(line) = &self.line
        {
            match line::receive(line) {
                Ok(Some((port, stream))) => {
                    // No guest asks for one that is no port.
                    let Ok(port) = u32::try_from(port) else { continue };
                    self.count += 1;
                    self.by_port.entry(port).or_default().push_back(stream);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Whoever offers is gone, or is not understood.
                Ok(None) | Err(_) => self.line = None,
            }
        }
    }
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

    /// More offers come by this socket of packets, each by [`send`](line::send), its port the number. It is looked at when a guest connects.
    pub fn listen_to(&self, line: OwnedFd) {
        self.lock().line = Some(line);
    }

    /// Takes the first stream offered for `port`.
    pub(super) fn take(&self, port: u32) -> Option<OwnedFd> {
        let mut waiting = self.lock();
        waiting.hear();
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn pair() -> (OwnedFd, Offers) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let offers = Offers::new();
        offers.listen_to(theirs);
        (ours, offers)
    }

    #[test]
    fn what_is_offered_later_is_found_when_it_is_looked_for() {
        let (far, offers) = pair();
        assert!(offers.take(9).is_none());
        for word in [&b"one"[..], b"two"] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            line::send(far.as_fd(), 9, theirs.as_fd()).unwrap();
            ours.write_all(word).unwrap();
        }
        assert!(offers.take(8).is_none(), "another port");
        for word in ["one", "two"] {
            let mut heard = String::new();
            UnixStream::from(offers.take(9).unwrap()).read_to_string(&mut heard).unwrap();
            assert_eq!(heard, word);
        }
        assert!(offers.take(9).is_none());
    }

    #[test]
    fn a_line_that_says_nonsense_or_ends_is_left() {
        let (far, offers) = pair();
        rustix::net::send(&far, b"nonsense", SendFlags::empty()).unwrap();
        let (_ours, theirs) = UnixStream::pair().unwrap();
        line::send(far.as_fd(), 9, theirs.as_fd()).unwrap();
        assert!(offers.take(9).is_none());
        assert!(line::send(far.as_fd(), 9, theirs.as_fd()).is_err(), "nobody listens");
        let (far, offers) = pair();
        drop(far);
        assert!(offers.take(9).is_none());
    }

    #[test]
    fn no_more_wait_than_may() {
        let (far, offers) = pair();
        let (_ours, theirs) = UnixStream::pair().unwrap();
        for _ in 0..MAX_CONNECTIONS {
            offers.offer(1, theirs.try_clone().unwrap().into()).unwrap();
        }
        line::send(far.as_fd(), 9, theirs.as_fd()).unwrap();
        assert!(offers.take(9).is_none(), "it waits its turn");
        assert!(offers.take(1).is_some());
        assert!(offers.take(9).is_some());
    }
}
