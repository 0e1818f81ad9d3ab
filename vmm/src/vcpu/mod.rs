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
use std::panic::{AssertUnwindSafe, catch_unwind};
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
            let (vcpu, end) = keeping(vcpu, |vcpu| run::until_stop(vcpu, &bus, &threads_stop));
            if let Some(exit) = end {
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

/// Lets `run` work with what a thread holds. It is given back even where `run` panics: whoever stops the
/// thread still reaches into it.
fn keeping<T>(mut held: T, run: impl FnOnce(&mut T) -> Option<VmExit>) -> (T, Option<VmExit>) {
    let end = catch_unwind(AssertUnwindSafe(|| run(&mut held)));
    let end = end.unwrap_or_else(|_| Some(VmExit::Failed("a vcpu's thread panicked".to_owned())));
    (held, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::resume_unwind;

    struct Held(Arc<AtomicBool>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_thread_that_panics_ends_the_machine_and_gives_its_vcpu_back() {
        let dropped = Arc::new(AtomicBool::new(false));
        let held = Held(Arc::clone(&dropped));
        let (held, end) = keeping(held, |_| resume_unwind(Box::new("as a panic does")));
        assert!(matches!(end, Some(VmExit::Failed(_))), "{end:?}");
        assert!(!dropped.load(Ordering::SeqCst));
        drop(held);
        assert!(dropped.load(Ordering::SeqCst));
    }
}
