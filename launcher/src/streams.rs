//! The streams of a sandbox: socket pairs between the terminal side and the machine's vsock device.
//!
//! Owns: making them, and who gets which end. Never does: read or write one.

use crate::accelerator::Offer;
use crate::container_spec::StreamPorts;
use crate::error::Failure;
use crate::jail::channel::{Channel, ChannelError};
use crate::plan::RunPlan;
use crate::session::{StreamKind, SupervisorMessage};
use protocol::port::{CONTROL_PORT, FIRST_STREAM_PORT};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// More ports than a first process has streams.
const FIRST_PORTS: u32 = 16;

/// The control channel and the standard streams of one sandbox's init process.
#[derive(Debug)]
pub struct Streams {
    kind: StreamKind,
    control: Option<OwnedFd>,
    ours: Vec<OwnedFd>,
    offers: Vec<Offer>,
    line: Line,
    machines_line: Option<OwnedFd>,
}

/// By which the guest may be offered more streams while it runs.
#[derive(Debug)]
pub struct Line {
    socket: OwnedFd,
    next_port: u32,
}

impl Line {
    /// A line, and the machine's end of it.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn pair() -> Result<(Self, OwnedFd), Errno> {
        let (socket, machines) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { socket, next_port: FIRST_STREAM_PORT + FIRST_PORTS }, machines))
    }

    /// Offers a new stream to the guest; gives our end, and its port.
    ///
    /// # Errors
    /// Where it cannot be made, or the machine does not take it.
    pub fn offer(&mut self) -> Result<(OwnedFd, u32), Errno> {
        let (ours, stream) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((ours, self.give(stream.as_fd())?))
    }

    /// Offers somebody's stream to the guest; gives its port.
    ///
    /// # Errors
    /// Where the machine does not take it.
    pub fn give(&mut self, stream: BorrowedFd<'_>) -> Result<u32, Errno> {
        let port = self.next_port;
        vmm::virtio::line::send(self.socket.as_fd(), port.into(), stream)?;
        // After four thousand million of them the first are long forgotten.
        self.next_port = port.checked_add(1).unwrap_or(FIRST_STREAM_PORT + FIRST_PORTS);
        Ok(port)
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Streams {
    /// Makes them, as the process wants them.
    ///
    /// # Errors
    /// Where a socket pair cannot be made.
    pub fn make(plan: &RunPlan) -> Result<Self, Failure> {
        let ports = StreamPorts::for_plan(plan);
        let (kind, list) = match ports {
            StreamPorts::Terminal(port) => {
                (StreamKind::Terminal { input: plan.process.interactive }, vec![port])
            }
            StreamPorts::Pipes { stdin, stdout, stderr } => {
                let list = [stdout, stderr].into_iter().chain(stdin).collect();
                (StreamKind::Pipes { stdin: stdin.is_some() }, list)
            }
        };
        let (control, offer) = pair(CONTROL_PORT)?;
        let (line, machines_line) =
            Line::pair().map_err(|errno| Failure::plain(format!("cannot make a line: {errno}")))?;
        let mut streams = Self {
            kind,
            control: Some(control),
            ours: Vec::new(),
            offers: vec![offer],
            line,
            machines_line: Some(machines_line),
        };
        for port in list {
            let (ours, offer) = pair(port)?;
            streams.ours.push(ours);
            streams.offers.push(offer);
        }
        Ok(streams)
    }

    /// The machine's ends: of the streams, and of the line.
    ///
    /// # Errors
    /// Where they have been taken before.
    pub fn take_offers(&mut self) -> Result<(Vec<Offer>, OwnedFd), Failure> {
        let line = self.machines_line.take().ok_or_else(|| Failure::plain("the line is in use"))?;
        Ok((std::mem::take(&mut self.offers), line))
    }

    /// Our end of the line.
    pub fn into_line(self) -> Line {
        self.line
    }

    /// Our end of the control channel.
    ///
    /// # Errors
    /// Where it has been taken before.
    pub fn take_control(&mut self) -> Result<OwnedFd, Failure> {
        self.control.take().ok_or_else(|| Failure::plain("the control channel is in use"))
    }

    /// Gives the terminal side its ends, and keeps none.
    ///
    /// # Errors
    /// Where the terminal side is gone.
    pub fn hand_to(&mut self, session: &Channel) -> Result<(), ChannelError> {
        let ours = std::mem::take(&mut self.ours);
        let files: Vec<BorrowedFd<'_>> = ours.iter().map(AsFd::as_fd).collect();
        session.send(&SupervisorMessage::Streams(self.kind), &files)
    }
}

/// So many streams, each of two ends: all the one ends, all the others.
///
/// # Errors
/// Where they cannot be made.
pub fn pairs(count: usize) -> Result<(Vec<OwnedFd>, Vec<OwnedFd>), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let pair = |_| socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    Ok((0..count).map(pair).collect::<Result<Vec<_>, _>>()?.into_iter().unzip())
}

fn pair(port: u32) -> Result<(OwnedFd, Offer), Failure> {
    let (ours, stream) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|errno| Failure::plain(format!("cannot make a stream: {errno}")))?;
    Ok((ours, Offer { port, stream }))
}
