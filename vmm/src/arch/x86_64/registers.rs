//! The state of a processor at its first instruction: 64-bit mode, flat segments, the first GiB
//! mapped one to one. Intel SDM volume 3A §10.8.5 says what 64-bit mode asks for.

use super::layout;
use crate::virtio::Memory;
use kvm_bindings::{kvm_fpu, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

const CR0_PE_ET_NE_PG: u64 = 1 | (1 << 4) | (1 << 5) | (1 << 31);
const CR4_PAE: u64 = 1 << 5;
/// What SSE needs: the kernel sets it itself, the probe's few instructions do not.
const CR4_OSFXSR: u64 = 1 << 9;
const EFER_LME_LMA: u64 = (1 << 8) | (1 << 10);
const PRESENT_WRITABLE: u64 = 0b11;
const HUGE_PAGE: u64 = 1 << 7;
const HUGE_PAGE_BYTES: usize = 2 << 20;
const PAGE_BYTES: u64 = 0x1000;
/// Bit 1 is always one.
const RFLAGS: u64 = 2;

const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
/// Null, null, 64-bit code, data: where Linux's boot protocol wants them.
const GDT_ENTRIES: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

/// Writes the page tables and the segment table that the first instruction stands on.
pub(crate) fn write_tables(memory: &Memory) -> Result<(), GuestMemoryError> {
    for (address, entry) in (layout::GDT..).step_by(8).zip(GDT_ENTRIES) {
        memory.write_obj(entry, GuestAddress(address))?;
    }
    let [level4, level3, level2] = [0, 1, 2].map(|page| layout::PAGE_TABLES + page * PAGE_BYTES);
    memory.write_obj(level3 | PRESENT_WRITABLE, GuestAddress(level4))?;
    memory.write_obj(level2 | PRESENT_WRITABLE, GuestAddress(level3))?;
    let mut pages = Vec::new();
    for address in (0..layout::BOOT_MAPPED_BYTES).step_by(HUGE_PAGE_BYTES) {
        pages.extend((address | PRESENT_WRITABLE | HUGE_PAGE).to_le_bytes());
    }
    memory.write_slice(&pages, GuestAddress(level2))
}

/// Sets a processor to begin at `entry` in 64-bit mode.
pub(crate) fn set(vcpu: &VcpuFd, entry: u64) -> Result<(), kvm_ioctls::Error> {
    let mut system = vcpu.get_sregs()?;
    enter_long_mode(&mut system);
    vcpu.set_sregs(&system)?;
    vcpu.set_regs(&kvm_regs {
        rip: entry,
        rsp: layout::BOOT_STACK,
        rbp: layout::BOOT_STACK,
        rsi: layout::ZERO_PAGE,
        rflags: RFLAGS,
        ..Default::default()
    })?;
    // What FNINIT and a processor's reset leave (Intel SDM volume 1 §8.1.5, §11.6.4).
    vcpu.set_fpu(&kvm_fpu { fcw: 0x37f, mxcsr: 0x1f80, ..Default::default() })
}

fn enter_long_mode(system: &mut kvm_sregs) {
    let code = segment(CODE_SELECTOR, 0xb, true);
    let data = segment(DATA_SELECTOR, 0x3, false);
    system.cs = code;
    (system.ds, system.es, system.ss) = (data, data, data);
    (system.fs, system.gs) = (data, data);
    system.gdt.base = layout::GDT;
    system.gdt.limit = 8 * 4 - 1;
    system.idt.base = 0;
    system.idt.limit = 0;
    system.cr3 = layout::PAGE_TABLES;
    system.cr4 = CR4_PAE | CR4_OSFXSR;
    system.efer = EFER_LME_LMA;
    system.cr0 = CR0_PE_ET_NE_PG;
}

fn segment(selector: u16, type_: u8, long: bool) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_,
        present: 1,
        dpl: 0,
        db: u8::from(!long),
        s: 1,
        l: u8::from(long),
        g: 1,
        ..Default::default()
    }
}
