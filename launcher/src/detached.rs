//! `cofferdam run --detach`: a sandbox whose supervisor lives on when whoever started it has gone.
//!
//! Owns: starting that supervisor, this same program with the same arguments in a session of its own, and the one word that
//! it owes. Never does: anything for it afterwards; what is wanted of it, its socket is asked for.
//!
//! ```text
//!   cofferdam run -d …                       cofferdam run --keeper …
//!      │ socket pair; one end is its stdin       │ setsid
//!      │ ◀────────── Started ID, or Ended ─────── │ once its container runs, or does not
//!      │ prints ID, is gone                      │ lives until the container ends
//! ```
//!
//! As PID 1 of the outer container it stays, for all processes there would end with it: it waits for the supervisor, passes
//! on to it what asks to end, and ends as it does.

use crate::child_end;
use crate::cli::{self, Command, Parsed, RunArgs};
use crate::error::Failure;
use crate::exit_code::LAUNCHER;
use crate::jail::channel::{Channel, ChannelError};
use crate::jail::orphans::{self, Ours};
use crate::session::signals::Signals;
use crate::session::{Ending, ends_a_process};
use protocol::ContainerId;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

/// What a supervisor has to say to whoever has started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// Its sandbox runs.
    Started(ContainerId),
    /// It does not, or no more.
    Ended(Ending),
}

/// The flag by which the supervisor knows what it is.
const KEEPER: &str = "--keeper";
/// The same, of one that is to end with whoever has started it.
const BOUND_KEEPER: &str = "--keeper=bound";
/// The flag by which whoever looks after it knows that.
const WARDEN: &str = "--warden";
/// The flag by which it knows whom it starts again.
const AGAIN: &str = "--again=";

/// Runs a container in the background, and prints its sandbox's identifier. Gives the exit code.
pub fn run(args: &RunArgs) -> u8 {
    let launched = if crate::warden::is_wanted(args) {
        launch_as(WARDEN, words(), None)
    } else {
        launch(words(), false, None)
    };
    let mut launched = match launched {
        Ok(launched) => launched,
        Err(failure) => return crate::run::told(Err(failure)),
    };
    match launched.started() {
        Ok(id) => {
            if let Err(failure) = crate::command::print(&format!("{id}\n")) {
                return crate::run::told(Err(failure));
            }
            if orphans::are_ours_to_reap() { launched.outlive() } else { 0 }
        }
        Err(ending) => crate::run::told(ending),
    }
}

/// The words of this process's run, without what it was told by whoever started it.
pub fn words() -> Vec<OsString> {
    // After the program's name and the command.
    let is_told = |word: &OsString| {
        let word = word.as_encoded_bytes();
        [KEEPER, WARDEN, AGAIN].iter().any(|flag| word.starts_with(flag.as_bytes()))
    };
    std::env::args_os().skip(2).skip_while(is_told).collect()
}

/// A supervisor that was started.
#[derive(Debug)]
pub struct Launched {
    channel: Channel,
    process: Child,
    _ours: Ours,
}

/// Starts a supervisor with the words of a `run`, in a directory, if that is not this process's own. One that is bound ends
/// with this process.
///
/// # Errors
/// Where it cannot be.
pub fn launch(
    words: Vec<OsString>,
    bound: bool,
    directory: Option<&Path>,
) -> Result<Launched, Failure> {
    launch_as(if bound { BOUND_KEEPER } else { KEEPER }, words, directory)
}

/// The word by which a supervisor knows whom it starts again, by its directory.
pub fn again(sandbox: &Path) -> OsString {
    let mut word = OsString::from(AGAIN);
    word.push(sandbox);
    word
}

/// Starts an ended sandbox again, of these words: with whoever looks after it, where its policy says so.
///
/// # Errors
/// Where it cannot be.
pub fn launch_again(
    sandbox: &Path,
    words: &[OsString],
    directory: &Path,
) -> Result<Launched, Failure> {
    let line = ["cofferdam", "run"].map(OsString::from);
    let is_looked_after = match cli::parse([&line[..], words].concat()) {
        Ok(Parsed::Command(Command::Run(args))) => crate::warden::is_wanted(&args),
        _ => false,
    };
    let what = if is_looked_after { WARDEN } else { KEEPER };
    launch_as(what, [&[again(sandbox)], words].concat(), Some(directory))
}

/// Starts one that knows by its first word what it is.
fn launch_as(
    what: &str,
    words: Vec<OsString>,
    directory: Option<&Path>,
) -> Result<Launched, Failure> {
    let (channel, theirs) = Channel::pair().map_err(Failure::plain)?;
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg0("cofferdam").arg("run").arg(what).args(words);
    directory.map(|directory| command.current_dir(directory));
    command.stdin(Stdio::from(theirs.into_fd())).stdout(Stdio::null());
    let (process, ours) = Ours::start(&mut command)
        .map_err(|error| Failure::plain(error).with_context("cannot start the supervisor"))?;
    Ok(Launched { channel, process, _ours: ours })
}

impl Launched {
    /// Waits until its sandbox runs; gives that, or how it is that it does not.
    ///
    /// # Errors
    /// Where it does not.
    pub fn started(&mut self) -> Result<ContainerId, Result<Ending, Failure>> {
        match self.channel.receive() {
            Ok((Word::Started(id), _)) => Ok(id),
            Ok((Word::Ended(ending), _)) => Err(Ok(ending)),
            Err(error) => Err(match self.process.wait().ok().and_then(|status| status.code()) {
                // It has said why itself: until it runs, it says that where this process does.
                Some(code) => Ok(Ending::new(u8::try_from(code).unwrap_or(LAUNCHER), None, None)),
                None => Err(Failure::plain(error).with_context("the supervisor was killed")),
            }),
        }
    }

    /// Waits for its end, asking for that where this process is asked to end; gives its exit code.
    pub fn outlive(self) -> u8 {
        self.wait_unless_asked().0
    }

    /// Waits for its end, asking for that where this process is asked to end; gives its exit code, and whether it was asked.
    pub fn wait_unless_asked(mut self) -> (u8, bool) {
        let is_asked = std::cell::Cell::new(false);
        let next = |signals: &Signals| {
            let signal = signals.next().filter(|&it| ends_a_process(it)).map(|_| Signal::TERM);
            is_asked.set(is_asked.get() || signal.is_some());
            signal
        };
        let code = child_end::wait_passing_on(&mut self.process, next);
        (code, is_asked.get())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Lets go of one that is bound, and waits until it has ended for that.
    pub fn end(self) {
        let Self { channel, mut process, _ours } = self;
        drop(channel);
        child_end::wait(&mut process);
    }
}

/// Whoever has started this process, and waits for its word.
#[derive(Debug)]
pub struct Starter {
    channel: Channel,
    /// It is to end with them.
    bound: bool,
    has_started: std::cell::Cell<bool>,
}

impl Starter {
    /// Takes this process's standard input for what it is, and has a session of its own.
    ///
    /// # Errors
    /// Where nobody has started it so.
    pub fn take(bound: bool) -> Result<Self, Failure> {
        let alone = |errno: rustix::io::Errno| {
            Failure::plain(errno).with_context("this is for cofferdam run --detach itself")
        };
        let channel = rustix::stdio::stdin();
        // Nobody else has a socket there that keeps packets apart.
        let kind = rustix::net::sockopt::socket_type(channel).map_err(alone)?;
        if kind != rustix::net::SocketType::SEQPACKET {
            return Err(alone(rustix::io::Errno::NOTSOCK));
        }
        let channel = rustix::io::fcntl_dupfd_cloexec(channel, 3).map_err(alone)?;
        rustix::stdio::dup2_stdin(rustix::stdio::stdout()).map_err(alone)?;
        rustix::process::setsid().map_err(alone)?;
        let channel = Channel::from_fd(channel);
        Ok(Self { channel, bound, has_started: false.into() })
    }

    /// Says a word to them.
    ///
    /// # Errors
    /// Where that cannot be said at all. That they are gone is seen where they are watched.
    pub fn tell(&self, word: &Word) -> Result<(), ChannelError> {
        self.has_started.set(true);
        match self.channel.send(word, &[]) {
            Err(ChannelError::Closed) => Ok(()),
            other => other,
        }
    }

    /// Whether they have been told anything.
    pub fn has_started(&self) -> bool {
        self.has_started.get()
    }

    /// Whether they hold it: their end is its end.
    pub fn holds(&self) -> bool {
        self.bound
    }
}

impl AsFd for Starter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
