//! The vCPU threads and how they are stopped.
//!
//! ```text
//!   whoever stops                                vCPU thread
//!     stop := true
//!     immediate_exit := 1   ── in KVM_RUN later: it returns at once
//!     signal the thread     ── in KVM_RUN now: it returns with EINTR
//!     join ◀───────────────────────────── sees stop, gives the vCPU back
//! ```
//! Whatever the thread is doing, it sees `stop` before it could enter the guest again and stay there.

mod run;

use crate::bus::Bus;
use crate::sys::ImmediateExit;
use crate::vm_exit::VmExit;
use kvm_ioctls::VcpuFd;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

/// A vCPU's thread.
#[derive(Debug)]
pub(crate) struct VcpuThread {
    thread: JoinHandle<VcpuFd>,
    immediate_exit: ImmediateExit,
    stop: Arc<AtomicBool>,
}

/// Makes the signal that interrupts a vCPU one that does nothing else. Once, before any vCPU runs.
pub(crate) fn prepare_signal() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    register_signal_handler(SIGRTMIN(), nothing).map_err(io::Error::from)
}

impl VcpuThread {
    /// Lets a vCPU run on a thread of its own. If the machine ends on it, it says so to `ended`.
    pub(crate) fn start(
        index: usize,
        mut vcpu: VcpuFd,
        bus: Arc<Bus>,
        ended: Sender<VmExit>,
    ) -> io::Result<Self> {
        let immediate_exit = ImmediateExit::of(&mut vcpu);
        let stop = Arc::new(AtomicBool::new(false));
        let threads_stop = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name(format!("vcpu{index}")).spawn(move || {
            if let Some(exit) = run::until_stop(&mut vcpu, &bus, &threads_stop) {
                // Nobody listens any more where another vCPU ended the machine first.
                let _ = ended.send(exit);
            }
            vcpu
        })?;
        Ok(Self { thread, immediate_exit, stop })
    }

    /// Asks it to stop, without waiting.
    pub(crate) fn kick(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.immediate_exit.set();
        // It fails only where the thread has ended already.
        let _ = self.thread.kill(SIGRTMIN());
    }

    /// Waits for it to have stopped, after [`VcpuThread::kick`].
    pub(crate) fn join(self) -> Option<VcpuFd> {
        self.thread.join().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{arch, kvm, memory};
    use kvm_ioctls::VcpuExit;

    /// What closes the gap between the look at `stop` and the entry to the guest. Sees nothing where
    /// there is no KVM that can be opened.
    #[test]
    fn a_vcpu_told_to_return_at_once_does_not_enter_the_guest() {
        let device = std::fs::File::options().read(true).write(true).open("/dev/kvm");
        let Ok(device) = device else { return };
        let kvm = kvm::open(device.into()).unwrap();
        let machine = kvm::create_machine(&kvm, 1).unwrap();
        let memory = memory::create(arch::probe::MEMORY_BYTES).unwrap();
        memory::register(&machine, &memory).unwrap();
        let mut vcpu = arch::probe::prepare(&kvm, &machine, &memory).unwrap();
        let immediate_exit = ImmediateExit::of(&mut vcpu);
        immediate_exit.set();
        assert_eq!(vcpu.run().unwrap_err().errno(), libc::EINTR);
        vcpu.set_kvm_immediate_exit(0);
        assert!(matches!(vcpu.run(), Ok(VcpuExit::IoOut(..) | VcpuExit::InternalError)));
    }
}
