//! What is said between the launcher and whoever holds a machine's vsock device: the VMM, or the
//! devices process beside QEMU. Both are in the guest's reach: what they say is a claim.

use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use vmm::VmExit;
use vmm::virtio::vsock::Offers;

use super::channel::Channel;
use super::filter::List;
use std::sync::Arc;

/// To the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MachineEvent {
    /// The machine could not be made: the causes, outermost first.
    Refused(Vec<String>),
    /// It runs. Its open files are those of what KVM counts, where they were asked for.
    Running,
    /// It has stopped.
    Exited(VmExit),
}

/// Makes the offers of a first message: its last open file is the line by which more come, those before are their
/// streams, in order.
pub fn initial_offers(ports: &[u32], descriptors: &mut Vec<OwnedFd>) -> Offers {
    let offers = Offers::new();
    if let Some(line) = descriptors.pop() {
        offers.listen_to(line);
    }
    let first = descriptors.len().saturating_sub(ports.len());
    for (&port, stream) in ports.iter().zip(descriptors.drain(first..)) {
        // A machine is given a handful of streams, which is far below the limit.
        let _ = offers.offer(port, stream);
    }
    offers
}

/// Ends this process when the launcher is gone: nobody is left to run a machine for. On a thread of its own,
/// which ends with the process, or ends it.
pub fn watch_launcher(channel: &Arc<Channel>) {
    let launcher = Arc::clone(channel);
    let watch = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
        super::confine_thread(List::Watch);
        end_with_launcher(&launcher);
    });
    // Without it the parent-death signal is left, which does the same.
    drop(watch);
}

/// The launcher has nothing more to say, so there is nothing to read.
fn end_with_launcher(channel: &Channel) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut end = [PollFd::new(channel, PollFlags::empty())];
    while poll(&mut end, None) == Err(rustix::io::Errno::INTR) {}
    crate::sys::exit_now(1);
}

/// The chain of an error's causes, outermost first, as the other side prints it.
pub fn causes(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}
