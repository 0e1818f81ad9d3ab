//! The end of the machine: everything killed, all that is on the writable disk left clean, then stopped.
//!
//! Follows the launcher's side of it: a byte to an I/O port says that the guest had finished.

use crate::agent::Agent;
use crate::sys;
use rustix::mount::{MountFlags, mount_remount};
use rustix::system::{RebootCommand, reboot};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// The port and the byte that say so (the VMM's `vm_exit` has the same).
const STOP_PORT: u16 = 0xf4;
const STOP_VALUE: u8 = 0x2a;

/// How long killed processes may take to go.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How often, and after what pauses, a file system is tried to be released.
const RELEASE_TRIES: u32 = 50;
const RELEASE_PAUSE: Duration = Duration::from_millis(10);

/// Kills whatever runs, and leaves nothing unwritten.
pub fn release(agent: &Agent) {
    agent.supervisor.refuse_more();
    sys::kill(-1, libc::SIGKILL);
    if !agent.supervisor.wait_until_childless(KILL_LIMIT) {
        crate::log::debug(&std::io::Error::other("processes outlived being killed"));
    }
    let writable = agent.disks.all_writable();
    // What is mapped of a shared file may be nowhere yet but in this kernel.
    if writable.is_empty() || agent.shares.is_mounted() {
        rustix::fs::sync();
    }
    writable.iter().for_each(|path| release_one(path));
}

/// Makes a file system read-only, which leaves it as an unmount would: everything written, the
/// journal empty, the superblock marked clean. An unmount would only free memory, and takes the
/// kernel as long as half a container.
///
/// It is refused while a file is open for writing: the kernel takes a moment to let go of what an
/// ended container had mounted on the disk. Where that moment does not end, a freeze writes everything
/// and empties the journal just so.
fn release_one(path: &Path) {
    for _ in 0..RELEASE_TRIES {
        if mount_remount(path, MountFlags::RDONLY | MountFlags::NOATIME, "").is_ok() {
            return;
        }
        std::thread::sleep(RELEASE_PAUSE);
    }
    rustix::fs::sync();
    if let Err(error) = File::open(path).and_then(|root| sys::freeze(&root)) {
        crate::log::debug(&error);
        rustix::fs::sync();
    }
}

/// Stops the machine.
pub fn stop() -> ! {
    let _ = sys::write_port(STOP_PORT, STOP_VALUE);
    // Still here: nobody listens at the port, or this kernel has no ioperm.
    let _ = reboot(RebootCommand::Restart);
    loop {
        std::thread::park();
    }
}
