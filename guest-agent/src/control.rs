//! The control channel: the handshake, then each request to what answers it.
//!
//! Never starts or waits for anything itself: whatever takes time has a thread of its own, so that
//! a signal is never behind a container that is being made.

use crate::agent::Agent;
use crate::error::{OsError, Tried};
use crate::{early, power, sys};
use protocol::frame::{self, Decoder, FrameError};
use protocol::handshake::{Hello, PROTOCOL_VERSION, VersionMismatch, Welcome, greeting};
use protocol::{Event, Request, port};
use serde::Serialize;
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

/// The telling side of the control channel: any thread may.
#[derive(Debug)]
pub struct Control {
    writer: Mutex<File>,
}

/// The hearing side.
#[derive(Debug)]
pub struct Requests {
    file: File,
    decoder: Decoder,
}

/// Connects and says hello.
///
/// # Errors
/// The launcher is not reached.
pub fn open(agent_started_ns: u64) -> Result<(Control, Requests), ControlError> {
    const CHANNEL: &str = "the control channel";
    let connection =
        sys::connect_vsock(port::HOST_CID, port::CONTROL_PORT).tried("open", CHANNEL)?;
    let writer = File::from(connection);
    let file = writer.try_clone().tried("duplicate", CHANNEL)?;
    let control = Control { writer: Mutex::new(writer) };
    let kernel = rustix::system::uname();
    control.send(&Hello {
        protocol_version: PROTOCOL_VERSION,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_release: kernel.release().to_string_lossy().into_owned(),
        agent_started_ns,
    })?;
    Ok((control, Requests { file, decoder: Decoder::default() }))
}

impl Control {
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
}

impl Requests {
    /// Waits for what `next` takes from the messages that arrive.
    fn receive<M>(
        &mut self,
        next: impl Fn(&mut Decoder) -> Result<Option<M>, ControlError>,
    ) -> Result<M, ControlError> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(message) = next(&mut self.decoder)? {
                return Ok(message);
            }
            let count = self.file.read(&mut buffer).tried("read from", "the control channel")?;
            if count == 0 {
                return Err(ControlError::Closed);
            }
            self.decoder.push(buffer.get(..count).unwrap_or_default());
        }
    }
}

/// Serves requests until the launcher asks for the end, or is lost.
///
/// # Errors
/// The launcher was lost.
pub fn serve(requests: &mut Requests, agent: &Arc<Agent>) -> Result<(), ControlError> {
    loop {
        match requests.receive(|decoder| Ok(decoder.next()?))? {
            Request::Start(spec) => crate::agent::start_container(agent, *spec),
            Request::Run { process, spec } => crate::agent::run_process(agent, process, *spec),
            Request::Signal { process, signal } => agent.supervisor.signal(&process, signal),
            Request::Resize { process, size } => agent.supervisor.resize(&process, size),
            Request::Measure(container) => {
                if let Some(usage) = crate::cgroup::usage::of(&container) {
                    agent.control.tell(&Event::Measured { container, usage });
                }
            }
            Request::Freeze(wanted) => crate::agent::freeze(agent, wanted),
            Request::Limit { container, resources } => {
                crate::agent::limit(agent, container, resources);
            }
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
pub fn greet(requests: &mut Requests) -> Result<(), ControlError> {
    let welcome: Welcome = requests.receive(greeting)?;
    Ok(early::set_clock(welcome.realtime_ns)?)
}
