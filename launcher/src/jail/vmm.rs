//! The VMM process: boots the machine it is told, and says how it ended.

use super::channel::{Channel, ChannelError};
use super::machine::{MachineEvent, causes, end_with_launcher, initial_offers};
use ::vmm::VmConfig;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The first message. Its open files are the configuration's, then one stream for each offered port.
#[derive(Debug, Serialize, Deserialize)]
pub struct VmmStart {
    /// What to make.
    pub config: VmConfig,
    /// The ports the guest may connect to from the start.
    pub offered_ports: Vec<u32>,
}

/// What the process does, to its end.
///
/// # Errors
/// Where the launcher cannot be heard or told.
pub fn run(channel: Channel) -> Result<(), ChannelError> {
    let (VmmStart { config, offered_ports }, mut descriptors) = channel.receive()?;
    let offers = initial_offers(&offered_ports, &mut descriptors);
    let vm = match ::vmm::boot(&config, descriptors, offers) {
        Ok(vm) => vm,
        Err(error) => return channel.send(&MachineEvent::Refused(causes(&error)), &[]),
    };
    channel.send(&MachineEvent::Running, &[])?;
    let channel = Arc::new(channel);
    let launcher = Arc::clone(&channel);
    // Never joined: the thread ends with the process, or ends it when the launcher is gone.
    std::thread::spawn(move || end_with_launcher(&launcher));
    // Told before the machine is taken apart: that takes KVM longer than the launcher needs to wait.
    let stopped = vm.run();
    channel.send(&MachineEvent::Exited(stopped.exit.clone()), &[])
}
