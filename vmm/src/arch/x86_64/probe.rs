//! The few guest instructions that tell a good KVM from a useless one.
//!
//! They run in ring 0 in 64-bit mode. A write to [`RESULT_PORT`] says how the first part went, one to
//! [`LOOP_PORT`] stands before and after a counted loop.

use super::{layout, registers};
use crate::virtio::Memory;
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress};

use super::{ArchError, kvm};

/// Memory for tables, code and data.
pub(crate) const MEMORY_BYTES: u64 = 1 << 20;
/// Where the result is written: [`RIGHT`] where all results were right.
pub(crate) const RESULT_PORT: u16 = 0x10;
/// Written before and after the loop.
pub(crate) const LOOP_PORT: u16 = 0x11;
/// The result where all results were right.
pub(crate) const RIGHT: u8 = 1;
/// How often the loop goes round, each time it is run.
pub(crate) const LOOP_ROUNDS: u32 = 15_000;
/// How many instructions each round has.
pub(crate) const LOOP_INSTRUCTIONS: u32 = 2;

const CODE: u64 = 0x1_0000;

/// Assembled from the comments beside it. Its data is at 0x11000, all zeroes.
const PROGRAM: &[u8] = &[
    0xbb, 0x00, 0x10, 0x01, 0x00, // mov ebx, 0x11000
    // The control word must come back from memory as it went.
    0xdb, 0xe3, // fninit
    0x0f, 0xae, 0x03, // fxsave [rbx]
    0x66, 0x81, 0x3b, 0x7f, 0x03, // cmp word [rbx], 0x37f
    0x75, 0x4a, // jne wrong
    0x66, 0xc7, 0x03, 0x7f, 0x02, // mov word [rbx], 0x27f
    0x0f, 0xae, 0x0b, // fxrstor [rbx]
    0xd9, 0xbb, 0x00, 0x02, 0x00, 0x00, // fnstcw [rbx+0x200]
    0x66, 0x81, 0xbb, 0x00, 0x02, 0x00, 0x00, 0x7f, 0x02, // cmp word [rbx+0x200], 0x27f
    0x75, 0x31, // jne wrong
    // Zeroes at [rbx+0x400] are to become rcx:rbx.
    0x31, 0xc0, // xor eax, eax
    0x31, 0xd2, // xor edx, edx
    0xb9, 0x05, 0x00, 0x00, 0x00, // mov ecx, 5
    0xf0, 0x48, 0x0f, 0xc7, 0x8b, 0x00, 0x04, 0x00, 0x00, // lock cmpxchg16b [rbx+0x400]
    0x75, 0x1d, // jne wrong
    0x48, 0x83, 0xbb, 0x08, 0x04, 0x00, 0x00, 0x05, // cmp qword [rbx+0x408], 5
    0x75, 0x13, // jne wrong
    0xb0, 0x01, // mov al, RIGHT
    0xe6, 0x10, // out RESULT_PORT, al
    // again:
    0xb9, 0x98, 0x3a, 0x00, 0x00, // mov ecx, LOOP_ROUNDS
    0xe6, 0x11, // out LOOP_PORT, al
    0xff, 0xc9, // round: dec ecx
    0x75, 0xfc, // jnz round
    0xe6, 0x11, // out LOOP_PORT, al
    0xeb, 0xf1, // jmp again
    // wrong:
    0x31, 0xc0, // xor eax, eax
    0xe6, 0x10, // out RESULT_PORT, al
    0xeb, 0xfa, // jmp wrong
];

/// Makes a vCPU that begins with the probe's instructions.
pub(crate) fn prepare(kvm_fd: &Kvm, vm: &VmFd, memory: &Memory) -> Result<VcpuFd, ArchError> {
    vm.set_identity_map_address(layout::KVM_IDENTITY_MAP).map_err(kvm("place its identity map"))?;
    vm.set_tss_address(layout::KVM_TSS).map_err(kvm("place its task segment"))?;
    registers::write_tables(memory)?;
    memory.write_slice(PROGRAM, GuestAddress(CODE))?;
    let vcpu = vm.create_vcpu(0).map_err(kvm("create a vcpu"))?;
    let supported = kvm_fd
        .get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
        .map_err(kvm("say what processors it supports"))?;
    vcpu.set_cpuid2(&supported).map_err(kvm("set what a processor says of itself"))?;
    registers::set(&vcpu, CODE).map_err(kvm("set registers"))?;
    Ok(vcpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_its_constants_agree() {
        let rounds = LOOP_ROUNDS.to_le_bytes();
        assert!(PROGRAM.windows(5).any(|bytes| bytes[0] == 0xb9 && bytes[1..] == rounds));
    }
}
