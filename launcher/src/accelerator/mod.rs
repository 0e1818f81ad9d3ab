//! Who runs the machine: our VMM on KVM, or QEMU's TCG with our devices beside it.
//!
//! Owns: the choice, the processes of a running machine, and one face for both. Never knows: what
//! runs in the guest.

mod choose;
mod kvm;
pub mod kvm_counts;
mod parts;
mod qemu_arguments;
mod tcg;

pub use choose::{Choice, ChooseError, choose, unusable};
pub use parts::{ConsoleSink, MachineParts, Offer, Stretch};

use crate::jail::channel::{Channel, ChannelError};
use crate::jail::machine::MachineEvent;
use crate::jail::{Child, SpawnError};
use kvm_counts::KvmCounts;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use vmm::{STOP_VALUE, VmExit};

/// Why a machine could not be started, or is lost.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A process could not be started.
    #[error("cannot start the machine's processes")]
    Spawn(#[from] SpawnError),
    /// A process does not answer.
    #[error("cannot speak to the machine's processes")]
    Channel(#[from] ChannelError),
    /// A file could not be made for it.
    #[error("cannot hand the guest kernel to QEMU")]
    Handover(#[source] io::Error),
}

/// A machine and the processes it is made of. Dropping it kills them.
#[derive(Debug)]
pub enum Machine {
    /// Our VMM.
    Kvm {
        /// The VMM process.
        vmm: Child,
        /// The files of what KVM counts, where they were asked for.
        counts: Vec<OwnedFd>,
    },
    /// QEMU.
    Tcg {
        /// QEMU itself. It stands first, so that it is killed before it can miss its devices.
        qemu: Child,
        /// The process that serves block and vsock.
        devices: Child,
    },
}

impl Machine {
    /// Starts the processes of a machine; it boots while this returns.
    ///
    /// # Errors
    /// [`MachineError`], and then no process is left.
    pub fn start(choice: &Choice, parts: &MachineParts) -> Result<Self, MachineError> {
        match choice {
            Choice::Kvm(device) => kvm::start(device, parts),
            Choice::Tcg { qemu, .. } => tcg::start(qemu, parts),
        }
    }

    /// Where the machine's [`MachineEvent`]s arrive.
    pub fn channel(&self) -> &Channel {
        match self {
            Machine::Kvm { vmm, .. } => vmm.channel(),
            Machine::Tcg { devices, .. } => devices.channel(),
        }
    }

    /// What KVM has counted of its vCPUs, if that was asked for and this KVM can tell. Once: the files keep the
    /// machine from being taken apart, and are closed.
    pub fn take_counts(&mut self) -> Option<KvmCounts> {
        match self {
            Machine::Kvm { counts, .. } => kvm_counts::read(&std::mem::take(counts)),
            Machine::Tcg { .. } => None,
        }
    }

    /// Receives what has arrived on the channel. A process that is gone without a word is an exit.
    pub fn event(&mut self) -> MachineEvent {
        let (event, files) = match self.channel().receive::<MachineEvent>() {
            Ok((event, files)) => (Ok(event), files),
            Err(error) => (Err(error), Vec::new()),
        };
        match (self, event) {
            (Machine::Kvm { counts, .. }, Ok(MachineEvent::Running)) => {
                *counts = files;
                MachineEvent::Running
            }
            // What has said its last ends by itself: the kernel takes it apart no faster if it is killed.
            (Machine::Kvm { vmm, .. }, Ok(MachineEvent::Exited(exit))) => {
                vmm.end(LAST_MOMENTS);
                MachineEvent::Exited(exit)
            }
            (Machine::Tcg { qemu, devices }, Ok(MachineEvent::Exited(seen))) => {
                devices.end(LAST_MOMENTS);
                MachineEvent::Exited(with_qemu_exit(qemu, seen))
            }
            (_, Ok(event)) => event,
            (Machine::Kvm { vmm, .. }, Err(_)) => lost(vmm, "VMM"),
            (Machine::Tcg { devices, .. }, Err(_)) => lost(devices, "devices"),
        }
    }
}

/// How long the processes of a machine may take to end, once one of them has.
const LAST_MOMENTS: Duration = Duration::from_secs(3);

/// What a machine's end was, by what the devices process saw in guest memory and how QEMU ended.
fn with_qemu_exit(qemu: &mut Child, seen: VmExit) -> VmExit {
    const STOPPED: i32 = (STOP_VALUE as i32) << 1 | 1;
    let code = qemu.end(LAST_MOMENTS).map(|status| status.code());
    let end = match code {
        Some(Some(STOPPED)) => return VmExit::Stopped,
        Some(Some(0)) => return seen,
        Some(Some(code)) => format!("QEMU ended with exit code {code}"),
        Some(None) => "QEMU was killed by a signal".to_owned(),
        None => "QEMU left its devices and did not end".to_owned(),
    };
    VmExit::Failed(with_last_words(end, qemu))
}

/// A process that is gone, or speaks nonsense, and with that is as good as gone.
fn lost(child: &mut Child, name: &str) -> MachineEvent {
    let end = match child.end(LAST_MOMENTS) {
        Some(status) => format!("the {name} process is gone: {status}"),
        None => format!("the {name} process is not to be understood"),
    };
    MachineEvent::Exited(VmExit::Failed(with_last_words(end, child)))
}

fn with_last_words(end: String, child: &Child) -> String {
    match child.last_words() {
        Some(words) => format!("{end}: {words}"),
        None => end,
    }
}

#[cfg(test)]
mod tests;
