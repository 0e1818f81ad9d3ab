//! The terminal side of a sandbox that has no terminal: what it says is kept, and shown to whoever attaches.
//!
//! Owns: its log, its streams, the audience of each; every signal of this process, and what it says itself. Never knows: what
//! a machine, a container or an agent is.
//!
//! ```text
//!   a stream of the sandbox ──▶ its thread ──▶ the log
//!                                         └──▶ everybody who is attached, one after the other
//!   everybody's input ──▶ a thread each ──▶ the sandbox's standard input, which stays open
//! ```
//!
//! Whoever is attached and takes nothing holds the sandbox up, as a terminal would that was stopped; but for [`PATIENCE`]
//! alone, and nobody else: then they are let go.

use super::relay;
use super::terminal::{output_ends_by, ready};
use super::{Ending, StreamKind, SupervisorMessage, TerminalMessage, ends_a_process};
use crate::detached::{Starter, Word};
use crate::jail::channel::{Channel, ChannelError};
use crate::log::write::Log;
use crate::log::{Limits, Stream};
use crate::session::signals::Signals;
use protocol::ContainerId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, send};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How long somebody who is attached may take nothing.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// What is kept of what the sandbox says, and where.
#[derive(Debug)]
pub struct Keeping {
    /// The state directory.
    pub state_dir: PathBuf,
    /// How much; `None` is nothing.
    pub limits: Option<Limits>,
}

/// A log that all threads write to; none where nothing is kept.
type SharedLog = Arc<Mutex<Option<Log>>>;

/// A stream of the sandbox's, and who reads along.
#[derive(Debug, Default)]
struct Output {
    /// Those who have come since something was said last.
    come: Mutex<Vec<OwnedFd>>,
}

/// What is waited for, apart from signals.
#[derive(Debug)]
struct Keeper<'a> {
    starter: Option<Starter>,
    keeping: &'a Keeping,
    id: Option<ContainerId>,
    log: SharedLog,
    kind: Option<StreamKind>,
    outputs: Vec<Arc<Output>>,
    input: Option<Arc<OwnedFd>>,
    /// At its end when the last output is.
    ended: Option<OwnedFd>,
}

/// Keeps what a sandbox says, to its end. Gives how it ended, which `starter` is told where it never ran.
///
/// # Errors
/// Where the supervisor cannot be heard or told.
pub fn keep(
    session: &Channel,
    signals: &Signals,
    starter: Starter,
    keeping: &Keeping,
) -> Result<Ending, ChannelError> {
    let mut keeper = Keeper {
        starter: Some(starter),
        keeping,
        id: None,
        log: Arc::default(),
        kind: None,
        outputs: Vec::new(),
        input: None,
        ended: None,
    };
    let mut output_ended = false;
    loop {
        let starter = keeper.starter.as_ref().map(AsFd::as_fd);
        let outputs = keeper.ended.as_ref().filter(|_| !output_ended).map(AsFd::as_fd);
        let [message, signal, ended, gone] =
            ready([Some(session.as_fd()), Some(signals.as_fd()), outputs, starter], None)?;
        if ended {
            output_ended = true;
            tell(session, TerminalMessage::OutputEnded)?;
        }
        if gone {
            // Whoever has started it, and has to see it run, or it is to end with them.
            keeper.starter = None;
            keeper.stop(session)?;
        }
        if signal && signals.next().is_some_and(ends_a_process) {
            keeper.stop(session)?;
        }
        if message {
            match session.receive()? {
                (SupervisorMessage::Kept(id), _) => keeper.open_log(id),
                (SupervisorMessage::Streams(kind), files) => keeper.take(kind, files)?,
                (SupervisorMessage::Started, _) => keeper.started()?,
                (SupervisorMessage::Attach, files) => keeper.attach(files),
                (SupervisorMessage::Measured(_), _) => {}
                (SupervisorMessage::Ended(ending), _) => return keeper.finish(ending),
            }
        }
    }
}

impl Keeper<'_> {
    /// Where nothing runs yet, nobody is missed.
    fn stop(&self, session: &Channel) -> Result<(), ChannelError> {
        if self.kind.is_none() {
            std::process::exit(128 + libc::SIGTERM);
        }
        tell(session, TerminalMessage::Stop)
    }

    fn open_log(&mut self, id: ContainerId) {
        let directory = crate::state::directory(&self.keeping.state_dir, &id);
        if let Some(limits) = self.keeping.limits {
            match Log::open(&directory, limits) {
                Ok(log) => *lock(&self.log) = Some(log),
                Err(error) => {
                    crate::error::say(&format!("what the sandbox says is not kept: {error}"));
                }
            }
        }
        self.id = Some(id);
    }

    fn take(&mut self, kind: StreamKind, files: Vec<OwnedFd>) -> Result<(), ChannelError> {
        let (ended, ending) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut files = files.into_iter().map(Arc::new);
        let (outputs, is_input) = match kind {
            StreamKind::Pipes { stdin } => (vec![Stream::Stdout, Stream::Stderr], stdin),
            StreamKind::Terminal { input } => (vec![Stream::Stdout], input),
        };
        for stream in outputs {
            let Some(file) = files.next() else { return Err(ChannelError::Closed) };
            if matches!(kind, StreamKind::Terminal { .. }) && is_input {
                self.input = Some(Arc::clone(&file));
            }
            let ending = rustix::io::fcntl_dupfd_cloexec(&ending, 3)?;
            self.outputs.push(self.keep_output(stream, file, ending));
        }
        self.input = self.input.take().or_else(|| files.next().filter(|_| is_input));
        (self.kind, self.ended) = (Some(kind), Some(ended));
        Ok(())
    }

    /// Keeps what comes by a stream, in a thread. `ended` is closed at its end.
    fn keep_output(&self, stream: Stream, file: Arc<OwnedFd>, ended: OwnedFd) -> Arc<Output> {
        let output = Arc::new(Output::default());
        let (own, log) = (Arc::clone(&output), Arc::clone(&self.log));
        std::thread::spawn(move || {
            let mut audience = Vec::new();
            // It ends with the stream, in whatever way.
            let _ = relay::each_piece(&*file, |bytes| {
                if let Some(log) = lock(&log).as_mut() {
                    log.write(stream, bytes);
                }
                audience.append(&mut lock(&own.come));
                audience.retain(|stream| give(stream, bytes).is_ok());
                Ok(())
            });
            // Whoever comes from now on sees the end as well.
            audience.append(&mut lock(&own.come));
            let _ = rustix::net::shutdown(&*file, Shutdown::Both);
            for stream in &audience {
                let _ = rustix::net::shutdown(stream, Shutdown::Write);
            }
            drop(ended);
        });
        output
    }

    /// The container runs: whoever has started it is told, and what this process has to say is kept, too.
    fn started(&mut self) -> Result<(), ChannelError> {
        if let (Some(starter), Some(id)) = (&self.starter, &self.id) {
            starter.tell(&Word::Started(id.clone()))?;
            if !starter.holds() {
                self.starter = None;
            }
        }
        let (said, say) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::stdio::dup2_stderr(&say)?;
        let log = Arc::clone(&self.log);
        std::thread::spawn(move || {
            relay::each_piece(&said, |bytes| {
                if let Some(log) = lock(&log).as_mut() {
                    log.write(Stream::Stderr, bytes);
                }
                Ok(())
            })
        });
        Ok(())
    }

    /// Lets somebody read along, and write.
    fn attach(&self, files: Vec<OwnedFd>) {
        let mut files = files.into_iter();
        let is_terminal = matches!(self.kind, Some(StreamKind::Terminal { .. }));
        let mut input = None;
        for output in &self.outputs {
            let Some(file) = files.next() else { return };
            if is_terminal {
                input = file.try_clone().ok();
            }
            lock(&output.come).push(file);
        }
        input = files.next().or(input);
        if let (Some(from), Some(to)) = (input, self.input.clone()) {
            // It stays open when they go: others may come.
            std::thread::spawn(move || relay::copy(from, &*to));
        }
    }

    /// Waits until all output is kept: not for ever where it was ended from outside.
    fn finish(mut self, mut ending: Ending) -> Result<Ending, ChannelError> {
        if let Some(ended) = &self.ended {
            let deadline = output_ends_by(&ending);
            while ready([Some(ended.as_fd())], deadline)? == [false]
                && deadline.is_none_or(|at| at > Instant::now())
            {}
        }
        if self.kind.is_none()
            || self.starter.as_ref().is_some_and(|starter| !starter.has_started())
        {
            if let Some(starter) = self.starter.take() {
                starter.tell(&Word::Ended(ending.clone()))?;
            }
            return Ok(Ending::new(ending.exit_code, None, None));
        }
        // Said here: what is written to standard error now, nobody would wait for.
        let hint = ending.hint.take().map(|hint| format!("hint: {hint}\n"));
        if let (Some(log), Some(message)) = (lock(&self.log).as_mut(), ending.message.take()) {
            let said = format!("cofferdam: {message}\n{}", hint.unwrap_or_default());
            log.write(Stream::Stderr, said.as_bytes());
        }
        Ok(ending)
    }
}

/// Gives all of it to somebody who is attached, if they take it in time.
fn give(stream: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match send(stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                match poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&PATIENCE)) {
                    Ok(0) => return Err(Errno::TIMEDOUT),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn tell(session: &Channel, message: TerminalMessage) -> Result<(), ChannelError> {
    match session.send(&message, &[]) {
        // What it has said last is read in its turn.
        Err(ChannelError::Closed) => Ok(()),
        other => other,
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
