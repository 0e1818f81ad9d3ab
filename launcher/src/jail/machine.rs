//! What is said between the launcher and whoever holds a machine's vsock device: the VMM, or the
//! devices process beside QEMU. Both are in the guest's reach: what they say is a claim.

use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use vmm::VmExit;
use vmm::virtio::vsock::Offers;

use super::channel::{Channel, ChannelError};

/// From the launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MachineRequest {
    /// Join the guest's next connection to this host port to the stream that comes with the message.
    Offer {
        /// The port.
        port: u32,
    },
}

/// To the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MachineEvent {
    /// The machine could not be made: the causes, outermost first.
    Refused(Vec<String>),
    /// It runs.
    Running,
    /// It has stopped.
    Exited(VmExit),
}

/// Makes the offers of a first message: its last open files are their streams, in order.
pub fn initial_offers(ports: &[u32], descriptors: &mut Vec<OwnedFd>) -> Offers {
    let offers = Offers::new();
    let first = descriptors.len().saturating_sub(ports.len());
    for (&port, stream) in ports.iter().zip(descriptors.drain(first..)) {
        // A machine is given a handful of streams, which is far below the limit.
        let _ = offers.offer(port, stream);
    }
    offers
}

/// Serves the launcher's requests until it is gone, and then ends this process: nobody is left to
/// run a machine for.
pub fn serve_requests(channel: &Channel, offers: &Offers) {
    loop {
        match channel.receive::<MachineRequest>() {
            Ok((MachineRequest::Offer { port }, descriptors)) => {
                if let Some(stream) = single(descriptors) {
                    // Over the limit the stream is closed, and its other end sees that.
                    let _ = offers.offer(port, stream);
                }
            }
            Err(ChannelError::Malformed(_) | ChannelError::TooLong) => {}
            Err(ChannelError::Closed | ChannelError::Socket(_)) => std::process::exit(1),
        }
    }
}

fn single(descriptors: Vec<OwnedFd>) -> Option<OwnedFd> {
    let [descriptor] = <[OwnedFd; 1]>::try_from(descriptors).ok()?;
    Some(descriptor)
}

/// The chain of an error's causes, outermost first, as the other side prints it.
pub fn causes(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}
