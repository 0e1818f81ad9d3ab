//! The terminal side: the user's streams, terminal and signals, for one attached process.
//!
//! Owns: standard input, output and error while attached; the terminal's mode; every signal of this
//! process. Never knows: what a machine, a container or an agent is.

use super::keys::DetachKeys;
use super::relay::{self, Output};
use super::signals::Signals;
use super::{Ending, StreamKind, SupervisorMessage, TerminalMessage, ends_a_process};
use crate::host::terminal_size;
use crate::jail::channel::{Channel, ChannelError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often SIGINT or SIGTERM must come before we give up on the container's own answer (Docker's 3).
const IMPATIENCE: u32 = 3;
const DETACHED: &str = "detached: it goes on without this terminal";
/// How long the last output may take to be written, where nobody waits for it with good reason.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// What the terminal side waits for, apart from signals.
struct Attached {
    outputs: Vec<Output>,
    /// At its end when the last output is.
    ended: OwnedFd,
    /// At its end when the keys are pressed that let go of the process.
    detached: Option<OwnedFd>,
    mode: Option<RawMode>,
    terminal: bool,
}

/// Attaches this process's streams to a sandbox, to its end, or until these keys are pressed on a terminal. Gives how it ended,
/// after the last byte of output has been written.
///
/// # Errors
/// Where the supervisor cannot be heard or told.
pub fn attach(
    channel: &Channel,
    signals: &Signals,
    mut keys: Option<DetachKeys>,
) -> Result<Ending, ChannelError> {
    let mut attached: Option<Attached> = None;
    let mut output_ended = false;
    let mut asked_to_end = 0;
    loop {
        let outputs = attached.as_ref().filter(|_| !output_ended).map(|it| it.ended.as_fd());
        let detached = attached.as_ref().and_then(|it| it.detached.as_ref()).map(AsFd::as_fd);
        let watched = [Some(channel.as_fd()), Some(signals.as_fd()), outputs, detached];
        let [message, signal, ended, is_detached] = ready(watched, None)?;
        if is_detached {
            return Ok(Ending::new(0, Some(DETACHED.to_owned()), None));
        }
        if ended {
            output_ended = true;
            tell(channel, TerminalMessage::OutputEnded)?;
        }
        if signal && let Some(number) = signals.next() {
            let ends = matches!(i32::from(number), libc::SIGINT | libc::SIGTERM);
            asked_to_end += u32::from(ends);
            match &attached {
                // In raw mode the keys go inside, and whoever sends signals means the container.
                Some(attached) if asked_to_end < IMPATIENCE || attached.mode.is_some() => {
                    forward(channel, number)?;
                }
                _ => leave(&mut attached, number),
            }
        }
        if message {
            match channel.receive()? {
                (SupervisorMessage::Streams(kind), files) => {
                    attached = Some(open(kind, files, keys.take())?);
                }
                (SupervisorMessage::Started, _) => {
                    // It may have changed since the plan was made.
                    if attached.as_ref().is_some_and(|attached| attached.terminal) {
                        resize(channel)?;
                    }
                }
                // Nobody has asked for it here, or could come.
                (
                    SupervisorMessage::Measured(_)
                    | SupervisorMessage::Kept(_)
                    | SupervisorMessage::Attach,
                    _,
                ) => {}
                (SupervisorMessage::Ended(ending), _) => return finish(ending, attached, signals),
            }
        }
    }
}

/// Waits for one of these, or until the deadline. Tells which are ready; what is not there never is.
pub(super) fn ready<const N: usize>(
    watched: [Option<BorrowedFd<'_>>; N],
    deadline: Option<Instant>,
) -> Result<[bool; N], ChannelError> {
    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    let mut fds: Vec<_> =
        watched.iter().flatten().map(|&fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut found = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok(watched.map(|fd| fd.is_some() && found.next().unwrap_or(false)))
}

fn forward(channel: &Channel, number: u8) -> Result<(), ChannelError> {
    if i32::from(number) == libc::SIGWINCH {
        return resize(channel);
    }
    tell(channel, TerminalMessage::Signal(number))
}

/// Whoever is gone may have left last words, which are read in their turn.
fn tell(channel: &Channel, message: TerminalMessage) -> Result<(), ChannelError> {
    match channel.send(&message, &[]) {
        Err(ChannelError::Closed) => Ok(()),
        other => other,
    }
}

fn resize(channel: &Channel) -> Result<(), ChannelError> {
    match terminal_size() {
        Some(size) => tell(channel, TerminalMessage::Resize(size)),
        None => Ok(()),
    }
}

/// Ends this process as the signal would have. Children die with it, and files that matter have no
/// name yet.
fn leave(attached: &mut Option<Attached>, number: u8) {
    if i32::from(number) == libc::SIGWINCH || i32::from(number) == libc::SIGCONT {
        return;
    }
    if let Some(attached) = attached {
        attached.mode = None;
    }
    std::process::exit(128 + i32::from(number));
}

fn open(
    kind: StreamKind,
    files: Vec<OwnedFd>,
    keys: Option<DetachKeys>,
) -> Result<Attached, ChannelError> {
    let (ended, ending) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let mut files = files.into_iter().map(Arc::new);
    let mut outputs = Vec::new();
    let mut copy = |stream: Option<Arc<OwnedFd>>, name, output| -> Result<(), ChannelError> {
        if let Some(stream) = stream {
            let ending = rustix::io::fcntl_dupfd_cloexec(&ending, 3)?;
            outputs.push(Output::copying(stream, name, output, ending));
        }
        Ok(())
    };
    let (stdout, stderr) = (rustix::stdio::stdout(), rustix::stdio::stderr());
    let (mode, input, terminal) = match kind {
        StreamKind::Pipes { stdin } => {
            copy(files.next(), "standard output", stdout)?;
            copy(files.next(), "standard error", stderr)?;
            (None, files.next().filter(|_| stdin), false)
        }
        StreamKind::Terminal { input } => {
            let stream = files.next();
            copy(stream.clone(), "standard output", stdout)?;
            // Where no key goes inside, those that make signals are to go on doing so.
            let mode = if input { RawMode::set() } else { None };
            (mode, stream.filter(|_| input), true)
        }
    };
    let mut detached = None;
    if let Some(stream) = input {
        let keys = keys.filter(|_| mode.is_some());
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let keys = match keys.map(|keys| pipe().map(|pipe| (keys, pipe))).transpose()? {
            Some((keys, (told, tells))) => {
                detached = Some(told);
                Some((keys, tells))
            }
            None => None,
        };
        relay::stdin_into(stream, keys);
    }
    Ok(Attached { outputs, ended, detached, mode, terminal })
}

/// Until when the last output is waited for: for ever where the process ended by itself.
pub(super) fn output_ends_by(ending: &Ending) -> Option<Instant> {
    (!ending.by_itself).then(|| Instant::now() + OUTPUT_PATIENCE)
}

/// Waits until all output is written: not for ever where the run was ended from outside, or is now.
fn finish(
    mut ending: Ending,
    mut attached: Option<Attached>,
    signals: &Signals,
) -> Result<Ending, ChannelError> {
    let mut deadline = output_ends_by(&ending);
    let mut asked_by = None;
    while let Some(waiting) = &attached {
        let [ended, signal] =
            ready([Some(waiting.ended.as_fd()), Some(signals.as_fd())], deadline)?;
        if ended {
            let outputs = attached.take().map(|attached| attached.outputs).unwrap_or_default();
            if let Some(failure) = outputs.into_iter().find_map(Output::failure) {
                ending.exit_code = crate::exit_code::LAUNCHER;
                ending.message.get_or_insert(failure);
            }
        } else if signal && let Some(number) = signals.next().filter(|&it| ends_a_process(it)) {
            asked_by.get_or_insert(number);
            deadline.get_or_insert_with(|| Instant::now() + OUTPUT_PATIENCE);
        } else if deadline.is_some_and(|at| at <= Instant::now()) {
            if let Some(number) = asked_by {
                leave(&mut attached, number);
            }
            attached = None;
        }
    }
    Ok(ending)
}

/// A terminal in raw mode, put back when dropped.
struct RawMode(Termios);

impl RawMode {
    fn set() -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        if !isatty(stdin) {
            return None;
        }
        let before = tcgetattr(stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone; there is nothing to put back then.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}
