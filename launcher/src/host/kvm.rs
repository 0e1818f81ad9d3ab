//! `/dev/kvm`: whose it is, whether it opens, what it offers. Follows the kernel's `virt/kvm/api.rst`.
//!
//! Never does: makes a VM. Whether a KVM that opens is any good, the probe finds out.

use crate::host::names;
use kvm_ioctls::Cap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Where it is.
pub const DEVICE: &str = "/dev/kvm";
/// The only version there ever was.
pub const API_VERSION: i32 = 12;

/// Without these no VM of ours runs.
const NEEDED: [(Cap, &str); 6] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::Irqfd, "KVM_CAP_IRQFD"),
    (Cap::Ioeventfd, "KVM_CAP_IOEVENTFD"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
];

/// What was found.
#[derive(Debug)]
pub enum KvmFacts {
    /// There is no such file, or nothing behind it.
    Absent(std::io::Error),
    /// There is a file of that name that is no device.
    NoDevice,
    /// It may not be opened.
    Refused {
        /// Whose it is.
        owner: DeviceOwner,
        /// Why not.
        error: std::io::Error,
    },
    /// It was opened.
    Open(KvmDevice),
}

/// An open `/dev/kvm`.
#[derive(Debug)]
pub struct KvmDevice {
    /// Whose it is.
    pub owner: DeviceOwner,
    /// The version it names.
    pub api_version: i32,
    /// What it lacks of what we need.
    pub missing: Vec<&'static str>,
    /// The device itself, for the probe.
    pub device: OwnedFd,
}

/// Who may open a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOwner {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The group's name, as this place's /etc/group has it.
    pub group: Option<String>,
    /// Its permissions, nine bits.
    pub mode: u32,
}

impl DeviceOwner {
    /// `108 (kvm)`, or the number alone.
    pub fn group_label(&self) -> String {
        match &self.group {
            Some(name) => format!("{} ({name})", self.gid),
            None => self.gid.to_string(),
        }
    }

    /// What helps where it may not be opened by this process.
    pub fn access_hint(&self) -> String {
        const RW_GROUP: u32 = 0o060;
        const RW_OTHERS: u32 = 0o006;
        if self.mode & RW_OTHERS == RW_OTHERS {
            "its mode lets everyone: the outer container's device rules or its security label forbid it; \
             start it with --device /dev/kvm"
                .to_owned()
        } else if self.mode & RW_GROUP == RW_GROUP {
            let gid = self.gid;
            format!(
                "it belongs to group {}: start the outer container with --group-add {gid} (docker), or \
                 --group-add keep-groups (podman, by a member of that group)",
                self.group_label()
            )
        } else {
            let who = if self.uid == 0 { "root".to_owned() } else { format!("user {}", self.uid) };
            format!(
                "no user but {who} may open it (mode {:04o}): give it a group on the host (chgrp kvm and \
                 chmod 660), or use --accel tcg, which is slow and no hardware wall",
                self.mode
            )
        }
    }
}

/// Whose a device is; `None` where there is no such device.
pub fn owner(device: &Path) -> Option<DeviceOwner> {
    let metadata = std::fs::metadata(device).ok().filter(|it| it.file_type().is_char_device())?;
    Some(DeviceOwner {
        uid: metadata.uid(),
        gid: metadata.gid(),
        group: names::group(metadata.gid()),
        mode: metadata.mode() & 0o777,
    })
}

/// Asks.
pub fn ask() -> KvmFacts {
    if let Err(error) = std::fs::metadata(DEVICE) {
        return KvmFacts::Absent(error);
    }
    let Some(owner) = owner(Path::new(DEVICE)) else { return KvmFacts::NoDevice };
    let opened = std::fs::File::options().read(true).write(true).open(DEVICE);
    let (device, kvm) = match opened.and_then(|device| Ok((device.try_clone()?, device))) {
        Ok((device, copy)) => (device, crate::host::sys::kvm(copy)),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return KvmFacts::Refused { owner, error };
        }
        Err(error) => return KvmFacts::Absent(error),
    };
    let api_version = kvm.get_api_version();
    let missing: Vec<&'static str> = NEEDED
        .into_iter()
        .filter(|(capability, _)| !kvm.check_extension(*capability))
        .map(|(_, name)| name)
        .collect();
    KvmFacts::Open(KvmDevice { owner, api_version, missing, device: device.into() })
}
