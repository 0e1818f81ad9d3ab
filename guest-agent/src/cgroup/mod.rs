//! A container's cgroup: its limits, its devices, and whether the kernel killed in it for want of memory.
//!
//! Follows Documentation/admin-guide/cgroup-v2.rst.

pub mod devices;
pub mod usage;

use crate::early::{CGROUP_ROOT, SANDBOX_CGROUP};
use crate::error::{OsError, Tried};
use crate::sys;
use protocol::{ContainerId, DeviceAccess, Resources};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The period that a limit of CPU time is counted over.
const CPU_PERIOD_US: u64 = 100_000;
const MICROS: u64 = 1_000_000;

/// The cgroup of a container.
pub fn path(container: &ContainerId) -> PathBuf {
    Path::new(SANDBOX_CGROUP).join(container.as_str())
}

/// Makes the cgroup of a container, with its limits and its rule about devices.
///
/// # Errors
/// The first operation that fails.
pub fn create(
    container: &ContainerId,
    limits: &Resources,
    access: DeviceAccess,
) -> Result<(), OsError> {
    let path = path(container);
    fs::create_dir(&path).tried("make", path.display())?;
    set_limits(&path, limits, false)?;
    if access == DeviceAccess::Standard {
        let cgroup = File::open(&path).tried("open", path.display())?;
        sys::guard_devices(&cgroup, &devices::program())
            .tried("limit the devices of", path.display())?;
    }
    Ok(())
}

/// Gives a container other limits.
///
/// # Errors
/// The first operation that fails; those before it are in force.
pub fn limit(container: &ContainerId, limits: &Resources) -> Result<(), OsError> {
    set_limits(&path(container), limits, true)
}

/// Sets those that there are; and, where there may be others before, takes those away that there are not.
fn set_limits(cgroup: &Path, limits: &Resources, others: bool) -> Result<(), OsError> {
    let set = |file: &str, value: String| {
        let file = cgroup.join(file);
        fs::write(&file, &value).tried("write", format_args!("{value} to {}", file.display()))
    };
    let none = || others.then(|| "max".to_owned());
    if let Some(bytes) = limits.memory_bytes.map(|bytes| bytes.to_string()).or_else(none) {
        set("memory.max", bytes)?;
    }
    if limits.memory_bytes.is_some() {
        match set("memory.swap.max", "0".to_owned()) {
            // A kernel without swap has no such limit to set.
            Err(error) if !cgroup.join("memory.swap.max").exists() => drop(error),
            other => other?,
        }
    }
    // The kernel's least quota is 1 ms.
    let quota = |micros: u64| (micros.saturating_mul(CPU_PERIOD_US) / MICROS).max(1000).to_string();
    if let Some(quota) = limits.cpu_micros.map(quota).or_else(none) {
        set("cpu.max", format!("{quota} {CPU_PERIOD_US}"))?;
    }
    if let Some(count) = limits.pids.map(|count| count.to_string()).or_else(none) {
        set("pids.max", count)?;
    }
    Ok(())
}

/// Delegates every controller that `root` has to the children of each of these cgroups, in order.
///
/// # Errors
/// The first operation that fails.
pub fn delegate(root: &str, cgroups: &[&str]) -> Result<(), OsError> {
    let names = fs::read_to_string(format!("{root}/cgroup.controllers"))
        .tried("read the controllers of", root)?;
    let enable: Vec<String> = names.split_whitespace().map(|name| format!("+{name}")).collect();
    let enable = enable.join(" ");
    for cgroup in cgroups {
        fs::write(format!("{cgroup}/cgroup.subtree_control"), &enable)
            .tried("delegate controllers of", cgroup)?;
    }
    Ok(())
}

/// Limits all containers together, so that the agent lives on whatever they do: neither their memory
/// nor their processes can be all there is. One that takes too much is then killed for it by its own
/// cgroup's rules, not the machine's.
///
/// # Errors
/// The first operation that fails.
pub fn keep_reserve() -> Result<(), OsError> {
    const MEMORY: &str = "/proc/meminfo";
    const THREADS: &str = "/proc/sys/kernel/threads-max";
    let memory = fs::read_to_string(MEMORY).tried("read", MEMORY)?;
    let threads = fs::read_to_string(THREADS).tried("read", THREADS)?;
    let set = |file: &str, value: u64| {
        let file = format!("{SANDBOX_CGROUP}/{file}");
        fs::write(&file, value.to_string()).tried("write", format_args!("{value} to {file}"))
    };
    if let Some(free) = free_bytes(&memory) {
        set("memory.max", memory_for_containers(free))?;
    }
    if let Ok(threads) = threads.trim().parse() {
        set("pids.max", threads_for_containers(threads))?;
    }
    Ok(())
}

/// What is free, of the text of /proc/meminfo.
fn free_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// All but 4 MiB and a share that grows with the machine, as the kernel's own needs do.
fn memory_for_containers(free: u64) -> u64 {
    free.saturating_sub(4 << 20).saturating_sub(free / 32)
}

/// All but the kernel's own threads, the agent's, and some.
fn threads_for_containers(all: u64) -> u64 {
    all.saturating_sub(100).saturating_sub(all / 8)
}

/// Moves this process into a cgroup beside those of the containers, made where it is not there.
///
/// # Errors
/// The first operation that fails.
pub fn enter(name: &str) -> Result<(), OsError> {
    let path = Path::new(SANDBOX_CGROUP).join(name);
    match fs::create_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.tried("make", path.display())?,
    }
    fs::write(path.join("cgroup.procs"), "0").tried("enter", path.display())
}

/// Where below the container's cgroup a process of it is: `None` at its root.
pub fn position(container: &ContainerId, pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let whole = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = path(container);
    let root = root.strip_prefix(CGROUP_ROOT).ok()?.to_str()?;
    let below = whole.strip_prefix('/')?.strip_prefix(root)?.strip_prefix('/')?;
    (!below.is_empty()).then(|| below.to_owned())
}

/// Whether the kernel has killed anything in the container for want of memory.
pub fn ran_out_of_memory(container: &ContainerId) -> bool {
    let events = fs::read_to_string(path(container).join("memory.events")).unwrap_or_default();
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.is_some_and(|count| count != "0")
}

/// Has the processes of all containers stand still, or go on.
pub fn freeze(wanted: bool) {
    // What comes of it is read, and not believed.
    let _ = fs::write(format!("{SANDBOX_CGROUP}/cgroup.freeze"), if wanted { "1" } else { "0" });
}

/// Whether they stand still: as soon as that is what is wanted, or after ten seconds.
pub fn is_frozen(wanted: bool) -> bool {
    const TRIES: u32 = 1000;
    const PAUSE: Duration = Duration::from_millis(10);
    let is_frozen = || {
        let events = fs::read_to_string(format!("{SANDBOX_CGROUP}/cgroup.events"));
        events.unwrap_or_default().lines().any(|line| line == "frozen 1")
    };
    for _ in 0..TRIES {
        if is_frozen() == wanted {
            return wanted;
        }
        std::thread::sleep(PAUSE);
    }
    !wanted
}

/// Kills whatever is left in the cgroup of a container.
pub fn kill_all(container: &ContainerId) {
    // Where there is no cgroup any more, there is nobody in it.
    let _ = fs::write(path(container).join("cgroup.kill"), "1");
}

/// Removes the cgroup of a container and those below it, when all that was killed in them is gone.
pub fn remove(container: &ContainerId) {
    const TRIES: u32 = 200;
    const PAUSE: Duration = Duration::from_millis(10);
    let path = path(container);
    for _ in 0..TRIES {
        // Gone already, or empty.
        let events = fs::read_to_string(path.join("cgroup.events")).unwrap_or_default();
        if !events.lines().any(|line| line == "populated 1") {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    remove_tree(&path, 0);
}

fn remove_tree(path: &Path, depth: u32) {
    const MAX_DEPTH: u32 = 64;
    if fs::remove_dir(path).is_ok() || depth > MAX_DEPTH {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path(), depth + 1);
        }
    }
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests;
