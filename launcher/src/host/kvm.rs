//! `/dev/kvm`: whose it is, and whether it opens.
//!
//! Never does: asks it anything. What it offers, and whether it is any good, the probe finds out: a KVM
//! that misbehaves may keep whoever asks for ever.

use crate::host::names;
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Where it is.
pub const DEVICE: &str = "/dev/kvm";
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
    /// The device itself, for the probe.
    pub device: File,
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

/// Whose the device is; `None` where there is none.
pub fn owner() -> Option<DeviceOwner> {
    let metadata = std::fs::metadata(DEVICE).ok().filter(|it| it.file_type().is_char_device())?;
    Some(DeviceOwner {
        uid: metadata.uid(),
        gid: metadata.gid(),
        group: names::group(metadata.gid()),
        mode: metadata.mode() & 0o777,
    })
}

/// Opens the device.
///
/// # Errors
/// What the kernel says.
pub fn open() -> Result<File, Errno> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

/// Asks.
pub fn ask() -> KvmFacts {
    if let Err(error) = std::fs::metadata(DEVICE) {
        return KvmFacts::Absent(error);
    }
    let Some(owner) = owner() else { return KvmFacts::NoDevice };
    match open() {
        Ok(device) => KvmFacts::Open(KvmDevice { owner, device }),
        Err(error @ (Errno::ACCESS | Errno::PERM)) => {
            KvmFacts::Refused { owner, error: error.into() }
        }
        Err(error) => KvmFacts::Absent(error.into()),
    }
}
