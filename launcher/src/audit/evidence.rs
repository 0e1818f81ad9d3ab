//! What the same words of a kernel's mean on both sides: a map of users, a set of capabilities, a list of mounts.

use crate::capabilities;
use crate::host::mounts::MountPoint;
use std::collections::BTreeSet;

/// Nothing where no capability is held; else which.
pub fn not_held(capabilities: u64) -> Result<(), String> {
    if capabilities == 0 { Ok(()) } else { Err(capabilities::in_words(capabilities)) }
}

/// Who user 0 of a namespace is in the one around it, by its map (user_namespaces(7)); `None` where it has no
/// such user.
pub fn root_outside(uid_map: &str) -> Option<u32> {
    let ranges = uid_map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
        Some((numbers.next()??, numbers.next()??))
    });
    ranges.into_iter().find(|(inside, _)| *inside == 0).map(|(_, outside)| outside)
}

/// Whether all that may be written to is noexec, nosuid and nodev. `/` is another finding's, and what lies
/// below /dev and /proc is the kernel's own.
pub fn loose_mounts(mounts: &[MountPoint], writable: &[String]) -> (bool, String) {
    const FENCES: [&str; 3] = ["noexec", "nosuid", "nodev"];
    let is_concerned = |mount: &&MountPoint| {
        let kernels = ["/dev", "/proc", "/sys"].iter().any(|top| is_below(&mount.path, top));
        let (shm, root) = (is_below(&mount.path, "/dev/shm"), mount.path == "/");
        !root && (!kernels || shm) && !mount.is_read_only() && writable.contains(&mount.path)
    };
    let concerned: Vec<&MountPoint> = mounts.iter().filter(is_concerned).collect();
    let lacks = |mount: &&MountPoint| {
        let lacking: Vec<&str> = FENCES.into_iter().filter(|fence| !mount.has(fence)).collect();
        (!lacking.is_empty()).then(|| format!("{} is not {}", mount.path, lacking.join(", ")))
    };
    // What is mounted over another of its kind is said once.
    let loose: BTreeSet<String> = concerned.iter().filter_map(lacks).collect();
    if !loose.is_empty() {
        return (false, joined(loose, "; "));
    }
    match concerned.iter().map(|mount| mount.path.clone()).collect::<BTreeSet<_>>() {
        none if none.is_empty() => (true, "nothing that is mounted can be written to".to_owned()),
        paths => (true, format!("noexec, nosuid and nodev: {}", joined(paths, ", "))),
    }
}

fn joined(words: BTreeSet<String>, between: &str) -> String {
    words.into_iter().collect::<Vec<_>>().join(between)
}

fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
