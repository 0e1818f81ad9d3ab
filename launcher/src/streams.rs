//! The streams of a sandbox: socket pairs between the terminal side and the machine's vsock device.
//!
//! Owns: making them, and who gets which end. Never does: read or write one.

use crate::accelerator::Offer;
use crate::container_spec::StreamPorts;
use crate::error::Failure;
use crate::jail::channel::{Channel, ChannelError};
use crate::plan::RunPlan;
use crate::session::{StreamKind, SupervisorMessage};
use protocol::port::CONTROL_PORT;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The control channel and the standard streams of one sandbox's init process.
#[derive(Debug)]
pub struct Streams {
    kind: StreamKind,
    control: Option<OwnedFd>,
    ours: Vec<OwnedFd>,
    offers: Vec<Offer>,
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
        let mut streams =
            Self { kind, control: Some(control), ours: Vec::new(), offers: vec![offer] };
        for port in list {
            let (ours, offer) = pair(port)?;
            streams.ours.push(ours);
            streams.offers.push(offer);
        }
        Ok(streams)
    }

    /// The machine's ends.
    pub fn take_offers(&mut self) -> Vec<Offer> {
        std::mem::take(&mut self.offers)
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

fn pair(port: u32) -> Result<(OwnedFd, Offer), Failure> {
    let (ours, stream) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|errno| Failure::plain(format!("cannot make a stream: {errno}")))?;
    Ok((ours, Offer { port, stream }))
}
