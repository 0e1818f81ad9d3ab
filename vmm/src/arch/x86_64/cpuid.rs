//! What the guest's processors say of themselves: what KVM supports, without nested virtualisation,
//! with the topology of this VM. A pure function over entries (Intel SDM volume 2A, CPUID; AMD APM
//! volume 3, appendix E).
//!
//! The clock needs nothing here: the guest takes it from KVM's paravirtual leaves, which pass through.

use kvm_bindings::kvm_cpuid_entry2 as Entry;

const INDEX_SIGNIFICANT: u32 = 1;

const FEATURES: u32 = 0x1;
const CACHES: u32 = 0x4;
const PERFORMANCE: u32 = 0xa;
const TOPOLOGY: u32 = 0xb;
const TOPOLOGY_V2: u32 = 0x1f;
const EXTENDED_FEATURES: u32 = 0x8000_0001;
const ADDRESS_SIZES: u32 = 0x8000_0008;
const SVM: u32 = 0x8000_000a;
const AMD_CACHES: u32 = 0x8000_001d;
const AMD_TOPOLOGY: u32 = 0x8000_001e;
const AMD_TOPOLOGY_V2: u32 = 0x8000_0026;

/// Which of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processor {
    /// Its number, which is its APIC ID too.
    pub index: u8,
    /// How many there are.
    pub count: u8,
}

/// Makes one processor's entries from what KVM supports.
pub(crate) fn entries(supported: &[Entry], processor: Processor, tsc_deadline: bool) -> Vec<Entry> {
    let highest = supported.iter().find(|entry| entry.function == 0).map_or(0, |entry| entry.eax);
    let dropped = [PERFORMANCE, TOPOLOGY, TOPOLOGY_V2, SVM, AMD_TOPOLOGY_V2];
    let mut entries: Vec<Entry> =
        supported.iter().filter(|entry| !dropped.contains(&entry.function)).copied().collect();
    for entry in &mut entries {
        adjust(entry, processor, tsc_deadline);
    }
    if highest >= TOPOLOGY {
        entries.extend(topology(processor));
    }
    entries
}

fn adjust(entry: &mut Entry, processor: Processor, tsc_deadline: bool) {
    let Processor { index, count } = processor;
    match entry.function {
        FEATURES => {
            let (id, logical) = (u32::from(index), u32::from(count.next_power_of_two()));
            entry.ebx = (entry.ebx & 0xffff) | (logical << 16) | (id << 24);
            set(&mut entry.ecx, 5, false); // VMX
            set(&mut entry.ecx, 6, false); // SMX
            set(&mut entry.ecx, 24, tsc_deadline);
            set(&mut entry.ecx, 31, true); // there is a hypervisor
            set(&mut entry.edx, 28, count > 1); // more than one logical processor
        }
        CACHES => {
            let level = (entry.eax >> 5) & 0b111;
            let sharing = if level >= 3 { u32::from(count) - 1 } else { 0 };
            let cores = u32::from(count.next_power_of_two()) - 1;
            entry.eax = (entry.eax & 0x3fff) | (sharing << 14) | (cores << 26);
        }
        EXTENDED_FEATURES => {
            let cores = count > 1 && is_amd_like(entry);
            set(&mut entry.ecx, 1, cores); // logical processors are cores, not threads
            set(&mut entry.ecx, 2, false); // SVM
        }
        ADDRESS_SIZES => {
            let cores = u32::from(count) - 1;
            entry.ecx = (entry.ecx & !0xf0ff) | cores | (id_bits(count) << 12);
        }
        AMD_CACHES => {
            let level = (entry.eax >> 5) & 0b111;
            let sharing = if level >= 3 { u32::from(count) - 1 } else { 0 };
            entry.eax = (entry.eax & 0x3fff) | (sharing << 14);
        }
        AMD_TOPOLOGY => {
            entry.eax = u32::from(index);
            entry.ebx = u32::from(index); // the core; one thread in it
            entry.ecx = 0; // node 0 of one
        }
        _ => {}
    }
}

/// Intel's processors have none of AMD's bits here: only where SVM or the extended topology may be.
fn is_amd_like(entry: &Entry) -> bool {
    entry.ecx & (1 << 22) != 0 || entry.ecx & (1 << 6) != 0
}

/// The topology leaf: threads (one to a core), cores (all in one package), the end.
fn topology(processor: Processor) -> [Entry; 3] {
    let Processor { index, count } = processor;
    [(0, 1, 1), (id_bits(count), u32::from(count), 2), (0, 0, 0)].map({
        let mut level = 0;
        move |(shift, logical, kind): (u32, u32, u32)| {
            let entry = Entry {
                function: TOPOLOGY,
                index: level,
                flags: INDEX_SIGNIFICANT,
                eax: shift,
                ebx: logical,
                ecx: level | (kind << 8),
                edx: u32::from(index),
                ..Default::default()
            };
            level += 1;
            entry
        }
    })
}

/// How many bits of an APIC ID tell the cores apart.
fn id_bits(count: u8) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

fn set(register: &mut u32, bit: u32, value: bool) {
    *register = (*register & !(1 << bit)) | (u32::from(value) << bit);
}

#[cfg(test)]
mod tests;
