//! The VMM process: boots the machine it is told, and says how it ended.

use super::channel::Channel;
use super::filter::List;
use super::machine::{MachineEvent, causes, initial_offers, watch_launcher};
use super::{JailError, confine_thread, limits, step};
use ::vmm::{ThreadKind, Threads, VmConfig};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::sync::Arc;

/// The first message. Its open files are the configuration's, then one stream for each offered port, then the line by
/// which more are offered.
#[derive(Debug, Serialize, Deserialize)]
pub struct VmmStart {
    /// What to make.
    pub config: VmConfig,
    /// The ports the guest may connect to from the start.
    pub offered_ports: Vec<u32>,
    /// Whether the launcher wants the files of what KVM counts.
    pub counted: bool,
}

/// What the process does, to its end.
///
/// # Errors
/// Where the launcher cannot be heard or told, or the process not be limited.
pub fn run(channel: Channel) -> Result<(), JailError> {
    let (VmmStart { config, offered_ports, counted }, mut descriptors) = channel.receive()?;
    let offers = initial_offers(&offered_ports, &mut descriptors);
    limits::around_guest_memory(config.memory_mib).map_err(step("limit its memory"))?;
    let vm = match ::vmm::boot(&config, descriptors, offers, Threads::confined_by(confine)) {
        Ok(vm) => vm,
        Err(error) => return Ok(channel.send(&MachineEvent::Refused(causes(&error)), &[])?),
    };
    let counts = if counted { vm.counts() } else { Vec::new() };
    let files: Vec<_> = counts.iter().map(AsFd::as_fd).collect();
    channel.send(&MachineEvent::Running, &files)?;
    drop(files);
    drop(counts);
    let channel = Arc::new(channel);
    watch_launcher(&channel);
    let stopped = vm.run();
    channel.send(&MachineEvent::Exited(stopped.exit.clone()), &[])?;
    // Not taken apart: that takes KVM tens of milliseconds, and threads calls that none of them may make.
    crate::sys::exit_now(0);
}

fn confine(kind: ThreadKind) {
    confine_thread(match kind {
        ThreadKind::Main => List::VmmMain,
        ThreadKind::Vcpu => List::Vcpu,
        ThreadKind::Block => List::Block,
        ThreadKind::Vsock => List::Vsock,
        ThreadKind::Entropy => List::Entropy,
        ThreadKind::Net => List::Net,
        // Only beside QEMU.
        ThreadKind::Connection => List::VhostUser,
        // In a process of its own.
        ThreadKind::FileSystem => List::Share,
    });
}
