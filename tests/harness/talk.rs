//! One end of a connection, that sends and hears as it is told, and knows what it must hear.
//!
//! Owns: its stream. Never does: wait past its deadline.

use super::Random;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How often one that is to be reset says something.
const PERSISTENCE: Duration = Duration::from_millis(20);
/// How much it says at a time then.
const PERSISTENT: usize = 100;

/// What one end does.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it sends. One that is to be reset begins again and again.
    pub sends: Vec<u8>,
    /// How many bytes it writes at a time, and reads, at most.
    pub piece: usize,
    /// Having heard so much it hears nothing for so long.
    pub pause: Option<(usize, Duration)>,
    /// How it ends.
    pub finale: Finale,
}

/// How an end of a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finale {
    /// Having sent all.
    First,
    /// Having heard the other's end, and then sent the last half of all.
    Last,
    /// By a reset, having sent all and heard something; its end may have gone before.
    Resets {
        /// Whether it has.
        ended: bool,
    },
    /// By a reset of the other's.
    IsReset {
        /// Whether the other's end goes before.
        ended: bool,
    },
}

/// An end at work.
struct Talk<'t> {
    stream: TcpStream,
    part: &'t Part,
    /// What the other one sends.
    theirs: &'t [u8],
    sent: usize,
    heard: usize,
    has_ended: bool,
    has_heard_end: bool,
    /// Until then it does not hear.
    deaf_until: Option<Instant>,
    /// Until then it does not speak.
    mute_until: Instant,
}

/// Does a part of a talk with one that sends `theirs`, in as many pieces as chance has it.
///
/// # Errors
/// What was not as it is to be.
pub fn talk(
    stream: TcpStream,
    part: &Part,
    theirs: &[u8],
    random: &mut Random,
    deadline: Instant,
) -> Result<(), String> {
    stream.set_nonblocking(true).map_err(|error| error.to_string())?;
    let mut talk = Talk {
        stream,
        part,
        theirs,
        sent: 0,
        heard: 0,
        has_ended: false,
        has_heard_end: false,
        deaf_until: None,
        mute_until: Instant::now(),
    };
    let outcome = talk.run(random, deadline);
    outcome.map_err(|words| {
        let Talk { sent, heard, has_ended, has_heard_end, .. } = talk;
        format!(
            "{words}, having sent {sent} of {} (ended: {has_ended}) and heard {heard} of {} (ended: {has_heard_end})",
            part.sends.len(),
            theirs.len()
        )
    })
}

impl Talk<'_> {
    fn run(&mut self, random: &mut Random, deadline: Instant) -> Result<(), String> {
        let finale = self.part.finale;
        let mut buffer = vec![0; self.part.piece];
        loop {
            let now = Instant::now();
            if now > deadline {
                return Err("it was not done in time".to_owned());
            }
            let sends_end = self.has_sent_all() && !matches!(finale, Finale::IsReset { .. });
            if sends_end && !self.has_ended && finale != (Finale::Resets { ended: false }) {
                self.stream.shutdown(Shutdown::Write).map_err(|it| format!("shutdown: {it}"))?;
                self.has_ended = true;
            }
            if matches!(finale, Finale::Resets { .. }) && self.has_sent_all() && self.heard > 0 {
                rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))
                    .map_err(|errno| errno.to_string())?;
                return Ok(());
            }
            if self.has_ended && self.has_heard_end {
                return Ok(());
            }
            let hears = !self.has_heard_end && self.deaf_until.is_none_or(|until| until <= now);
            let speaks = self.has_more() && self.mute_until <= now;
            let (can_hear, can_speak) = self.wait(hears, speaks, deadline)?;
            // Whoever is gone is not waited for by chance.
            let most = 1 + random.below(self.part.piece as u64) as usize;
            if can_hear && self.hear(&mut buffer[..most])? || can_speak && self.speak(most)? {
                return Ok(());
            }
        }
    }

    fn has_sent_all(&self) -> bool {
        self.sent >= self.part.sends.len()
    }

    fn has_more(&self) -> bool {
        let half = self.part.sends.len() / 2;
        match self.part.finale {
            Finale::IsReset { .. } => true,
            Finale::Last if !self.has_heard_end => self.sent < half,
            _ => !self.has_sent_all(),
        }
    }

    /// Waits until it can hear or speak, or wants to do so again.
    fn wait(&self, hears: bool, speaks: bool, deadline: Instant) -> Result<(bool, bool), String> {
        let wanted = [(hears, PollFlags::IN), (speaks, PollFlags::OUT)];
        let flags = wanted.iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| *flag).collect();
        let next = [self.deaf_until, Some(self.mute_until)].into_iter().flatten();
        let now = Instant::now();
        let until = next.filter(|at| *at > now).min().unwrap_or(deadline).min(deadline);
        let patience = until.saturating_duration_since(now) + Duration::from_millis(1);
        let patience = Timespec::try_from(patience).map_err(|error| error.to_string())?;
        let mut ends = [PollFd::new(&self.stream, flags)];
        match poll(&mut ends, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.to_string()),
        }
        let told = ends[0].revents();
        let lost = told.intersects(PollFlags::ERR | PollFlags::HUP);
        Ok((
            told.contains(PollFlags::IN) || lost,
            (told.contains(PollFlags::OUT) || lost) && self.has_more(),
        ))
    }

    /// Whether it was reset, as it is to be.
    fn lost(&self, error: &std::io::Error) -> Result<bool, String> {
        let is_reset = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        let is_due = is_reset && matches!(self.part.finale, Finale::IsReset { .. });
        if is_due { Ok(true) } else { Err(format!("it broke off: {error}")) }
    }

    fn hear(&mut self, buffer: &mut [u8]) -> Result<bool, String> {
        match self.stream.read(buffer) {
            Ok(0) => {
                let ends = matches!(
                    self.part.finale,
                    Finale::First | Finale::Last | Finale::IsReset { ended: true }
                );
                self.has_heard_end = ends && self.heard == self.theirs.len();
                if self.has_heard_end { Ok(false) } else { Err("it heard an end".to_owned()) }
            }
            Ok(count) if !self.is_right(&buffer[..count]) => {
                Err(format!("it heard {count} bytes that are not right"))
            }
            Ok(count) => {
                let before = self.heard;
                self.heard += count;
                if let Some((at, time)) = self.part.pause
                    && (before..self.heard).contains(&at)
                {
                    self.deaf_until = Some(Instant::now() + time);
                }
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => self.lost(&error),
        }
    }

    /// Whether that is what comes next.
    fn is_right(&self, bytes: &[u8]) -> bool {
        match self.theirs.get(self.heard..self.heard + bytes.len()) {
            Some(next) => next == bytes,
            // Of one that is to be reset, and begins again.
            None if matches!(self.part.finale, Finale::Resets { .. }) => {
                let from = self.heard % self.theirs.len();
                let next = self.theirs.iter().cycle().skip(from);
                next.take(bytes.len()).eq(bytes)
            }
            None => false,
        }
    }

    fn speak(&mut self, most: usize) -> Result<bool, String> {
        let all = &self.part.sends;
        let mut most = most;
        if self.has_sent_all() {
            // Not all at once: whoever is to hear it may be gone.
            self.mute_until = Instant::now() + PERSISTENCE;
            most = most.min(PERSISTENT);
        }
        let at = self.sent % all.len().max(1);
        let limit = match self.part.finale {
            Finale::Last if !self.has_heard_end => all.len() / 2,
            _ => all.len(),
        };
        match self.stream.write(&all[at..limit.min(at + most)]) {
            Ok(count) => {
                self.sent += count;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => self.lost(&error),
        }
    }
}
