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
use crate::sys::{ImmediateExit, ThreadId};
use crate::threads::{self, Tasks, Working};
use crate::vm_exit::VmExit;
use kvm_ioctls::VcpuFd;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

/// A vCPU that runs on a thread of its crew.
#[derive(Debug)]
pub(crate) struct RunningVcpu {
    working: Working<VcpuFd>,
    immediate_exit: ImmediateExit,
    order: Arc<StopOrder>,
}

#[derive(Debug, Default)]
struct StopOrder {
    stop: AtomicBool,
    /// Which thread it is, from when it begins.
    thread: OnceLock<ThreadId>,
}

/// Why the machine has ended: the first reason that a vCPU gives.
#[derive(Debug, Default)]
pub(crate) struct End {
    reason: Mutex<Option<VmExit>>,
    given: Condvar,
}

impl End {
    fn give(&self, exit: VmExit) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(exit);
        self.given.notify_all();
    }

    /// Waits for it.
    pub(crate) fn wait(&self) -> VmExit {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(exit) = reason.take() {
                return exit;
            }
            reason = self.given.wait(reason).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Makes the signal that interrupts a vCPU one that does nothing else. Once, before any vCPU runs.
pub(crate) fn prepare_signal() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    register_signal_handler(SIGRTMIN(), nothing).map_err(io::Error::from)
}

impl RunningVcpu {
    /// Lets a vCPU run on a thread of the crew, which has one for each. If the machine ends on it, it
    /// says so to `end`.
    pub(crate) fn start(crew: &Tasks, mut vcpu: VcpuFd, bus: Arc<Bus>, end: Arc<End>) -> Self {
        let immediate_exit = ImmediateExit::of(&mut vcpu);
        let order = Arc::new(StopOrder::default());
        let its_order = Arc::clone(&order);
        let working = crew.hand(move || {
            threads::own_id().map(|id| its_order.thread.set(id));
            let (vcpu, reason) = keeping(vcpu, |vcpu| run::until_stop(vcpu, &bus, &its_order.stop));
            if let Some(reason) = reason {
                end.give(reason);
            }
            vcpu
        });
        Self { working, immediate_exit, order }
    }

    /// Asks it to stop, without waiting.
    pub(crate) fn kick(&self) {
        self.order.stop.store(true, Ordering::SeqCst);
        self.immediate_exit.set();
        // One that has not begun sees the order first.
        if let Some(thread) = self.order.thread.get() {
            thread.signal(SIGRTMIN());
        }
    }

    /// Waits for it to have stopped, after [`RunningVcpu::kick`].
    pub(crate) fn join(self) -> Option<VcpuFd> {
        self.working.join()
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
