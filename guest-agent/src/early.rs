//! What the guest lacks when its kernel starts the agent: a root that containers can pivot away
//! from, the kernel's file systems, and delegated cgroups.
//!
//! Never touches a disk or a container.

use crate::cgroup;
use crate::error::{OsError, Tried};
use rustix::mount::{MountFlags, mount, mount_move};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The root of the cgroup tree.
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// The cgroup of the agent itself.
const AGENT_CGROUP: &str = "/sys/fs/cgroup/agent";
/// The cgroup below which every container and every guest process has its own.
pub const SANDBOX_CGROUP: &str = "/sys/fs/cgroup/cofferdam";

const NO_EXEC: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Moves to a tmpfs root and mounts the kernel's file systems on it.
///
/// pivot_root(2) refuses to leave an initramfs, so containers need a root of another kind. The
/// initramfs is made read-only before it disappears from sight: the agent's own program stays on it.
///
/// # Errors
/// The first mount that fails.
pub fn mount_root() -> Result<(), OsError> {
    const NEW_ROOT: &str = "/root";
    make_directory(NEW_ROOT)?;
    mount_one("tmpfs", NEW_ROOT, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, "mode=755")?;
    std::env::set_current_dir(NEW_ROOT).tried("enter", NEW_ROOT)?;
    for directory in ["proc", "sys", "dev", "run"] {
        make_directory(directory)?;
    }
    mount_one("proc", "proc", "proc", NO_EXEC, "")?;
    mount_one("sysfs", "sys", "sysfs", NO_EXEC, "")?;
    mount_one("devtmpfs", "dev", "devtmpfs", MountFlags::NOSUID, "mode=755")?;
    // Containers may write to their files of /etc, which are here, but not fill the memory with them.
    let run = "mode=755,size=16m";
    mount_one("tmpfs", "run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, run)?;
    rustix::mount::mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, "")
        .tried("make read-only", "the initramfs")?;
    mount_move(".", "/").tried("move", "the new root")?;
    rustix::process::chroot(".").tried("change root to", "the new root")?;
    std::env::set_current_dir("/").tried("enter", "/")
}

/// Mounts what /dev has below it, and gives it the names that programs expect there.
///
/// # Errors
/// The first mount that fails.
pub fn mount_devices() -> Result<(), OsError> {
    for directory in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        make_directory(directory)?;
    }
    let pts = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_one("devpts", "/dev/pts", "devpts", pts, "ptmxmode=0666,mode=620,gid=5")?;
    mount_one("tmpfs", "/dev/shm", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, "mode=1777")?;
    let links = [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ];
    for (target, link) in links {
        symlink(target, link).tried("make the link", link)?;
    }
    Ok(())
}

/// Mounts cgroup v2, moves the agent to a leaf of its own, delegates every controller and keeps
/// something back for the agent.
///
/// A cgroup namespace is the end of delegation: a container with all powers still cannot raise its
/// own limits.
///
/// # Errors
/// The first operation that fails.
pub fn mount_cgroups() -> Result<(), OsError> {
    mount_one("cgroup2", CGROUP_ROOT, "cgroup2", NO_EXEC, "nsdelegate")?;
    // Moving a process between cgroups waits for an RCU grace period; an expedited one is quick.
    // Where the kernel lacks the switch, it merely takes longer.
    let _ = fs::write("/sys/kernel/rcu_expedited", "1");
    delegate_cgroups()?;
    cgroup::keep_reserve()
}

/// Raises the limit of open files, which every process inherits, to Docker's.
///
/// # Errors
/// What setrlimit(2) says.
pub fn raise_limits() -> Result<(), OsError> {
    const OPEN_FILES: u64 = 1 << 20;
    crate::sys::set_resource_limit(libc::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)
        .tried("raise", "the limit of open files")
}

/// Delegates every controller of the mounted hierarchy to the sandbox's cgroup.
///
/// # Errors
/// The first operation that fails.
fn delegate_cgroups() -> Result<(), OsError> {
    make_directory(AGENT_CGROUP)?;
    fs::write(format!("{AGENT_CGROUP}/cgroup.procs"), "0").tried("enter", AGENT_CGROUP)?;
    make_directory(SANDBOX_CGROUP)?;
    cgroup::delegate(CGROUP_ROOT, &[CGROUP_ROOT, SANDBOX_CGROUP])
}

/// Sets the wall clock.
///
/// # Errors
/// What clock_settime(2) says.
pub fn set_clock(realtime_ns: u64) -> Result<(), OsError> {
    const NS_PER_S: u64 = 1_000_000_000;
    let time = rustix::time::Timespec {
        tv_sec: i64::try_from(realtime_ns / NS_PER_S).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(realtime_ns % NS_PER_S).unwrap_or(0),
    };
    rustix::time::clock_settime(rustix::time::ClockId::Realtime, time).tried("set", "the clock")
}

fn make_directory(path: impl AsRef<Path>) -> Result<(), OsError> {
    let path = path.as_ref();
    match fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.tried("make", path.display()),
    }
}

fn mount_one(
    source: &str,
    target: &str,
    kind: &str,
    flags: MountFlags,
    data: &str,
) -> Result<(), OsError> {
    let data = std::ffi::CString::new(data).unwrap_or_default();
    mount(source, target, kind, flags, data.as_c_str()).tried("mount", target)
}
