//! One vCPU's life: run, see to why it returned, run again.

use crate::bus::Bus;
use crate::vm_exit::VmExit;
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs until the machine ends on this vCPU (gives why), or it is told to stop (gives `None`).
pub(super) fn until_stop(vcpu: &mut VcpuFd, bus: &Bus, stop: &AtomicBool) -> Option<VmExit> {
    while !stop.load(Ordering::SeqCst) {
        let end = match vcpu.run() {
            Ok(exit) => handle(exit, bus),
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => None,
            Err(error) => Some(VmExit::Failed(format!("a vcpu could not run: {error}"))),
        };
        if end.is_some() {
            return end;
        }
    }
    None
}

fn handle(exit: VcpuExit<'_>, bus: &Bus) -> Option<VmExit> {
    match exit {
        VcpuExit::MmioRead(address, data) => bus.read(address, data),
        VcpuExit::MmioWrite(address, data) => bus.write(address, data),
        VcpuExit::IoIn(port, data) => bus.read_port(port, data),
        VcpuExit::IoOut(port, data) => return bus.write_port(port, data),
        VcpuExit::Intr => {}
        VcpuExit::Shutdown => return Some(bus.unless_panicked(VmExit::TripleFault)),
        VcpuExit::InternalError => {
            return Some(VmExit::Failed("kvm could not emulate an instruction".to_owned()));
        }
        VcpuExit::FailEntry(reason, cpu) => {
            let words =
                format!("the processor refused to enter the guest ({reason:#x}, cpu {cpu})");
            return Some(VmExit::Failed(words));
        }
        other => return Some(VmExit::Failed(format!("a vcpu returned with {other:?}"))),
    }
    None
}
