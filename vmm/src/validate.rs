//! What cannot boot, and why, before anything is taken from the host.

use crate::arch::layout;
use crate::config::{Descriptors, DiskConfig, FdSlot, FileExtent, VmConfig};

const MEMORY_MIN_MIB: u32 = 64;
const MEMORY_MAX_MIB: u32 = 256 << 10;
const VCPUS_MAX: u8 = 32;
const SERIAL_MAX_BYTES: usize = 20;
const DISK_BLOCK_BYTES: u64 = 4096;
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
        what: String,
        /// Its slot.
        slot: u32,
        /// How many there are.
        count: usize,
    },
    /// A stretch that is empty, or reaches beyond what a file can hold.
    #[error("{what} cannot be {length} bytes at {offset} of a file")]
    Extent {
        /// What it is of.
        what: String,
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
    /// A serial number that the guest could not be told.
    #[error("the disk serial {serial:?} is not 1 to {SERIAL_MAX_BYTES} printable ASCII characters")]
    Serial {
        /// What was asked for.
        serial: String,
    },
    /// A disk of the wrong number of stretches.
    #[error("disk {serial} has {count} extents: a writable disk has one, another at least one")]
    Extents {
        /// The disk.
        serial: String,
        /// How many.
        count: usize,
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
    let files = descriptors.len();
    file("kvm", config.kvm, files)?;
    extent("the kernel", config.kernel, files)?;
    extent("the initramfs", config.initramfs, files)?;
    if let Some(console) = config.console {
        file("the console", console, files)?;
    }
    let most = layout::DEVICES_MAX - OTHER_DEVICES;
    if config.disks.len() > most {
        return Err(ConfigError::Disks { count: config.disks.len(), most });
    }
    for entry in &config.disks {
        disk(entry, files)?;
    }
    for word in &config.cmdline {
        if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::Word { word: word.clone() });
        }
    }
    Ok(())
}

fn disk(disk: &DiskConfig, files: usize) -> Result<(), ConfigError> {
    let serial = &disk.serial;
    let printable = serial.bytes().all(|byte| byte.is_ascii_graphic());
    if serial.is_empty() || serial.len() > SERIAL_MAX_BYTES || !printable {
        return Err(ConfigError::Serial { serial: serial.clone() });
    }
    let count = disk.extents.len();
    if count == 0 || (disk.writable && count != 1) {
        return Err(ConfigError::Extents { serial: serial.clone(), count });
    }
    let what = format!("disk {serial}");
    let mut total = 0u64;
    for stretch in &disk.extents {
        extent(&what, *stretch, files)?;
        let FileExtent { offset, length, .. } = *stretch;
        total = total
            .checked_add(length)
            .filter(|_| length.is_multiple_of(DISK_BLOCK_BYTES))
            .ok_or_else(|| ConfigError::Extent { what: what.clone(), offset, length })?;
    }
    Ok(())
}

fn extent(what: &str, extent: FileExtent, files: usize) -> Result<(), ConfigError> {
    file(what, extent.file, files)?;
    let FileExtent { offset, length, .. } = extent;
    // The largest file there is ends at the largest signed number.
    let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok());
    if length == 0 || end.is_none() {
        return Err(ConfigError::Extent { what: what.to_owned(), offset, length });
    }
    Ok(())
}

fn file(what: &str, slot: FdSlot, count: usize) -> Result<(), ConfigError> {
    if usize::try_from(slot.0).is_ok_and(|index| index < count) {
        return Ok(());
    }
    Err(ConfigError::NoFile { what: what.to_owned(), slot: slot.0, count })
}

#[cfg(test)]
mod tests;
