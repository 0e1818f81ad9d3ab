//! The MP table: processors, the I/O APIC and its lines, for a guest without ACPI (MultiProcessor
//! Specification 1.4). A pure function of the number of processors and the lines in use: each line
//! named costs a boot dozens of exits, so no other is.

use super::layout;

const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IO_APIC: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

const APIC_VERSION: u8 = 0x14;
const ENABLED: u8 = 1;
const BOOT_PROCESSOR: u8 = 2;
const VECTORED: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;
/// As the bus has it: ISA's lines are edges, active high.
const CONFORMS: u8 = 0;
/// Active high, edge: said aloud for the lines that no ISA bus has.
const EDGE_HIGH: u8 = 0b0101;
const ALL_PROCESSORS: u8 = 0xff;
const ISA_LINES: u8 = 16;

/// The floating pointer, then the table behind it, as they stand at [`layout::MP_TABLE`].
// Counts are bounded by 32 processors and 24 pins; the addresses by the layout.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn build(processors: u8, lines: &[u8]) -> Vec<u8> {
    let entries = entries(processors, lines);
    let count = processors as usize + 2 + lines.len() + 2;
    let length = HEADER_BYTES + entries.len();

    let mut pointer = Vec::from(*b"_MP_");
    pointer.extend((layout::MP_TABLE as u32 + POINTER_BYTES).to_le_bytes());
    pointer.extend([1, 4, 0, 0, 0, 0, 0, 0]);
    seal(&mut pointer, 10);

    let mut table = Vec::with_capacity(length);
    table.extend(*b"PCMP");
    table.extend((length as u16).to_le_bytes());
    table.extend([4, 0]);
    table.extend(*b"COFFERDM");
    table.extend(*b"MICROVM     ");
    table.extend([0; 6]);
    table.extend((count as u16).to_le_bytes());
    table.extend(layout::LOCAL_APIC.to_le_bytes());
    table.extend([0; 4]);
    table.extend(entries);
    seal(&mut table, 7);

    pointer.extend(table);
    pointer
}

const POINTER_BYTES: u32 = 16;
const HEADER_BYTES: usize = 44;

fn entries(processors: u8, lines: &[u8]) -> Vec<u8> {
    let io_apic = processors;
    let mut entries = Vec::new();
    for id in 0..processors {
        let role = if id == 0 { ENABLED | BOOT_PROCESSOR } else { ENABLED };
        entries.extend([PROCESSOR, id, APIC_VERSION, role]);
        // Signature and feature flags: the kernel asks CPUID.
        entries.extend([0; 16]);
    }
    entries.extend([BUS, 0]);
    entries.extend(*b"ISA   ");
    entries.extend([IO_APIC, io_apic, APIC_VERSION, ENABLED]);
    entries.extend(layout::IO_APIC.to_le_bytes());
    for line in lines {
        let trigger = if *line < ISA_LINES { CONFORMS } else { EDGE_HIGH };
        entries.extend([IO_INTERRUPT, VECTORED, trigger, 0, 0, *line, io_apic, *line]);
    }
    entries.extend([LOCAL_INTERRUPT, EXT_INT, CONFORMS, 0, 0, 0, 0, 0]);
    entries.extend([LOCAL_INTERRUPT, NMI, CONFORMS, 0, 0, 0, ALL_PROCESSORS, 1]);
    entries
}

/// Makes the sum of all bytes zero.
fn seal(bytes: &mut [u8], at: usize) {
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = bytes.get_mut(at) {
        *checksum = sum.wrapping_neg();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn both_parts_are_sealed_and_fit_for_every_number_of_processors() {
        for processors in 1..=32 {
            let bytes = build(processors, &(0..24).collect::<Vec<_>>());
            assert!(bytes.len() <= 0x400, "{processors}: {}", bytes.len());
            let (pointer, table) = bytes.split_at(16);
            assert_eq!((sum(pointer), sum(table)), (0, 0), "{processors}");
            let length = usize::from(u16::from_le_bytes([table[4], table[5]]));
            assert_eq!(length, table.len());
        }
    }

    #[test]
    fn a_reader_that_follows_the_specification_finds_every_entry() {
        let bytes = build(3, &[4, 16, 17]);
        let table = &bytes[16..];
        let count = u16::from_le_bytes([table[34], table[35]]);
        let (mut at, mut seen, mut kinds) = (44, 0, [0; 5]);
        while at < table.len() {
            kinds[usize::from(table[at])] += 1;
            at += if table[at] == PROCESSOR { 20 } else { 8 };
            seen += 1;
        }
        assert_eq!((at, seen), (table.len(), count));
        assert_eq!(kinds, [3, 1, 1, 3, 2]);
        assert_eq!(bytes[4..8], (0x9_fc10u32).to_le_bytes());
    }
}
