//! The plan and the files that were opened for it → what the VMM is told. Pure.
//!
//! Knows files only as slots of the table that is handed over with them; opens none.

use crate::plan::VmSize;
use protocol::{LAYERS_DISK_SERIAL, UPPER_DISK_SERIAL};
use vmm::{DiskConfig, FdSlot, FileExtent, VmConfig};

/// The files a VM stands on, each open in the table handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmFiles {
    /// The kernel: a stretch of our own binary, or a file of the user's.
    pub kernel: FileExtent,
    /// The initramfs.
    pub initramfs: FileExtent,
    /// The layers' file system images, lowest first, each whole.
    pub layers: Vec<FileExtent>,
    /// The writable disk, whole.
    pub upper: FileExtent,
    /// Where the serial console goes.
    pub console: Option<FdSlot>,
}

/// The disks, in the order the guest finds them: all layers as one, then the writable one.
pub fn disks(files: &VmFiles) -> Vec<DiskConfig> {
    vec![
        DiskConfig {
            serial: LAYERS_DISK_SERIAL.to_owned(),
            extents: files.layers.clone(),
            writable: false,
        },
        DiskConfig {
            serial: UPPER_DISK_SERIAL.to_owned(),
            extents: vec![files.upper],
            writable: true,
        },
    ]
}

/// A VM on KVM.
pub fn vm_config(size: VmSize, kvm: FdSlot, files: &VmFiles) -> VmConfig {
    VmConfig {
        kvm,
        memory_mib: size.memory_mib,
        vcpus: size.vcpus,
        kernel: files.kernel,
        initramfs: files.initramfs,
        cmdline: Vec::new(),
        disks: disks(files),
        console: files.console,
    }
}

