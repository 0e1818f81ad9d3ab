//! The terminal side: the user's streams, terminal and signals, for one attached process.
//!
//! Owns: standard input, output and error while attached; the terminal's mode; every signal of this
//! process. Never knows: what a machine, a container or an agent is.

use super::relay;
use super::{Ending, StreamKind, SupervisorMessage, TerminalMessage};
use crate::jail::channel::{Channel, ChannelError};
use protocol::TerminalSize;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The signals that are taken from this process: those that end a process, or tell it something, and
/// that a program can catch. SIGPIPE, SIGCHLD and the job-control signals keep their meaning here.
const TAKEN_SIGNALS: [libc::c_int; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGCONT,
    libc::SIGWINCH,
];

/// How often SIGINT or SIGTERM must come before we give up on the container's own answer (Docker's 3).
const IMPATIENCE: u32 = 3;

/// The signals of this process, taken before anything can send one.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Takes them for this thread and all it starts.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn take() -> Result<Self, rustix::io::Errno> {
        crate::sys::signal_descriptor(&TAKEN_SIGNALS).map(Self)
    }

    fn next(&self) -> Option<u8> {
        // struct signalfd_siginfo is 128 bytes and begins with the signal's number.
        let mut bytes = [0u8; 128];
        rustix::io::read(&self.0, &mut bytes).ok()?;
        bytes.first_chunk::<4>().map(|n| u32::from_ne_bytes(*n)).and_then(|n| n.try_into().ok())
    }
}

/// The size of the terminal on standard output, or else standard input.
pub fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(rustix::stdio::stdout())
        .or_else(|_| tcgetwinsize(rustix::stdio::stdin()))
        .ok()?;
    Some(TerminalSize { rows: size.ws_row, columns: size.ws_col })
}

/// What the terminal side waits for, apart from signals.
struct Attached {
    outputs: Vec<JoinHandle<()>>,
    mode: Option<RawMode>,
    terminal: bool,
}

/// Attaches this process's streams to a sandbox, to its end. Gives how it ended, after the last byte
/// of output has been written.
pub fn attach(channel: &Channel, signals: &Signals) -> Result<Ending, ChannelError> {
    let mut attached: Option<Attached> = None;
    let mut asked_to_end = 0;
    loop {
        let mut ready =
            [PollFd::new(channel, PollFlags::IN), PollFd::new(&signals.0, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [message, signal] = ready.map(|fd| !fd.revents().is_empty());
        if signal && let Some(number) = signals.next() {
            let ends = matches!(i32::from(number), libc::SIGINT | libc::SIGTERM);
            asked_to_end += u32::from(ends);
            match &attached {
                Some(attached) if asked_to_end < IMPATIENCE || attached.terminal => {
                    forward(channel, number)?;
                }
                _ => leave(&mut attached, number),
            }
        }
        if message {
            match channel.receive()? {
                (SupervisorMessage::Streams(kind), files) => attached = Some(open(kind, files)),
                (SupervisorMessage::Started, _) => {}
                (SupervisorMessage::Ended(ending), _) => {
                    finish(attached);
                    return Ok(ending);
                }
            }
        }
    }
}

fn forward(channel: &Channel, number: u8) -> Result<(), ChannelError> {
    if i32::from(number) != libc::SIGWINCH {
        return channel.send(&TerminalMessage::Signal(number), &[]);
    }
    match size() {
        Some(size) => channel.send(&TerminalMessage::Resize(size), &[]),
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

fn open(kind: StreamKind, files: Vec<OwnedFd>) -> Attached {
    let mut files = files.into_iter().map(Arc::new);
    match kind {
        StreamKind::Pipes { stdin } => {
            let out = files.next().map(|stream| relay::out_of(stream, rustix::stdio::stdout()));
            let err = files.next().map(|stream| relay::out_of(stream, rustix::stdio::stderr()));
            if let Some(stream) = files.next().filter(|_| stdin) {
                relay::stdin_into(stream);
            }
            let outputs = out.into_iter().chain(err).collect();
            Attached { outputs, mode: None, terminal: false }
        }
        StreamKind::Terminal { input } => {
            let mode = RawMode::set();
            let stream = files.next();
            if let Some(stream) = stream.clone().filter(|_| input) {
                relay::stdin_into(stream);
            }
            let output = stream.map(|stream| relay::out_of(stream, rustix::stdio::stdout()));
            Attached { outputs: output.into_iter().collect(), mode, terminal: true }
        }
    }
}

fn finish(attached: Option<Attached>) {
    let Some(attached) = attached else { return };
    for output in attached.outputs {
        // A relay that panicked has ended, which is all that is asked here.
        let _ = output.join();
    }
    drop(attached.mode);
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
