//! What a sandbox is made of while it runs, and what is left of it: processes and files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A kind of process, by the name it goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The command itself.
    Launcher,
    /// Runs the VM on KVM.
    Vmm,
    /// Runs it on TCG.
    Qemu,
    /// Serves QEMU.
    Devices,
    /// Serves shared directories.
    Share,
    /// Carries a network.
    Network,
    /// Makes a file system of a layer.
    Unpack,
    /// Tries KVM.
    Probe,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        let name = name.rsplit('/').next().unwrap_or(name);
        [
            ("cofferdam", Self::Launcher),
            ("cofferdam-vmm", Self::Vmm),
            ("cofferdam-qemu", Self::Qemu),
            ("qemu-system-x86_64", Self::Qemu),
            ("cofferdam-devices", Self::Devices),
            ("cofferdam-unpack", Self::Unpack),
            ("cofferdam-share", Self::Share),
            ("cofferdam-network", Self::Network),
            ("cofferdam-probe", Self::Probe),
        ]
        .into_iter()
        .find_map(|(known, kind)| (known == name).then_some(kind))
    }
}

/// A process that cannot be taken for a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// What it is, where that is known.
    pub kind: Option<Kind>,
    started: u64,
}

struct Status {
    parent: u32,
    started: u64,
    zombie: bool,
}

fn status(pid: u32) -> Option<Status> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, so the fields are counted from behind it.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Status {
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        zombie: *fields.first()? == "Z",
    })
}

fn every_process() -> Vec<(u32, Status)> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    numbers.filter_map(|pid: u32| Some((pid, status(pid)?))).collect()
}

/// A process and all that descend from it.
pub fn family(root: u32) -> BTreeSet<Process> {
    let parents = every_process();
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        for (pid, status) in &parents {
            if found.contains(&status.parent) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            break;
        }
    }
    let members = parents.iter().filter(|(pid, _)| found.contains(pid));
    members
        .map(|(pid, status)| Process { pid: *pid, kind: kind_of(*pid), started: status.started })
        .collect()
}

fn kind_of(pid: u32) -> Option<Kind> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Kind::of(&String::from_utf8_lossy(line.split(|b| *b == 0).next()?))
}

/// The first child of a kind that a process has now: quick, for kinds that live for milliseconds.
pub fn child_of(parent: u32, kind: Kind) -> Option<Process> {
    let pid = children(parent).into_iter().find(|pid| kind_of(*pid) == Some(kind))?;
    Some(Process { pid, kind: Some(kind), started: status(pid)?.started })
}

/// The numbers of a process and of all that descend from it: without a look at any other process, of which
/// there may be many.
pub fn descent(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children(*pid));
        next += 1;
    }
    found
}

/// The kinds of the children that a process has now.
pub fn kinds_of_children(parent: u32) -> Vec<Kind> {
    children(parent).into_iter().filter_map(kind_of).collect()
}

fn children(parent: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lines =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lines.flat_map(|line| numbers(&line)).collect()
}

fn numbers(line: &str) -> Vec<u32> {
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Whether a process is there and has not ended.
pub fn lives(pid: u32) -> bool {
    status(pid).is_some_and(|status| !status.zombie)
}

/// Waits until none of these processes lives.
#[track_caller]
pub fn all_gone(processes: &BTreeSet<Process>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let alive = |process: &&Process| {
        status(process.pid).is_some_and(|it| it.started == process.started && !it.zombie)
    };
    loop {
        let left: Vec<_> = processes.iter().filter(alive).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "processes are left: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until every process of ours has a launcher above it.
#[track_caller]
pub fn no_orphans() {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let orphans: Vec<_> = every_process()
            .into_iter()
            .filter(|(pid, status)| !status.zombie && is_ours(*pid) && !has_launcher(status.parent))
            .map(|(pid, _)| (pid, kind_of(pid)))
            .collect();
        if orphans.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "processes are left: {orphans:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_ours(pid: u32) -> bool {
    match kind_of(pid) {
        None | Some(Kind::Launcher) => false,
        Some(Kind::Qemu) => is_our_qemu(pid),
        Some(_) => true,
    }
}

/// QEMU by its own name may be anyone's. Ours boots what it was handed, and has its devices elsewhere; of
/// one that has yet to become QEMU the name alone tells.
fn is_our_qemu(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
    words[0].starts_with("cofferdam")
        || (words.iter().any(|word| word.starts_with("/proc/self/fd/"))
            && words.iter().any(|word| word.starts_with("vhost-user-vsock-device")))
}

/// Every process of the product's on this machine.
pub fn ours() -> Vec<Process> {
    let all = every_process().into_iter().filter(|(_, status)| !status.zombie);
    all.map(|(pid, status)| Process { pid, kind: kind_of(pid), started: status.started })
        .filter(|it| it.kind == Some(Kind::Launcher) || is_ours(it.pid))
        .collect()
}

fn has_launcher(parent: u32) -> bool {
    matches!(kind_of(parent), Some(Kind::Launcher))
}

/// Every file below a directory, by its path from there.
pub fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                waiting.push(entry.path());
            }
            let name = entry.path();
            let name = name.strip_prefix(directory).expect("it lies below").display().to_string();
            found.insert(name);
        }
    }
    found
}

/// The sandboxes that a state directory knows of.
pub fn sandboxes(state: &Path) -> Vec<String> {
    let entries = fs::read_dir(state.join("sandboxes")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
