//! Relays between a process's standard streams and their connections, one thread for each direction.
//!
//! Bytes are neither looked at nor kept: a relay reads, writes what it read, and only then reads on,
//! so that whoever is slow slows the other side. What each end's closing means:
//!
//! - output at its end: the connection is shut down for writing, so that the launcher sees the end;
//! - the launcher no longer reads: the pipe is closed, so that the process gets SIGPIPE or EPIPE;
//! - the launcher's input at its end: the pipe is closed, so that the process sees the end;
//! - the process has ended: what stands in the pipe is still given on. Where somebody else keeps
//!   the pipe open, it is read for [`LINGER`] more, as Docker does, and no longer.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, write};
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use rustix::pipe::fcntl_getpipe_size;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long output is read on after the process has ended, where others keep it open.
const LINGER: Duration = Duration::from_secs(2);
/// What a terminal holds on the way to its master, at most.
const TERMINAL_BYTES: usize = 128 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;
const STACK_BYTES: usize = 32 * 1024;

/// The end of a process, for the relays of its streams to see.
#[derive(Debug)]
pub struct Ended {
    event: OwnedFd,
    at: OnceLock<Instant>,
}

impl Ended {
    /// A process that has not ended.
    ///
    /// # Errors
    /// What eventfd(2) says.
    pub fn new() -> Result<Arc<Self>, Errno> {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        Ok(Arc::new(Self { event: rustix::event::eventfd(0, flags)?, at: OnceLock::new() }))
    }

    /// It has ended.
    pub fn tell(&self) {
        let _ = self.at.set(Instant::now());
        // The event is never read, so it stays signalled; a second telling changes nothing.
        let _ = write(&self.event, &1u64.to_ne_bytes());
    }

    fn deadline(&self) -> Option<Instant> {
        self.at.get().map(|at| *at + LINGER)
    }
}

/// Runs a relay in a thread of its own.
///
/// # Errors
/// The thread cannot be made.
pub fn spawn(
    name: &str,
    relay: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, std::io::Error> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(relay)
}

/// Relays output: from a pipe or a terminal's master to a connection.
pub fn relay_output(source: &OwnedFd, connection: &OwnedFd, ended: &Ended) {
    if set_nonblocking(source).is_ok() {
        let mut output = Output { source, connection, ended, is_hangup_news: true, last: None };
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Some(count) = output.next(&mut buffer) {
            let Some(bytes) = buffer.get(..count) else { break };
            if send_all(connection, bytes).is_err() {
                break;
            }
        }
    }
    let _ = shutdown(connection, Shutdown::Write);
}

struct Output<'a> {
    source: &'a OwnedFd,
    connection: &'a OwnedFd,
    ended: &'a Ended,
    is_hangup_news: bool,
    /// How many bytes are still given on, once the time to linger is over.
    last: Option<usize>,
}

impl Output<'_> {
    /// Waits for output and reads it. `None` when there will be no more, or nobody to read it.
    fn next(&mut self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            let timeout = self.ended.deadline().map(time_until);
            let room = self.allowance(timeout == Some(NO_TIME)).min(buffer.len());
            match read(self.source, buffer.get_mut(..room)?) {
                // A terminal's master says EIO when nobody has the terminal open any more.
                Ok(0) | Err(Errno::IO) => return None,
                Ok(count) => {
                    self.last = self.last.map(|last| last.saturating_sub(count));
                    return Some(count);
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) if timeout == Some(NO_TIME) => return None,
                Err(Errno::AGAIN) => {}
                Err(_) => return None,
            }
            self.wait(timeout)?;
        }
    }

    /// How much may be read. Past the deadline it is what a pipe holds: all that stood in it when the
    /// process ended is given on, however slowly it is taken, and who writes on for ever is not heard
    /// for ever.
    fn allowance(&mut self, is_late: bool) -> usize {
        if !is_late {
            return usize::MAX;
        }
        let source = self.source;
        *self.last.get_or_insert_with(|| fcntl_getpipe_size(source).unwrap_or(TERMINAL_BYTES))
    }

    /// Waits for output, the end of the process or the time; `None` when nobody reads any more.
    fn wait(&mut self, timeout: Option<Timespec>) -> Option<()> {
        let hangup = if self.is_hangup_news { PollFlags::RDHUP } else { PollFlags::empty() };
        let mut waits =
            vec![PollFd::new(self.source, PollFlags::IN), PollFd::new(self.connection, hangup)];
        if timeout.is_none() {
            waits.push(PollFd::new(&self.ended.event, PollFlags::IN));
        }
        poll(&mut waits, timeout.as_ref()).ok().or(Some(0))?;
        let seen = waits.get(1).map_or(PollFlags::empty(), PollFd::revents);
        if seen.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP) {
            // The other side will send no more, which says nothing, or has gone, which does.
            if !seen.intersects(PollFlags::RDHUP)
                || send(self.connection, &[], SendFlags::NOSIGNAL).is_err()
            {
                return None;
            }
            self.is_hangup_news = false;
        }
        Some(())
    }
}

const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How long until then.
fn time_until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    Timespec::try_from(left).unwrap_or(NO_TIME)
}

/// Relays input: from a connection to a pipe or a terminal's master. `last` is what is shut down of
/// the connection at the end: of a terminal's, whose output goes the other way, only the reading.
pub fn relay_input(connection: &OwnedFd, sink: &OwnedFd, ended: &Ended, last: Shutdown) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Some(count) = next_input(connection, sink, ended, &mut buffer) {
        let Some(bytes) = buffer.get(..count) else { break };
        if write_all(sink, bytes).is_err() {
            break;
        }
    }
    let _ = shutdown(connection, last);
}

fn next_input(
    connection: &OwnedFd,
    sink: &OwnedFd,
    ended: &Ended,
    buffer: &mut [u8],
) -> Option<usize> {
    loop {
        let mut waits = [
            PollFd::new(connection, PollFlags::IN),
            PollFd::new(sink, PollFlags::empty()),
            PollFd::new(&ended.event, PollFlags::IN),
        ];
        match poll(&mut waits, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return None,
        }
        let [input, output, end] = waits.map(|wait| wait.revents());
        // Nobody will read what is written any more.
        if !output.is_empty() || !end.is_empty() {
            return None;
        }
        if !input.is_empty() {
            return match read(connection, &mut *buffer) {
                Ok(0) => None,
                Ok(count) => Some(count),
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(_) => None,
            };
        }
    }
}

fn set_nonblocking(file: &OwnedFd) -> Result<(), Errno> {
    fcntl_setfl(file, fcntl_getfl(file)? | OFlags::NONBLOCK)
}

fn send_all(connection: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
    all(bytes, |rest| send(connection, rest, SendFlags::NOSIGNAL), connection.as_fd())
}

fn write_all(sink: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
    all(bytes, |rest| write(sink, rest), sink.as_fd())
}

fn all(
    mut bytes: &[u8],
    write: impl Fn(&[u8]) -> Result<usize, Errno>,
    file: BorrowedFd<'_>,
) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(bytes) {
            Ok(0) => return Err(Errno::PIPE),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // A terminal's master has one set of flags for both directions.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&file, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
