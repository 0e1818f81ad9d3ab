//! Runs one microVM on KVM, and serves its devices to QEMU where there is no KVM.
//!
//! Knows of no container, image or agent, opens no file, makes no socket and starts no process: all
//! it stands on is handed to it open.

mod config;
pub mod virtio;
mod vm_exit;
pub use config::{Descriptors, DiskConfig, FdSlot, FileExtent, VhostUserConfig, VmConfig};
pub use vm_exit::{PANIC_MARK, RESET_FLAG_ADDRESS, STOP_PORT, STOP_VALUE, VmExit};
