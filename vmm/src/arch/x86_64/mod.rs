//! x86-64: a PC without firmware, PCI or ACPI; the kernel is entered in 64-bit mode.

mod boot_params;
mod cpuid;
pub(crate) mod layout;
mod mptable;
mod msrs;
pub(crate) mod probe;
pub(crate) mod registers;

pub(crate) use boot_params::BootData;
use cpuid::Processor;

use crate::virtio::Memory;
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_lapic_state};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

/// The ELF machine number of kernels that run here.
pub(crate) const ELF_MACHINE: u16 = 62;

/// What KVM has to offer beside the capabilities that every architecture needs.
pub(crate) const NEEDED: &[(Cap, &str)] =
    &[(Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"), (Cap::SetTssAddr, "KVM_CAP_SET_TSS_ADDR")];

/// Why a processor or the machine around it could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ArchError {
    /// KVM refused a step.
    #[error("kvm refused to {step}")]
    Kvm {
        /// Which step.
        step: &'static str,
        /// Why.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// KVM supports more CPUID entries than a list of them holds.
    #[error("{count} cpuid entries do not fit a list of them")]
    Cpuid {
        /// How many.
        count: usize,
    },
    /// Boot data does not fit guest memory.
    #[error("cannot write the boot data to guest memory")]
    Memory(#[from] GuestMemoryError),
}

fn kvm(step: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> ArchError {
    move |source| ArchError::Kvm { step, source }
}

/// Gives a machine its interrupt controllers; before any vCPU.
pub(crate) fn create_interrupts(vm: &VmFd) -> Result<(), ArchError> {
    vm.set_identity_map_address(layout::KVM_IDENTITY_MAP).map_err(kvm("place its identity map"))?;
    vm.set_tss_address(layout::KVM_TSS).map_err(kvm("place its task segment"))?;
    vm.create_irq_chip().map_err(kvm("create the interrupt controllers"))
}

/// Writes all that the kernel finds in memory at its first instruction.
pub(crate) fn write_boot_data(
    memory: &Memory,
    vcpus: u8,
    lines: &[u8],
    data: BootData<'_>,
) -> Result<(), ArchError> {
    memory.write_slice(&mptable::build(vcpus, lines), GuestAddress(layout::MP_TABLE))?;
    registers::write_tables(memory)?;
    boot_params::write(memory, data)?;
    Ok(())
}

/// Creates every vCPU; the first is to begin at `entry`, the others wait to be started by it.
pub(crate) fn create_vcpus(
    kvm_fd: &Kvm,
    vm: &VmFd,
    count: u8,
    entry: u64,
) -> Result<Vec<VcpuFd>, ArchError> {
    let supported = kvm_fd
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(kvm("say what processors it supports"))?;
    let tsc_deadline = kvm_fd.check_extension(Cap::TscDeadlineTimer);
    let mut vcpus = Vec::with_capacity(usize::from(count));
    for index in 0..count {
        let vcpu = vm.create_vcpu(u64::from(index)).map_err(kvm("create a vcpu"))?;
        let processor = Processor { index, count };
        let entries = cpuid::entries(supported.as_slice(), processor, tsc_deadline);
        let list =
            CpuId::from_entries(&entries).map_err(|_| ArchError::Cpuid { count: entries.len() })?;
        vcpu.set_cpuid2(&list).map_err(kvm("set what a processor says of itself"))?;
        msrs::set(&vcpu).map_err(kvm("set model-specific registers"))?;
        set_local_interrupts(&vcpu).map_err(kvm("set the local interrupt lines"))?;
        if index == 0 {
            registers::set(&vcpu, entry).map_err(kvm("set registers"))?;
        }
        vcpus.push(vcpu);
    }
    Ok(vcpus)
}

const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
const DELIVER_NMI: u32 = 0x400;
const DELIVER_EXT_INT: u32 = 0x700;

/// The two local lines as a BIOS leaves them: the old controller's on one, NMI on the other.
fn set_local_interrupts(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let mut lapic: kvm_lapic_state = vcpu.get_lapic()?;
    for (at, mode) in [(LVT_LINT0, DELIVER_EXT_INT), (LVT_LINT1, DELIVER_NMI)] {
        if let Some(register) = lapic.regs.get_mut(at..at + 4) {
            for (to, from) in register.iter_mut().zip(mode.to_le_bytes()) {
                *to = from.cast_signed();
            }
        }
    }
    vcpu.set_lapic(&lapic)
}
