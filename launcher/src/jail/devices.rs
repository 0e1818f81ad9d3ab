//! The devices process: serves block and vsock to QEMU, where there is no usable KVM.

use super::channel::{Channel, ChannelError};
use super::confine_thread;
use super::filter::List;
use super::machine::{MachineEvent, causes, initial_offers, watch_launcher};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vmm::{ThreadKind, Threads, VhostUserConfig, VmExit};

/// The first message. Its open files are the configuration's, then one stream for each offered port, then the line by
/// which more are offered.
#[derive(Debug, Serialize, Deserialize)]
pub struct DevicesStart {
    /// What to make.
    pub config: VhostUserConfig,
    /// The ports the guest may connect to from the start.
    pub offered_ports: Vec<u32>,
}

/// What the process does, to its end.
///
/// It cannot tell a reset from an orderly stop, which QEMU's exit code tells; it alone can see whether
/// the guest kernel left its panic mark in the memory that QEMU shared.
///
/// # Errors
/// Where the launcher cannot be heard or told.
pub fn run(channel: Channel) -> Result<(), ChannelError> {
    let (DevicesStart { config, offered_ports }, mut descriptors) = channel.receive()?;
    let offers = initial_offers(&offered_ports, &mut descriptors);
    let threads = Threads::confined_by(confine);
    let mut devices = match ::vmm::vhost_user_devices::serve(&config, descriptors, offers, threads)
    {
        Ok(devices) => devices,
        Err(error) => return channel.send(&MachineEvent::Refused(causes(&error)), &[]),
    };
    channel.send(&MachineEvent::Running, &[])?;
    let channel = Arc::new(channel);
    watch_launcher(&channel);
    let exit = if devices.wait().panicked { VmExit::Panicked } else { VmExit::Reset };
    channel.send(&MachineEvent::Exited(exit), &[])?;
    // Not taken apart: threads that end make calls that none of them may make.
    crate::sys::exit_now(0);
}

fn confine(kind: ThreadKind) {
    confine_thread(match kind {
        ThreadKind::Main => List::DevicesMain,
        ThreadKind::Connection => List::VhostUser,
        ThreadKind::Block => List::Block,
        ThreadKind::Vsock => List::Vsock,
        // QEMU has its own, and runs its own vCPUs.
        ThreadKind::Entropy => List::Entropy,
        ThreadKind::Net => List::Net,
        // In a process of its own.
        ThreadKind::FileSystem => List::Share,
        ThreadKind::Vcpu => List::Vcpu,
    });
}
