//! The machine on KVM: one process, our VMM.

use super::parts::{FileTable, MachineParts};
use super::{Machine, MachineError};
use crate::jail::vmm::VmmStart;
use crate::jail::{Role, spawn};
use network::config::{GUEST_MAC, MTU};
use std::fs::File;
use std::os::fd::AsFd;
use vmm::{Console, NetworkDevice, Shares, VmConfig};

/// Starts the VMM.
///
/// # Errors
/// Where the process cannot be started.
pub fn start(device: &File, parts: &MachineParts) -> Result<Machine, MachineError> {
    let mut table = FileTable::default();
    let config = VmConfig {
        kvm: table.add(device.as_fd()),
        memory_mib: parts.memory_mib,
        vcpus: parts.vcpus,
        kernel: table.add_stretch(&parts.kernel),
        initramfs: table.add_stretch(&parts.initramfs),
        cmdline: Vec::new(),
        disks: parts.disks(&mut table).into(),
        shares: parts.shares.as_ref().map(|connection| Shares {
            tag: protocol::SHARES_TAG.to_owned(),
            connection: table.add(connection.as_fd()),
        }),
        network: parts.network.as_ref().map(|link| NetworkDevice {
            mac: GUEST_MAC,
            mtu: MTU,
            connection: table.add(link.as_fd()),
        }),
        console: Some(Console {
            heard: parts.console.heard,
            file: table.add(parts.console.file.as_fd()),
        }),
    };
    let offered_ports = parts.offered_ports(&mut table);
    let start = VmmStart { config, offered_ports, counted: parts.counted };
    let vmm = spawn(Role::Vmm, &start, table.files())?;
    Ok(Machine::Kvm { vmm, counts: Vec::new() })
}
