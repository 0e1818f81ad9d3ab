//! The launcher's end of the control channel to the guest agent.
//!
//! Owns: the handshake, and whole messages out of bytes. Never believes: anything the agent says
//! beyond its form; what an event may do is the supervisor's to decide.

use protocol::frame::{Decoder, FrameError, encode};
use protocol::handshake::{Hello, PROTOCOL_VERSION, VersionMismatch, Welcome, greeting};
use protocol::{Event, Request};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::{Serialize, de::DeserializeOwned};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

const READ_BYTES: usize = 16 * 1024;
/// How long the agent may take to read a request, whole.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the agent cannot be spoken with any more.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The stream failed.
    #[error("the control channel to the guest agent failed")]
    Stream(#[source] Errno),
    /// The agent, or its machine, is gone.
    #[error("the guest agent is gone")]
    Closed,
    /// It does not take what it is told.
    #[error("the guest agent does not read its requests")]
    Deaf,
    /// It sent what is no message.
    #[error("the guest agent sent what cannot be understood")]
    Frame(#[from] FrameError),
    /// It tells of what it was not asked for, and does not stop.
    #[error("the guest agent told {0} times of what it was not asked for")]
    Unasked(u32),
    /// It tells of an end that no process has.
    #[error("the guest agent says that a process was ended by signal {0}, and there is none")]
    NoSuchSignal(u8),
    /// It is of another version.
    #[error("the guest agent does not fit this launcher")]
    Version(#[from] VersionMismatch),
}

/// The control channel.
#[derive(Debug)]
pub struct AgentClient {
    stream: OwnedFd,
    decoder: Decoder,
}

impl AgentClient {
    /// Takes the launcher's end of the stream that was offered to the agent.
    pub fn new(stream: OwnedFd) -> Self {
        Self { stream, decoder: Decoder::default() }
    }

    /// Reads what has arrived. Call it when the stream is readable.
    ///
    /// # Errors
    /// [`AgentError::Closed`] at its end.
    pub fn fill(&mut self) -> Result<(), AgentError> {
        let mut bytes = [0; READ_BYTES];
        match rustix::net::recv(&self.stream, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Err(AgentError::Closed),
            Ok((count, _)) => {
                self.decoder.push(bytes.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => Err(AgentError::Stream(errno)),
        }
    }

    /// Answers the agent's first message, if it has arrived, and gives it.
    ///
    /// # Errors
    /// Where it is no such message or of another version.
    pub fn shake_hands(&mut self) -> Result<Option<Hello>, AgentError> {
        let hello: Option<Hello> = greeting::<_, AgentError>(&mut self.decoder)?;
        let Some(hello) = hello else { return Ok(None) };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let realtime_ns = u64::try_from(now.as_nanos()).unwrap_or_default();
        self.send(&Welcome { protocol_version: PROTOCOL_VERSION, realtime_ns })?;
        Ok(Some(hello))
    }

    /// The next event, if it has arrived whole.
    ///
    /// # Errors
    /// Where the bytes are no event.
    pub fn event(&mut self) -> Result<Option<Event>, AgentError> {
        self.next()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`AgentError::Deaf`] where the agent has let its requests pile up: it is never waited for.
    pub fn request(&self, request: &Request) -> Result<(), AgentError> {
        self.send(request)
    }

    fn next<M: DeserializeOwned>(&mut self) -> Result<Option<M>, AgentError> {
        self.decoder.next().map_err(AgentError::Frame)
    }

    fn send<M: Serialize>(&self, message: &M) -> Result<(), AgentError> {
        let bytes = encode(message).map_err(AgentError::Frame)?;
        let mut rest = bytes.as_slice();
        let deadline = Instant::now() + PATIENCE;
        while !rest.is_empty() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.stream, rest, flags) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait_for_room(deadline)?,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(AgentError::Closed),
                Err(errno) => return Err(AgentError::Stream(errno)),
            }
        }
        Ok(())
    }

    fn wait_for_room(&self, deadline: Instant) -> Result<(), AgentError> {
        match crate::wait::ready_by(&self.stream, PollFlags::OUT, deadline) {
            Ok(true) => Ok(()),
            Ok(false) => Err(AgentError::Deaf),
            Err(errno) => Err(AgentError::Stream(errno)),
        }
    }
}

impl AsFd for AgentClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
