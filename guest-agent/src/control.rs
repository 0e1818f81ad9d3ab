//! The control channel: the handshake, then each request to what answers it.
//!
//! Never starts or waits for anything itself: whatever takes time has a thread of its own, so that
//! a signal is never behind a container that is being made.

use crate::agent::Agent;
use crate::error::{OsError, Tried};
use crate::{early, power, sys};
use protocol::frame::{self, Decoder, FrameError};
use protocol::handshake::{Hello, PROTOCOL_VERSION, VersionMismatch, Welcome, check_version};
use protocol::{Event, Request, port};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Why the conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The channel broke.
    #[error(transparent)]
    Os(#[from] OsError),
    /// What came is no message, or what goes is too long.
    #[error("cannot exchange messages with the launcher")]
    Frame(#[from] FrameError),
    /// The launcher speaks another version.
    #[error(transparent)]
    Version(#[from] VersionMismatch),
    /// The launcher closed it.
    #[error("the launcher closed the control channel")]
    Closed,
}

/// The control channel: one reads, any may tell events.
#[derive(Debug)]
pub struct Control {
    reader: Mutex<(File, Decoder)>,
    writer: Mutex<File>,
}

impl Control {
    /// Connects and says hello.
    ///
    /// # Errors
    /// The launcher is not reached.
    pub fn open(agent_started_ns: u64) -> Result<Self, ControlError> {
        const CHANNEL: &str = "the control channel";
        let connection =
            sys::connect_vsock(port::HOST_CID, port::CONTROL_PORT).tried("open", CHANNEL)?;
        let writer = File::from(connection);
        let reader = writer.try_clone().tried("duplicate", CHANNEL)?;
        let control =
            Self { reader: Mutex::new((reader, Decoder::default())), writer: Mutex::new(writer) };
        let kernel = rustix::system::uname();
        control.send(&Hello {
            protocol_version: PROTOCOL_VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel_release: kernel.release().to_string_lossy().into_owned(),
            agent_started_ns,
        })?;
        Ok(control)
    }

    /// Tells an event. A launcher that does not hear it is noticed by the reading side.
    pub fn tell(&self, event: &Event) {
        if let Err(error) = self.send(event) {
            crate::log::debug(&error);
        }
    }

    fn send(&self, message: &impl Serialize) -> Result<(), ControlError> {
        let bytes = frame::encode(message)?;
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(writer.write_all(&bytes).tried("write to", "the control channel")?)
    }

    fn receive<M: DeserializeOwned>(&self) -> Result<M, ControlError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, decoder) = &mut *reader;
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(message) = decoder.next()? {
                return Ok(message);
            }
            let count = file.read(&mut buffer).tried("read from", "the control channel")?;
            if count == 0 {
                return Err(ControlError::Closed);
            }
            decoder.push(buffer.get(..count).unwrap_or_default());
        }
    }
}

/// Serves requests until the launcher asks for the end, or is lost.
///
/// # Errors
/// The launcher was lost.
pub fn serve(agent: &Arc<Agent>) -> Result<(), ControlError> {
    loop {
        match agent.control.receive()? {
            Request::Start(spec) => crate::agent::start_container(agent, *spec),
            Request::Run { process, spec } => crate::agent::run_process(agent, process, *spec),
            Request::Signal { process, signal } => agent.supervisor.signal(&process, signal),
            Request::Resize { process, size } => agent.supervisor.resize(&process, size),
            Request::PowerOff => {
                power::release(agent);
                agent.control.tell(&Event::PoweringOff);
                return Ok(());
            }
        }
    }
}

/// The handshake's second half: sets the clock by the launcher's.
///
/// # Errors
/// The launcher speaks another version, or breaks off.
pub fn greet(control: &Control) -> Result<(), ControlError> {
    let welcome: Welcome = control.receive()?;
    check_version(welcome.protocol_version)?;
    Ok(early::set_clock(welcome.realtime_ns)?)
}
