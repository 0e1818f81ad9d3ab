//! The limits of the cgroups this process is in: cgroup v2, v1, and both at once.
//!
//! Owns: finding them, and the smallest over all ancestors that can be seen. Never does: writes.
//! Follows cgroups(7), proc_pid_mountinfo(5) and the kernel's cgroup-v2.rst.
//!
//! What `/proc/self/cgroup` calls a path is seen from a cgroup namespace; what a mount shows begins at
//! the mount's own root. An engine may give a container a namespace of its own (`/`), a mount that
//! begins at the container (`/docker/ID`), both, or neither; all four come out right here.

use std::fs;
use std::path::{Path, PathBuf};

/// The tightest limits found. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU time, in millionths of a CPU.
    pub cpu_micros: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// One hierarchy, as mounted.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The directory of the hierarchy that the mount shows.
    root: String,
    /// Where it is mounted.
    at: String,
    version: Version,
}

#[derive(Debug, PartialEq, Eq)]
enum Version {
    Two,
    /// With the controllers of this hierarchy.
    One(Vec<String>),
}

/// In v1, a limit of this or more is how "none" reads: the largest multiple of a page.
const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_0000;

impl Limits {
    /// Reads them below `root`, which is `/` but for tests. What cannot be read is no limit.
    pub fn read(root: &Path) -> Self {
        let own = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
        let memberships = own("proc/self/cgroup");
        let mut limits = Limits::default();
        for mount in parse_mounts(&own("proc/self/mountinfo")) {
            let Some(path) = membership(&memberships, &mount.version) else { continue };
            for directory in visible_ancestors(root, &mount, path) {
                limits.tighten(&limits_of(&directory, &mount.version));
            }
        }
        limits
    }

    fn tighten(&mut self, other: &Limits) {
        let smaller = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.memory_bytes = smaller(self.memory_bytes, other.memory_bytes);
        self.cpu_micros = smaller(self.cpu_micros, other.cpu_micros);
        self.pids = smaller(self.pids, other.pids);
    }
}

/// The cgroup mounts in a mountinfo: `ID PARENT MAJ:MIN ROOT MOUNT-POINT OPTIONS … - TYPE SOURCE SUPER`.
fn parse_mounts(mountinfo: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut file_system = file_system.split(' ');
        let version = match file_system.next()? {
            "cgroup2" => Version::Two,
            "cgroup" => {
                let options = file_system.nth(1)?;
                Version::One(options.split(',').map(str::to_owned).collect())
            }
            _ => return None,
        };
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (unescape(fields.next()?), unescape(fields.next()?));
        Some(Mount { root, at, version })
    };
    mountinfo.lines().filter_map(parse).collect()
}

/// Undoes the octal escapes of mountinfo (`\040` is a space).
fn unescape(field: &str) -> String {
    if !field.contains('\\') {
        return field.to_owned();
    }
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// This process's path in a hierarchy, from `/proc/self/cgroup` (`ID:CONTROLLERS:PATH`).
fn membership<'a>(memberships: &'a str, version: &Version) -> Option<&'a str> {
    memberships.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let matches = match version {
            Version::Two => controllers.is_empty(),
            Version::One(options) => controllers
                .split(',')
                .any(|c| !c.is_empty() && options.iter().any(|option| option == c)),
        };
        matches.then_some(path)
    })
}

/// The directories of `path` and its ancestors, as far up as the mount shows.
fn visible_ancestors(root: &Path, mount: &Mount, path: &str) -> Vec<PathBuf> {
    let top = root.join(mount.at.trim_start_matches('/'));
    // A path outside what the mount shows (a namespace made higher up, or `/..`): its root is all
    // that can be asked, and for a container it is the container's own cgroup.
    let below = Path::new(path).strip_prefix(&mount.root).ok();
    let below = below.filter(|below| !below.components().any(|c| c.as_os_str() == ".."));
    let mut directory = top.join(below.unwrap_or(Path::new("")));
    if !directory.is_dir() {
        directory.clone_from(&top);
    }
    let mut found = vec![directory.clone()];
    while directory != top && directory.pop() {
        found.push(directory.clone());
    }
    found
}

fn limits_of(directory: &Path, version: &Version) -> Limits {
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
    let has = |controllers: &[String], name: &str| controllers.iter().any(|c| c == name);
    match version {
        Version::Two => Limits {
            memory_bytes: text("memory.max").trim().parse().ok(),
            cpu_micros: cpu_max(&text("cpu.max")),
            pids: text("pids.max").trim().parse().ok(),
        },
        Version::One(controllers) => {
            let mut limits = Limits::default();
            if has(controllers, "memory") {
                limits.memory_bytes = text("memory.limit_in_bytes")
                    .trim()
                    .parse()
                    .ok()
                    .filter(|&limit| limit < V1_UNLIMITED);
            }
            if has(controllers, "cpu") {
                let quota = text("cpu.cfs_quota_us");
                let period = text("cpu.cfs_period_us");
                limits.cpu_micros = quota_of(quota.trim(), period.trim());
            }
            if has(controllers, "pids") {
                limits.pids = text("pids.max").trim().parse().ok();
            }
            limits
        }
    }
}

/// `QUOTA PERIOD`, in microseconds; the quota may be `max`.
fn cpu_max(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    quota_of(quota, period)
}

/// Millionths of a CPU. A quota that is no positive number (`max`, `-1`) is none.
fn quota_of(quota: &str, period: &str) -> Option<u64> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    quota.checked_mul(1_000_000)?.checked_div(period)
}

#[cfg(test)]
mod tests;
