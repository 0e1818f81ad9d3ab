//! Somebody who came to a sandbox by its socket.
//!
//! Owns: what for, and the way to them. Never does: any of what they came for.

use crate::jail::channel::{Channel, ChannelError};
use crate::session::{ControlRequest, Ending, Measured, SupervisorMessage, TerminalMessage};
use network::Counts;
use protocol::{ProcessRef, Usage};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How soon whoever comes says for what.
const SAID_WITHIN: Duration = Duration::from_secs(1);

/// What somebody has come for.
#[derive(Debug)]
pub enum Errand {
    /// They have not said.
    Unsaid,
    /// A process of theirs.
    Process {
        /// It.
        process: ProcessRef,
        /// It is a container's first process.
        is_container: bool,
    },
    /// What the sandbox uses, as far as it is known.
    Measures(Partly),
    /// That all containers stand still, or go on.
    Pause(bool),
    /// Other limits.
    Limits,
    /// The sandbox's own streams.
    Streams,
    /// The sandbox's end.
    End,
    /// They have been told all, and have nothing more to say.
    Over,
}

/// Somebody who came, until they go and their process has ended.
#[derive(Debug)]
pub struct Visitor {
    /// Whoever came, as long as they are there. They go where they are heard, and nowhere else: until then everybody has
    /// the place at which they were watched.
    pub channel: Option<Channel>,
    /// What for.
    pub errand: Errand,
}

/// What a sandbox uses, as far as it is known. Whether there is a network is always.
#[derive(Debug, Clone, Copy, Default)]
pub struct Partly {
    /// Its first container.
    pub usage: Option<Usage>,
    /// Its network.
    pub network: Option<Option<Counts>>,
}

impl Visitor {
    /// Tells them.
    pub fn tell(&self, message: &SupervisorMessage) {
        self.hand(message, &[]);
    }

    /// The same with files. Whether they have it.
    pub fn hand(&self, message: &SupervisorMessage, files: &[OwnedFd]) -> bool {
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        // A handful of messages fit whether they are read or not. Who is gone is noticed where it is read.
        self.channel.as_ref().is_some_and(|channel| channel.send(message, &files).is_ok())
    }

    /// Somebody who has come, or nobody, for whom a process of the sandbox's own is.
    pub fn new(channel: Option<Channel>) -> Self {
        Self { channel, errand: Errand::Unsaid }
    }

    /// The process that is theirs.
    pub fn process(&self) -> Option<&ProcessRef> {
        match &self.errand {
            Errand::Process { process, .. } => Some(process),
            _ => None,
        }
    }

    /// Takes in what they want to know, and tells it once it is all there.
    pub fn learn(&mut self, more: Partly) {
        let Errand::Measures(known) = &mut self.errand else { return };
        known.usage = known.usage.or(more.usage);
        known.network = known.network.or(more.network);
        if let Partly { usage: Some(usage), network: Some(network) } = *known {
            self.errand = Errand::Unsaid;
            self.tell(&SupervisorMessage::Measured(Box::new(Measured { usage, network })));
        }
    }

    /// The last message.
    pub fn end(&mut self, ending: Ending) {
        self.tell(&SupervisorMessage::Ended(ending));
        self.errand = Errand::Over;
    }

    /// Whether it is the sandbox's end that they have come for, which they say at once.
    pub fn wants_the_end(&self) -> bool {
        let Some(channel) = &self.channel else { return false };
        let says = crate::wait::readable_within(channel, SAID_WITHIN) == Ok(true);
        let said = says.then(|| channel.receive::<ControlRequest>());
        let said = said.and_then(Result::ok).map(|(request, _)| request);
        use ControlRequest::{Attach, Stop, Wait};
        matches!(said, Some(Wait | Stop { .. } | Attach { .. }))
    }

    /// Hears what they say once it is known what they are there for. What that is for their process, or for the sandbox's.
    pub fn hear(&mut self) -> Option<TerminalMessage> {
        match self.channel.as_ref()?.receive::<TerminalMessage>() {
            Ok((message, _)) => Some(message),
            // What was on its way when it ended, or makes no sense.
            Err(ChannelError::Malformed(_) | ChannelError::TooLong) => None,
            Err(_) => {
                self.channel = None;
                None
            }
        }
    }
}
