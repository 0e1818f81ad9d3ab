//! Opens KVM from its descriptor, checks that it is the KVM we need, makes a machine.

use crate::arch;
use kvm_ioctls::{Cap, Kvm, VmFd};
use std::os::fd::OwnedFd;

const API_VERSION: i32 = 12;

const NEEDED: &[(Cap, &str)] = &[
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::Irqfd, "KVM_CAP_IRQFD"),
    (Cap::Ioeventfd, "KVM_CAP_IOEVENTFD"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
];

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// The descriptor is not KVM's, or a KVM of another time.
    #[error("kvm's api version is {found}, not {API_VERSION}")]
    Version {
        /// What it said.
        found: i32,
    },
    /// Something we stand on is not there.
    #[error("kvm lacks {name}")]
    Lacks {
        /// The capability.
        name: &'static str,
    },
    /// It cannot make a machine with so many processors.
    #[error("kvm allows {most} vcpus, not {asked}")]
    Vcpus {
        /// How many it allows.
        most: usize,
        /// How many were asked for.
        asked: u8,
    },
    /// It would not make a machine.
    #[error("kvm refused to create a machine")]
    Create(#[source] kvm_ioctls::Error),
}

/// Takes an open `/dev/kvm` and checks it.
pub(crate) fn open(kvm: OwnedFd) -> Result<Kvm, KvmError> {
    let kvm = crate::sys::kvm_from(kvm);
    let found = kvm.get_api_version();
    if found != API_VERSION {
        return Err(KvmError::Version { found });
    }
    for (capability, name) in NEEDED.iter().chain(arch::NEEDED) {
        if !kvm.check_extension(*capability) {
            return Err(KvmError::Lacks { name });
        }
    }
    Ok(kvm)
}

/// Makes a machine with nothing in it yet.
pub(crate) fn create_machine(kvm: &Kvm, vcpus: u8) -> Result<VmFd, KvmError> {
    let most = kvm.get_max_vcpus();
    if usize::from(vcpus) > most {
        return Err(KvmError::Vcpus { most, asked: vcpus });
    }
    loop {
        match kvm.create_vm() {
            Err(error) if error.errno() == libc::EINTR => {}
            result => return result.map_err(KvmError::Create),
        }
    }
}
