//! Who runs the machine: our VMM on KVM, or QEMU's TCG with our devices beside it.
//!
//! Owns: the choice, the processes of a running machine, and one face for both. Never knows: what
//! runs in the guest.

mod choose;
mod kvm;
mod parts;
mod qemu_arguments;
mod tcg;

pub use choose::{Choice, ChooseError, KVM_DEVICE, choose, unusable};
pub use parts::{MachineParts, Offer, Stretch};

use crate::jail::channel::{Channel, ChannelError};
use crate::jail::machine::{MachineEvent, MachineRequest};
use crate::jail::{Child, SpawnError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
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
    /// QEMU is not there.
    #[error("there is no usable KVM, and no qemu-system-x86_64 in PATH")]
    NoQemu,
}

/// A machine and the processes it is made of. Dropping it kills them.
#[derive(Debug)]
pub enum Machine {
    /// Our VMM.
    Kvm {
        /// The VMM process.
        vmm: Child,
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
            Machine::Kvm { vmm } => vmm.channel(),
            Machine::Tcg { devices, .. } => devices.channel(),
        }
    }

    /// Joins the guest's next connection to a port to this stream.
    ///
    /// # Errors
    /// Where the process that has the vsock device is gone.
    pub fn offer(&self, port: u32, stream: &OwnedFd) -> Result<(), ChannelError> {
        self.channel().send(&MachineRequest::Offer { port }, &[stream.as_fd()])
    }

    /// Receives what has arrived on the channel. A process that is gone without a word is an exit.
    pub fn event(&mut self) -> MachineEvent {
        let event = self.channel().receive::<MachineEvent>().map(|(event, _)| event);
        match (self, event) {
            (Machine::Tcg { qemu, .. }, Ok(MachineEvent::Exited(seen))) => {
                MachineEvent::Exited(with_qemu_exit(qemu, seen))
            }
            (_, Ok(event)) => event,
            (Machine::Kvm { vmm }, Err(_)) => lost(vmm, "VMM"),
            (Machine::Tcg { devices, .. }, Err(_)) => lost(devices, "devices"),
        }
    }
}

/// What a machine's end was, by what the devices process saw in guest memory and how QEMU ended.
fn with_qemu_exit(qemu: &mut Child, seen: VmExit) -> VmExit {
    const STOPPED: i32 = (STOP_VALUE as i32) << 1 | 1;
    match qemu.wait().map(|status| status.code()) {
        Ok(Some(STOPPED)) => VmExit::Stopped,
        Ok(Some(0)) => seen,
        Ok(Some(code)) => VmExit::Failed(format!("QEMU ended with exit code {code}")),
        Ok(None) => VmExit::Failed("QEMU was killed by a signal".to_owned()),
        Err(error) => VmExit::Failed(format!("QEMU cannot be waited for: {error}")),
    }
}

fn lost(child: &mut Child, name: &str) -> MachineEvent {
    let end = match child.wait() {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    MachineEvent::Exited(VmExit::Failed(format!("the {name} process is gone: {end}")))
}
