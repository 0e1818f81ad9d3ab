//! The zero page: what the kernel is told at its first instruction (Linux Documentation/arch/x86/boot.rst).

use super::layout;
use crate::virtio::Memory;
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

const BOOT_FLAG: u16 = 0xaa55;
const HEADER_MAGIC: u32 = 0x5372_6448;
const UNDEFINED_LOADER: u8 = 0xff;
const E820_RAM: u32 = 1;

/// What the zero page is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BootData<'a> {
    /// The command line, without its closing zero.
    pub cmdline: &'a str,
    /// Guest address and length of the initramfs.
    pub initramfs: (u64, u64),
    /// How much memory there is.
    pub memory_bytes: u64,
}

/// Writes the command line and the zero page.
pub(crate) fn write(memory: &Memory, data: BootData<'_>) -> Result<(), GuestMemoryError> {
    memory.write_slice(data.cmdline.as_bytes(), GuestAddress(layout::CMDLINE))?;
    memory.write_obj(0u8, GuestAddress(layout::CMDLINE + data.cmdline.len() as u64))?;
    memory.write_obj(zero_page(data), GuestAddress(layout::ZERO_PAGE))
}

// Addresses below the hole fit 32 bits, and the command line is bounded by its layout.
#[allow(clippy::cast_possible_truncation)]
fn zero_page(data: BootData<'_>) -> boot_params {
    let mut page = boot_params {
        hdr: setup_header {
            boot_flag: BOOT_FLAG,
            header: HEADER_MAGIC,
            type_of_loader: UNDEFINED_LOADER,
            cmd_line_ptr: layout::CMDLINE as u32,
            cmdline_size: data.cmdline.len() as u32,
            ramdisk_image: data.initramfs.0 as u32,
            ramdisk_size: data.initramfs.1 as u32,
            ..Default::default()
        },
        ..Default::default()
    };
    let ranges = e820(data.memory_bytes);
    page.e820_entries = ranges.len() as u8;
    for (entry, (addr, size)) in page.e820_table.iter_mut().zip(ranges) {
        *entry = boot_e820_entry { addr, size, type_: E820_RAM };
    }
    page
}

/// Guest memory without the table and the old video and BIOS area between 639 KiB and 1 MiB.
fn e820(memory_bytes: u64) -> Vec<(u64, u64)> {
    let mut ranges = vec![(0, layout::MP_TABLE)];
    for (start, length) in layout::memory_ranges(memory_bytes) {
        let begin = start.max(layout::HIGH_MEMORY);
        ranges.push((begin, start + length - begin));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_leaves_out_the_table_the_bios_and_the_hole() {
        assert_eq!(e820(64 << 20), [(0, 0x9fc00), (1 << 20, 63 << 20)]);
        assert_eq!(
            e820(4 << 30),
            [(0, 0x9fc00), (1 << 20, (3 << 30) - (1 << 20)), (4 << 30, 1 << 30)]
        );
    }

    #[test]
    fn the_zero_page_points_at_what_was_loaded() {
        let page = zero_page(BootData {
            cmdline: "panic=-1",
            initramfs: (0x3f0_0000, 0x1234),
            memory_bytes: 64 << 20,
        });
        let header = page.hdr;
        let (image, size, cmdline) =
            (header.ramdisk_image, header.ramdisk_size, header.cmd_line_ptr);
        assert_eq!((image, size), (0x3f0_0000, 0x1234));
        assert_eq!((u64::from(cmdline), page.e820_entries), (layout::CMDLINE, 2));
    }
}
