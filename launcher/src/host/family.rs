//! A process and all that came of it, as everybody may see them.

use super::process::{ProcessStatus, field};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relative {
    /// Its name: the last part of what it was started as.
    pub name: String,
    /// What it is and may do; `None` where the kernel would not say.
    pub status: Option<ProcessStatus>,
}

/// The process `ancestor` and all its descendants that live, in the order of their ids.
pub fn of(ancestor: u32) -> Vec<Relative> {
    let processes = all();
    let parents = processes.iter().map(|(&pid, status)| (pid, parent(status))).collect();
    let related = related(ancestor, &parents);
    let living = related.iter().filter_map(|pid| {
        let status = processes.get(pid)?;
        let ended = field(status, "State").is_some_and(|state| state.starts_with('Z'));
        (!ended).then(|| Relative { name: name(*pid), status: ProcessStatus::parse(status) })
    });
    living.collect()
}

/// Clock ticks in a second, as the kernel shows them (USER_HZ of x86).
pub const TICKS_PER_SECOND: u64 = 100;

/// What a process and all its descendants take of this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// CPU time, in clock ticks.
    pub ticks: u64,
    /// Memory, in bytes: what is each one's own, and once what they share.
    pub memory_bytes: u64,
}

/// What the process `ancestor` and all its descendants that live take.
pub fn taken(ancestor: u32) -> Taken {
    let processes = all();
    let parents = processes.iter().map(|(&pid, status)| (pid, parent(status))).collect();
    let mut taken = Taken::default();
    let mut shared = 0;
    for pid in related(ancestor, &parents) {
        let Some(status) = processes.get(&pid) else { continue };
        let kib = |name| {
            let value = field(status, name)?.strip_suffix("kB")?;
            value.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        taken.memory_bytes += kib("RssAnon").unwrap_or(0);
        shared = shared.max(kib("RssShmem").unwrap_or(0));
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        taken.ticks += ticks(&stat).unwrap_or(0);
    }
    taken.memory_bytes += shared;
    taken
}

/// The CPU time in a /proc/PID/stat: fields 14 and 15, of which the second is a name that may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    times.next()?.ok()?.checked_add(times.next()?.ok()?)
}

/// The status of every process that can be seen.
fn all() -> BTreeMap<u32, String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, fs::read_to_string(format!("/proc/{pid}/status")).ok()?)))
        .collect()
}

fn parent(status: &str) -> u32 {
    field(status, "PPid").and_then(|pid| pid.parse().ok()).unwrap_or(0)
}

fn related(ancestor: u32, parents: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
    let mut related = BTreeSet::from([ancestor]);
    loop {
        let before = related.len();
        let children = parents.iter().filter(|(_, parent)| related.contains(parent));
        let children: Vec<u32> = children.map(|(&pid, _)| pid).collect();
        related.extend(children);
        if related.len() == before {
            return related;
        }
    }
}

fn name(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let program = String::from_utf8_lossy(first).into_owned();
    Path::new(&program).file_name().map_or(program.clone(), |name| name.to_string_lossy().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn descendants_are_found_and_strangers_are_not() {
        let parents = BTreeMap::from([(1, 0), (5, 1), (3, 5), (4, 3), (6, 1)]);
        assert_eq!(related(5, &parents), BTreeSet::from([3, 4, 5]));
        assert_eq!(related(9, &parents), BTreeSet::from([9]));
    }

    #[test]
    fn a_child_is_seen_with_what_it_may_do() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let child = loop {
            // Whoever has just been executed has no name for a moment.
            if let Some(child) = of(std::process::id()).into_iter().find(|it| it.name == "cat") {
                break child;
            }
            assert_eq!(cat.try_wait().unwrap(), None, "it runs");
        };
        drop(cat.stdin.take());
        cat.wait().unwrap();
        let status = child.status.as_ref().expect("the kernel says");
        assert_eq!(status.uids[1], rustix::process::geteuid().as_raw());
    }
}
