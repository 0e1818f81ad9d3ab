//! Runs one microVM on KVM, and serves its devices to QEMU where there is no KVM.
//!
//! ```text
//!   VmConfig + open files
//!     │ validate     what cannot boot, before anything is taken
//!     │ kvm          a machine, its interrupt controllers
//!     │ memory       mapped, told to KVM
//!     │ kernel       kernel and initramfs read straight into it
//!     │ devices      each behind its window: notifications in, interrupts out
//!     │ cmdline      what the kernel is told, and where
//!     │ arch         boot data; processors at their first instruction
//!     ▼
//!   Vm ── run() ──▶ vCPU threads run ──▶ the first reason to stop ──▶ all threads joined ──▶ VmExit
//! ```
//!
//! Knows of no container, image or agent, opens no file, makes no socket and starts no process: all
//! it stands on is handed to it open.

mod arch;
mod boot;
mod bus;
mod cmdline;
mod config;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(any(test, feature = "fuzzing"))]
mod hostile;
mod kernel;
mod kvm;
mod memory;
pub mod probe;
pub mod serial;
mod sys;
mod threads;
mod validate;
mod vcpu;
pub mod vhost_user_devices;
pub mod virtio;
mod vm;
mod vm_exit;

pub use arch::ArchError;
pub use boot::{BootError, boot};
pub use cmdline::CmdlineError;
pub use config::{
    Console, Descriptors, DiskConfig, FdSlot, FileExtent, Heard, NetworkDevice, Shares,
    VhostUserConfig, VmConfig,
};
pub use kernel::KernelError;
pub use kvm::KvmError;
pub use memory::MemoryError;
pub use threads::{ThreadKind, Threads};
pub use validate::ConfigError;
pub use vm::{StoppedVm, Vm};
pub use vm_exit::{PANIC_MARK, RESET_FLAG_ADDRESS, STOP_PORT, STOP_VALUE, VmExit};
