//! What a container uses, of its cgroup's files and of /proc/meminfo.
//!
//! Follows Documentation/admin-guide/cgroup-v2.rst.

use protocol::{ContainerId, Usage};
use std::fs;
use std::path::Path;

/// What a container uses; `None` where there is no such container.
pub fn of(container: &ContainerId) -> Option<Usage> {
    let path = super::path(container);
    path.is_dir().then(|| read(&path, &text(Path::new("/proc/meminfo"))))
}

/// What cannot be read counts nothing: a kernel may lack a controller.
fn read(cgroup: &Path, meminfo: &str) -> Usage {
    let file = |name: &str| text(&cgroup.join(name));
    let number = |name: &str| file(name).trim().parse().ok();
    let (memory, disks) = (file("memory.stat"), file("io.stat"));
    let at_hand = named(&memory, "inactive_file").unwrap_or(0);
    let kib = |name| named(meminfo, name).unwrap_or(0).saturating_mul(1024);
    Usage {
        cpu_ns: named(&file("cpu.stat"), "usage_usec").unwrap_or(0).saturating_mul(1000),
        memory_bytes: number("memory.current").unwrap_or(0u64).saturating_sub(at_hand),
        memory_max: number("memory.max"),
        tasks: number("pids.current").unwrap_or(0),
        read_bytes: sum(&disks, "rbytes="),
        written_bytes: sum(&disks, "wbytes="),
        guest_bytes: kib("MemTotal:"),
        guest_available_bytes: kib("MemAvailable:"),
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number behind a name that begins a line.
fn named(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    lines
        .find_map(|mut words| words.next().filter(|word| *word == name).and(words.next()))?
        .parse()
        .ok()
}

/// The sum of what stands behind this word, of all lines.
fn sum(text: &str, word: &str) -> u64 {
    let numbers = text.split_whitespace().filter_map(|it| it.strip_prefix(word)?.parse().ok());
    numbers.fold(0, |sum: u64, number: u64| sum.saturating_add(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_read() {
        let cgroup = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("cpu.stat", "usage_usec 1500\nuser_usec 1000\n"),
            ("memory.current", "1000000\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 5\ninactive_file 400000\nactive_file 3\n"),
            ("pids.current", "7\n"),
            ("io.stat", "254:0 rbytes=100 wbytes=20 rios=1\n254:16 rbytes=1 wbytes=2\n"),
        ] {
            fs::write(cgroup.path().join(name), text).unwrap();
        }
        let expected = Usage {
            cpu_ns: 1_500_000,
            memory_bytes: 600_000,
            memory_max: None,
            tasks: 7,
            read_bytes: 101,
            written_bytes: 22,
            guest_bytes: 2048,
            guest_available_bytes: 1024,
        };
        let meminfo = "MemTotal: 2 kB\nMemFree: 1 kB\nMemAvailable: 1 kB\n";
        assert_eq!(read(cgroup.path(), meminfo), expected);
        fs::write(cgroup.path().join("memory.max"), "4096\n").unwrap();
        assert_eq!(read(cgroup.path(), "").memory_max, Some(4096));
        assert_eq!(read(&cgroup.path().join("none"), ""), Usage::default());
    }
}
