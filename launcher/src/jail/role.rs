//! The kinds of process, and how a process knows which it is.

use std::ffi::OsStr;

/// What a process of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs a few guest instructions on KVM, to see whether it is any good.
    Probe,
    /// Makes a file-system image of one image layer.
    Unpack,
    /// Speaks to a registry.
    Fetch,
    /// Serves directories to the guest.
    Share,
    /// Carries the guest's network.
    Network,
    /// Runs the VM on KVM.
    Vmm,
    /// Serves block and vsock to QEMU.
    Devices,
    /// Becomes QEMU.
    Qemu,
}

const ROLES: [(Role, &str); 8] = [
    (Role::Probe, "cofferdam-probe"),
    (Role::Unpack, "cofferdam-unpack"),
    (Role::Fetch, "cofferdam-fetch"),
    (Role::Share, "cofferdam-share"),
    (Role::Network, "cofferdam-network"),
    (Role::Vmm, "cofferdam-vmm"),
    (Role::Devices, "cofferdam-devices"),
    (Role::Qemu, "cofferdam-qemu"),
];

impl Role {
    /// The name a process of this role goes by: its argv[0].
    pub fn process_name(self) -> &'static str {
        ROLES.iter().find(|(role, _)| *role == self).map_or("cofferdam", |(_, name)| name)
    }

    /// The role that a process with this argv[0] has; `None` is the launcher.
    pub fn of(argv0: &OsStr) -> Option<Self> {
        ROLES.iter().find(|(_, name)| argv0 == *name).map(|(role, _)| *role)
    }
}
