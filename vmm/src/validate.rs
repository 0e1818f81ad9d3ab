//! What cannot boot, and why, before anything is taken from the host.
//!
//! What a disk may be is said by the disk (`virtio/block/extents.rs`), whatever serves it.

use crate::arch::layout;
use crate::config::{Descriptors, FdSlot, FileExtent, NetworkDevice, VmConfig};
use std::os::fd::OwnedFd;

const MEMORY_MIN_MIB: u32 = 64;
const MEMORY_MAX_MIB: u32 = 256 << 10;
const VCPUS_MAX: u8 = 32;
/// VirtIO 1.2 §5.1.4.1.
const MTU_MIN: u16 = 68;
/// Every machine has them beside its disks: vsock and entropy.
const OTHER_DEVICES: usize = 2;

/// Why a configuration cannot boot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Too little or too much memory.
    #[error("{mib} MiB of memory: {MEMORY_MIN_MIB} to {MEMORY_MAX_MIB} are possible")]
    Memory {
        /// What was asked for.
        mib: u32,
    },
    /// No vCPU or too many.
    #[error("{count} vcpus: 1 to {VCPUS_MAX} are possible")]
    Vcpus {
        /// What was asked for.
        count: u8,
    },
    /// A file that did not come with the configuration.
    #[error("{what} is file {slot}, but {count} came with the configuration")]
    NoFile {
        /// What needs it.
        what: &'static str,
        /// Its slot.
        slot: u32,
        /// How many there are.
        count: usize,
    },
    /// A stretch that is empty, or reaches beyond what a file can hold.
    #[error("{what} cannot be {length} bytes at {offset} of a file")]
    Extent {
        /// What it is of.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
    /// More disks than there are places for.
    #[error("{count} disks: {most} are possible")]
    Disks {
        /// What was asked for.
        count: usize,
        /// How many there can be.
        most: usize,
    },
    /// A hardware address that no single device can have.
    #[error("{mac:x?} is the hardware address of no device")]
    Mac {
        /// The address.
        mac: [u8; 6],
    },
    /// Packets too small to be any.
    #[error("packets of {mtu} bytes: {MTU_MIN} or more are possible")]
    Mtu {
        /// The largest that was asked for.
        mtu: u16,
    },
    /// A word that would not be one word on the command line.
    #[error("{word:?} is not one word of printable ASCII for the kernel's command line")]
    Word {
        /// The word.
        word: String,
    },
}

/// Checks all that can be checked without opening anything.
pub(crate) fn validate(config: &VmConfig, descriptors: &Descriptors) -> Result<(), ConfigError> {
    if !(MEMORY_MIN_MIB..=MEMORY_MAX_MIB).contains(&config.memory_mib) {
        return Err(ConfigError::Memory { mib: config.memory_mib });
    }
    if !(1..=VCPUS_MAX).contains(&config.vcpus) {
        return Err(ConfigError::Vcpus { count: config.vcpus });
    }
    let files = descriptors.as_slice();
    file("kvm", config.kvm, files)?;
    extent("the kernel", config.kernel, files)?;
    extent("the initramfs", config.initramfs, files)?;
    if let Some(console) = config.console {
        file("the console", console.file, files)?;
    }
    if let Some(shares) = &config.shares {
        file("the shares", shares.connection, files)?;
    }
    if let Some(network) = &config.network {
        link(network, files)?;
    }
    let asked_for = usize::from(config.shares.is_some()) + usize::from(config.network.is_some());
    let most = layout::DEVICES_MAX - OTHER_DEVICES - asked_for;
    if config.disks.len() > most {
        return Err(ConfigError::Disks { count: config.disks.len(), most });
    }
    for word in &config.cmdline {
        if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::Word { word: word.clone() });
        }
    }
    Ok(())
}

fn link(network: &NetworkDevice, files: &[OwnedFd]) -> Result<(), ConfigError> {
    let NetworkDevice { mac, mtu, connection } = *network;
    // The lowest bit of the first byte is a group's.
    if mac == [0; 6] || mac[0] & 1 != 0 {
        return Err(ConfigError::Mac { mac });
    }
    if mtu < MTU_MIN {
        return Err(ConfigError::Mtu { mtu });
    }
    file("the network", connection, files)
}

fn extent(what: &'static str, extent: FileExtent, files: &[OwnedFd]) -> Result<(), ConfigError> {
    file(what, extent.file, files)?;
    let FileExtent { offset, length, .. } = extent;
    // The largest file there is ends at the largest signed number.
    let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok());
    if length == 0 || end.is_none() {
        return Err(ConfigError::Extent { what, offset, length });
    }
    Ok(())
}

fn file(what: &'static str, slot: FdSlot, files: &[OwnedFd]) -> Result<(), ConfigError> {
    let missing = ConfigError::NoFile { what, slot: slot.0, count: files.len() };
    slot.of(files).map(|_| ()).ok_or(missing)
}

#[cfg(test)]
mod tests;
