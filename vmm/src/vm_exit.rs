//! Why a machine stopped. Not why a vCPU returned (that is a `VcpuExit`), nor how a process ended.

use serde::{Deserialize, Serialize};

/// Why a machine stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VmExit {
    /// The guest wrote [`STOP_VALUE`] to [`STOP_PORT`]: it had finished. Its word only, as all that a
    /// guest says: a process with the right to use I/O ports can write there too.
    Stopped,
    /// The guest kernel panicked and then reset the machine.
    Panicked,
    /// The guest reset the machine without a panic.
    Reset,
    /// A vCPU met a fault that it could not deliver.
    TripleFault,
    /// The guest did not get to where it should in time. The VMM never finds this: whoever waits for
    /// the guest says it, and then ends the machine with its process.
    Hung,
    /// KVM could not go on: the words say what it reported.
    Failed(String),
}

/// The I/O port by which a guest says that it has finished: QEMU's `isa-debug-exit` sits there too.
pub const STOP_PORT: u16 = 0xf4;

/// What a guest writes there, as one byte. QEMU then exits with `STOP_VALUE << 1 | 1`.
pub const STOP_VALUE: u8 = 0x2a;

/// Where the BIOS data area keeps the reset flag (guest physical address, two bytes). The kernel
/// writes it just before it resets the machine: [`PANIC_MARK`] after a panic, because the command
/// line says `reboot=panic_warm`, and 0 otherwise.
///
/// What a process prints is never taken for it, and none can write there itself: the guest kernel has
/// no /dev/mem. A process that may write to /sys/kernel/reboot and then reset the machine (by
/// /proc/sysrq-trigger or reboot(2)) can make the kernel leave the mark without a panic: it ends its own
/// machine by that and no other.
pub const RESET_FLAG_ADDRESS: u64 = 0x472;

/// What the reset flag holds after a panic: the BIOS's own word for a warm reset.
pub const PANIC_MARK: u16 = 0x1234;
