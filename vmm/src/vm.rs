//! A machine that is ready, then runs, then has stopped.

use crate::bus::Bus;
use crate::vcpu::VcpuThread;
use crate::vm_exit::VmExit;
use kvm_ioctls::{VcpuFd, VmFd};
use std::sync::Arc;
use std::sync::mpsc::channel;

/// A machine at its first instruction. [`Vm::run`] lets it go.
pub struct Vm {
    vcpus: Vec<VcpuFd>,
    machine: VmFd,
    bus: Arc<Bus>,
}

/// A machine that has stopped: no thread of it is left. What remains is given back when this is
/// dropped, which takes KVM tens of milliseconds: whoever waits for the end is best told before.
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
}

impl Vm {
    pub(crate) fn new(machine: VmFd, vcpus: Vec<VcpuFd>, bus: Arc<Bus>) -> Self {
        Self { vcpus, machine, bus }
    }

    /// Runs it until it ends, and joins every thread. Whoever filters system calls does so before
    /// this: from here on only threads are made.
    pub fn run(self) -> StoppedVm {
        let Self { vcpus, machine, bus } = self;
        let (end, ended) = channel();
        let mut threads = Vec::with_capacity(vcpus.len());
        let mut failure = None;
        for (index, vcpu) in vcpus.into_iter().enumerate() {
            if failure.is_some() {
                break;
            }
            match VcpuThread::start(index, vcpu, Arc::clone(&bus), end.clone()) {
                Ok(thread) => threads.push(thread),
                Err(error) => failure = Some(error),
            }
        }
        let exit = match failure {
            Some(error) => VmExit::Failed(format!("a vcpu's thread could not be started: {error}")),
            // A sender is held here, so there always is one more to wait for.
            None => ended.recv().unwrap_or_else(|error| VmExit::Failed(error.to_string())),
        };
        threads.iter().for_each(VcpuThread::kick);
        let vcpus = threads.into_iter().filter_map(VcpuThread::join).collect();
        bus.stop_devices();
        StoppedVm { exit, _parts: Parts { _vcpus: vcpus, _machine: machine, _bus: bus } }
    }
}
