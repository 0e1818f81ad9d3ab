//! Where everything is in the guest: memory, boot data, device windows, ports and interrupt lines.
//!
//! ```text
//! 0x0000_0500  GDT                       0x0100_0000  kernel (where its ELF says)
//! 0x0000_7000  zero page                 below 3 GiB  initramfs, as high as it goes
//! 0x0000_9000  page tables               0xc000_0000  hole: no memory from here to 4 GiB
//! 0x0002_0000  command line              0xd000_0000  device windows, 4 KiB each
//! 0x0009_fc00  MP table, 1 KiB           0xfec0_0000  I/O APIC; 0xfee0_0000 local APIC
//! ```

/// The reset flag is at 0x472: nothing of ours stands in the first page before this.
pub(crate) const GDT: u64 = 0x500;
/// The boot parameters ("zero page").
pub(crate) const ZERO_PAGE: u64 = 0x7000;
/// The stack the kernel begins on, growing down.
pub(crate) const BOOT_STACK: u64 = 0x8ff0;
/// Three pages of page tables.
pub(crate) const PAGE_TABLES: u64 = 0x9000;
/// The kernel's command line.
pub(crate) const CMDLINE: u64 = 0x2_0000;
/// The longest command line, with its closing zero: the kernel's COMMAND_LINE_SIZE.
pub(crate) const CMDLINE_MAX_BYTES: usize = 2048;
/// What every guest is told. A panic resets the machine at once, by the keyboard controller, and
/// leaves its mark (see [`crate::PANIC_MARK`]); the clock is KVM's and need not be watched. Per-CPU memory in
/// pages is as long as what is in it; in one huge page, the kernel keeps accounts of all that it could hold,
/// 4 MiB of them with one CPU.
pub(crate) const CMDLINE_ALWAYS: &str =
    "reboot=panic_warm,k panic=-1 tsc=reliable no_timer_check percpu_alloc=page";
/// What a guest without a serial port is told.
pub(crate) const CMDLINE_NO_SERIAL: &str = "8250.nr_uarts=0";
/// What a guest is told whose log is wanted from the first line.
pub(crate) const CMDLINE_SERIAL: &str = "console=ttyS0";
/// What a guest is told that is to be heard only as it dies: a console without a driver, kept for good,
/// which shows emergencies alone. Nothing is probed and nothing printed, and so nothing is paid, till then.
pub(crate) const CMDLINE_LAST_WORDS: &str =
    "8250.nr_uarts=0 loglevel=1 earlycon=uart8250,io,0x3f8 keep_bootcon";
/// The MP table, in the last KiB of base memory, where the kernel looks for it.
pub(crate) const MP_TABLE: u64 = 0x9_fc00;
/// Where memory that the kernel may be loaded to begins.
pub(crate) const HIGH_MEMORY: u64 = 0x10_0000;
/// How much the boot page tables map: the kernel's entry is below.
pub(crate) const BOOT_MAPPED_BYTES: u64 = 1 << 30;

/// Memory stops here …
pub(crate) const HOLE_START: u64 = 0xc000_0000;
/// … and goes on here.
pub(crate) const HOLE_END: u64 = 0x1_0000_0000;

/// The first device window.
const DEVICE_WINDOWS: u64 = 0xd000_0000;
/// The size of each.
pub(crate) const DEVICE_WINDOW_BYTES: u64 = 0x1000;
/// The first interrupt line of devices: the I/O APIC's pins above the sixteen of ISA.
const DEVICE_LINES: u8 = 16;
/// How many devices there can be: the pins that are left, and what the fallback has.
pub(crate) const DEVICES_MAX: usize = 8;

/// The I/O APIC, which has 24 pins.
pub(crate) const IO_APIC: u32 = 0xfec0_0000;
/// The local APIC.
pub(crate) const LOCAL_APIC: u32 = 0xfee0_0000;
/// Three pages that KVM wants on Intel processors.
pub(crate) const KVM_TSS: usize = 0xfffb_d000;
/// One page that KVM wants on Intel processors.
pub(crate) const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;

/// The serial port's eight I/O ports begin here.
pub(crate) const SERIAL_PORT: u16 = 0x3f8;
/// The serial port's interrupt line.
pub(crate) const SERIAL_LINE: u8 = 4;
/// The keyboard controller's command and status port.
pub(crate) const KEYBOARD_PORT: u16 = 0x64;
/// The command that pulses the processor's reset line.
pub(crate) const KEYBOARD_RESET: u8 = 0xfe;
/// What the status port always reads: its output is full, so a driver that flushes it finds that
/// there is no controller and goes on at once; its input is empty, so a reset need not wait.
pub(crate) const KEYBOARD_STATUS: u8 = 0x01;

/// Where a device is: its window, its interrupt line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceSlot {
    /// Guest address of the window.
    pub address: u64,
    /// The interrupt line.
    pub line: u8,
}

/// The slot of the device with this index.
pub(crate) fn device_slot(index: u8) -> DeviceSlot {
    DeviceSlot {
        address: DEVICE_WINDOWS + u64::from(index) * DEVICE_WINDOW_BYTES,
        line: DEVICE_LINES + index,
    }
}

/// Which device's window this address is in, and where in it.
pub(crate) fn device_at(address: u64) -> Option<(usize, u64)> {
    let offset = address.checked_sub(DEVICE_WINDOWS)?;
    let index = usize::try_from(offset / DEVICE_WINDOW_BYTES).ok()?;
    (index < DEVICES_MAX).then_some((index, offset % DEVICE_WINDOW_BYTES))
}

/// The ranges of guest memory, as (guest address, bytes), for so much of it.
pub(crate) fn memory_ranges(bytes: u64) -> Vec<(u64, u64)> {
    if bytes <= HOLE_START {
        vec![(0, bytes)]
    } else {
        vec![(0, HOLE_START), (HOLE_END, bytes - HOLE_START)]
    }
}

/// Where memory below the hole ends.
pub(crate) fn low_memory_end(bytes: u64) -> u64 {
    bytes.min(HOLE_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_out_of_the_hole() {
        assert_eq!(memory_ranges(64 << 20), [(0, 64 << 20)]);
        assert_eq!(memory_ranges(3 << 30), [(0, 3 << 30)]);
        assert_eq!(memory_ranges(5 << 30), [(0, 3 << 30), (4 << 30, 2 << 30)]);
        assert_eq!(low_memory_end(5 << 30), 3 << 30);
    }

    #[test]
    fn every_device_finds_its_way_back() {
        for index in 0..8u8 {
            let slot = device_slot(index);
            assert_eq!(device_at(slot.address + 0x50), Some((usize::from(index), 0x50)));
            assert!(slot.line < 24);
            assert!((HOLE_START..u64::from(IO_APIC)).contains(&slot.address));
        }
        assert_eq!(device_at(device_slot(8).address), None);
        assert_eq!(device_at(device_slot(0).address - 1), None);
    }
}
