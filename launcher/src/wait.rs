//! Waiting for one descriptor, with a deadline that interruptions do not move.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Waits until `fd` is ready as `flags` say, or has come to its end; `false` where the deadline came first.
///
/// # Errors
/// Where poll itself fails: then nothing is known of the descriptor.
pub fn ready_by(fd: impl AsFd, flags: PollFlags, deadline: Instant) -> Result<bool, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(&fd, flags)], Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Waits at most so long until `fd` can be read, or has come to its end.
///
/// # Errors
/// As [`ready_by`].
pub fn readable_within(fd: impl AsFd, patience: Duration) -> Result<bool, Errno> {
    ready_by(fd, PollFlags::IN, Instant::now() + patience)
}
