//! The machine on QEMU's TCG: the same kernel, initramfs, disks and agent, slower, and no hardware
//! wall. QEMU runs the CPU; our devices process serves block and vsock to it over vhost-user.

use super::parts::{FileTable, MachineParts, Stretch};
use super::qemu_arguments::{Also, qemu_arguments};
use super::{Machine, MachineError};
use crate::jail::devices::DevicesStart;
use crate::jail::qemu::QemuCommand;
use crate::jail::{Role, spawn};
use rustix::fs::MemfdFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use vmm::VhostUserConfig;

/// Starts the devices process, then QEMU.
///
/// # Errors
/// Where a process cannot be started, or the kernel not be handed over.
pub fn start(qemu: &Path, parts: &MachineParts) -> Result<Machine, MachineError> {
    let pairs = [pair()?, pair()?, pair()?];
    let [(our_layers, layers), (our_upper, upper), (our_vsock, vsock)] = &pairs;

    let mut table = FileTable::default();
    let [layers_disk, upper_disk] = parts.disks(&mut table);
    let config = VhostUserConfig {
        disks: vec![
            (layers_disk, table.add(our_layers.as_fd())),
            (upper_disk, table.add(our_upper.as_fd())),
        ],
        vsock: table.add(our_vsock.as_fd()),
    };
    let offered_ports = parts.offered_ports(&mut table);
    let start = DevicesStart { config, offered_ports };
    let devices = spawn(Role::Devices, &start, table.files())?;

    let kernel = standalone(&parts.kernel).map_err(MachineError::Handover)?;
    let initramfs = standalone(&parts.initramfs).map_err(MachineError::Handover)?;
    let mut files = vec![kernel.as_fd(), initramfs.as_fd()];
    files.extend([layers.as_fd(), upper.as_fd(), vsock.as_fd()]);
    files.push(parts.console.file.as_fd());
    files.extend(parts.shares.iter().chain(&parts.network).map(AsFd::as_fd));
    let command = QemuCommand {
        program: qemu.display().to_string(),
        arguments: qemu_arguments(
            parts.memory_mib,
            parts.vcpus,
            parts.console.heard,
            Also { shares: parts.shares.is_some(), network: parts.network.is_some() },
        ),
    };
    let qemu = spawn(Role::Qemu, &command, &files)?;
    Ok(Machine::Tcg { devices, qemu })
}

fn pair() -> Result<(OwnedFd, OwnedFd), MachineError> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| MachineError::Handover(errno.into()))
}

/// A file that holds nothing but the stretch: QEMU loads a kernel from a file's beginning only.
fn standalone(stretch: &Stretch) -> io::Result<File> {
    if stretch.offset == 0 && stretch.file.metadata()?.len() == stretch.length {
        return stretch.file.try_clone();
    }
    let memory = File::from(rustix::fs::memfd_create("cofferdam-kernel", MemfdFlags::CLOEXEC)?);
    let mut offset = stretch.offset;
    let end = stretch.offset + stretch.length;
    while offset < end {
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        if rustix::fs::sendfile(&memory, &*stretch.file, Some(&mut offset), left)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(memory)
}
