//! A machine that is ready, then runs, then has stopped.

use crate::bus::Bus;
use crate::threads::{Crew, ThreadKind, Threads};
use crate::vcpu::{End, RunningVcpu};
use crate::vm_exit::VmExit;
use kvm_ioctls::{VcpuFd, VmFd};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A machine at its first instruction. [`Vm::run`] lets it go.
pub struct Vm {
    pub(crate) threads: Threads,
    /// A thread for each vCPU.
    pub(crate) crew: Crew,
    pub(crate) vcpus: Vec<VcpuFd>,
    pub(crate) machine: VmFd,
    pub(crate) bus: Arc<Bus>,
}

/// A machine that has stopped: its threads are idle. What remains is given back when this is dropped,
/// which takes KVM tens of milliseconds and threads their end: whoever waits for the machine is best
/// told before, and a process that runs nothing else best ends without it.
pub struct StoppedVm {
    /// Why it stopped.
    pub exit: VmExit,
    _parts: Parts,
}

/// What KVM and the host gave, in the order it goes back: an eventfd closed before its machine costs
/// KVM more time than all the rest.
struct Parts {
    _vcpus: Vec<VcpuFd>,
    _machine: VmFd,
    _bus: Arc<Bus>,
    _crew: Crew,
}

impl Vm {
    /// A file for each vCPU of what KVM counts of it (`KVM_GET_STATS_FD`); none where this KVM has no such
    /// files. As long as one is open, the machine is not taken apart.
    pub fn counts(&self) -> Vec<OwnedFd> {
        let files: Result<_, _> = self.vcpus.iter().map(crate::sys::counts_of).collect();
        files.unwrap_or_default()
    }

    /// Runs it until it ends, and waits until nothing of it runs any more. No thread is made from here on,
    /// and the calling one is confined, too ([`ThreadKind::Main`]).
    pub fn run(self) -> StoppedVm {
        let Self { threads, crew, vcpus, machine, bus } = self;
        threads.confine(ThreadKind::Main);
        let end = Arc::new(End::default());
        let start =
            |vcpu| RunningVcpu::start(crew.tasks(), vcpu, Arc::clone(&bus), Arc::clone(&end));
        let running: Vec<_> = vcpus.into_iter().map(start).collect();
        let exit = end.wait();
        running.iter().for_each(RunningVcpu::kick);
        let vcpus = running.into_iter().filter_map(RunningVcpu::join).collect();
        bus.stop_devices();
        StoppedVm {
            exit,
            _parts: Parts { _vcpus: vcpus, _machine: machine, _bus: bus, _crew: crew },
        }
    }
}
