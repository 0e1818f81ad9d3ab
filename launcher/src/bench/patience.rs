//! Waiting for what a layer does: until it does it, its time is over, or somebody ends the bench.

use crate::session::signals::Signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Who waits.
#[derive(Debug)]
pub struct Patience {
    signals: Signals,
}

/// Why nobody waits any longer.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// It took too long.
    #[error("nothing came within {0:?}")]
    Late(Duration),
    /// Somebody ended the bench.
    #[error("it was interrupted")]
    Interrupted,
    /// The kernel refuses.
    #[error("cannot wait for it")]
    Refused(#[source] Errno),
}

impl Patience {
    /// Takes this process's signals: the first that comes ends the bench.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self { signals: Signals::take()? })
    }

    /// Waits until there is something to be read.
    ///
    /// # Errors
    /// [`Cut`].
    pub fn readable(
        &self,
        what: BorrowedFd<'_>,
        begun: Instant,
        within: Duration,
    ) -> Result<(), Cut> {
        loop {
            let left = within.checked_sub(begun.elapsed()).ok_or(Cut::Late(within))?;
            let timeout = Timespec::try_from(left).map_err(|_| Cut::Late(within))?;
            let mut both = [
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(what, PollFlags::IN),
            ];
            match poll(&mut both, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Cut::Refused(error)),
            }
            let [signal, it] = both.map(|it| !it.revents().is_empty());
            if signal && self.signals.next().is_some() {
                return Err(Cut::Interrupted);
            }
            if it {
                return Ok(());
            }
        }
    }
}
