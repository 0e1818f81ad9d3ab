//! The model-specific registers that differ from what KVM resets them to.

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

const MISC_ENABLE: u32 = 0x1a0;
const FAST_STRINGS: u64 = 1;
const MTRR_DEF_TYPE: u32 = 0x2ff;
/// MTRRs are on, and memory is write-back where none says otherwise.
const MTRR_ON_WRITE_BACK: u64 = (1 << 11) | 6;

/// Sets them. Says how many KVM took: one that this processor does not have ends the list early.
pub(crate) fn set(vcpu: &VcpuFd) -> Result<usize, kvm_ioctls::Error> {
    // The one that every processor has comes first.
    let entries = [(MTRR_DEF_TYPE, MTRR_ON_WRITE_BACK), (MISC_ENABLE, FAST_STRINGS)]
        .map(|(index, data)| kvm_msr_entry { index, data, ..Default::default() });
    let msrs = Msrs::from_entries(&entries).map_err(|_| kvm_ioctls::Error::new(libc::ENOMEM))?;
    vcpu.set_msrs(&msrs)
}
