use super::*;
use crate::jail::start;
use rustix::net::SendFlags;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A process that lives on and the end of the channel that it would speak on.
fn living() -> (Child, Channel) {
    let (ours, theirs) = Channel::pair().unwrap();
    let mut command = Command::new("/bin/sleep");
    command.arg("100").stdin(Stdio::null());
    (start(command, ours).unwrap(), theirs)
}

/// A taken-over process may say nonsense, or nothing, and live on: it is not waited for.
#[test]
fn nonsense_of_a_living_process_is_the_machines_end() {
    let begun = Instant::now();
    for nonsense in [&b""[..], &[1, 0xff, 0xff]] {
        let (vmm, theirs) = living();
        rustix::net::send(theirs.as_fd(), nonsense, SendFlags::empty()).unwrap();
        let event = Machine::Kvm { vmm, counts: Vec::new() }.event();
        assert!(matches!(event, MachineEvent::Exited(VmExit::Failed(_))), "{event:?}");
    }
    assert!(begun.elapsed() < 3 * LAST_MOMENTS, "{:?}", begun.elapsed());
}

#[test]
fn a_qemu_that_lives_on_without_its_devices_is_not_waited_for() {
    let ((qemu, _), (devices, theirs)) = (living(), living());
    theirs.send(&MachineEvent::Exited(VmExit::Reset), &[]).unwrap();
    let event = Machine::Tcg { qemu, devices }.event();
    assert!(matches!(event, MachineEvent::Exited(VmExit::Failed(_))), "{event:?}");
}
