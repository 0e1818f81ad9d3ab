//! Evidence of where a process runs: how far an escape has reached, and what can be seen from there.
//!
//! Owns: what is looked at. Never does: changes anything.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// So much of each disk is searched: more than an image of a test's has.
const DISK_BYTES: u64 = 8 << 20;
const FILE_BYTES: u64 = 1 << 20;
const FILES_MAX: usize = 4096;
const STEP: usize = 1 << 20;

/// What is seen of the place whose root is `root`, a line for each. The two words are searched for in all
/// that can be read there; each comes backwards, so that no search finds its own order.
pub fn report(root: &Path, words: [&str; 2]) -> io::Result<String> {
    let own = |name: &str| root.join("proc/self").join(name);
    let status = fs::read_to_string(own("status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().split_whitespace().next().unwrap_or_default().to_owned()
    };
    let text =
        |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default().trim().to_owned();
    let link = |kind: &str| {
        let target = fs::read_link(own(&format!("ns/{kind}"))).unwrap_or_default();
        target.display().to_string()
    };
    let mut lines = vec![
        format!("uid {}", field("Uid:")),
        format!("capabilities {}", field("CapEff:")),
        format!("first {}", text("proc/1/comm")),
        format!("boot {}", text("proc/sys/kernel/random/boot_id")),
        format!("kernel {}", text("proc/sys/kernel/osrelease")),
        format!("root {}", names(root)),
        format!("disks {}", disks(root)),
        format!("network {}", names(&root.join("sys/class/net"))),
        format!("processes {}", processes(root)),
    ];
    lines.extend(["pid", "user", "uts", "cgroup"].map(|kind| format!("namespace {}", link(kind))));
    for (name, word) in ["known", "secret"].into_iter().zip(words) {
        let word: Vec<u8> = word.bytes().rev().collect();
        let found = places_of(root, &word)
            .map_or_else(|| "nowhere".to_owned(), |path| path.display().to_string());
        lines.push(format!("{name} {found}"));
    }
    Ok(lines.join("\n"))
}

/// The names in a directory, in order.
fn names(directory: &Path) -> String {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.join(",")
}

fn disks(root: &Path) -> String {
    let all = names(&root.join("sys/block"));
    let real = all.split(',').filter(|name| !name.starts_with("loop"));
    real.collect::<Vec<_>>().join(",")
}

/// Every process that is not the kernel's own, by name.
fn processes(root: &Path) -> String {
    let mut names: Vec<String> = numbers(root)
        .into_iter()
        .filter(|path| fs::read(path.join("cmdline")).is_ok_and(|line| !line.is_empty()))
        .map(|path| fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names.join(",")
}

fn numbers(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    let is_number = |path: &PathBuf| {
        path.file_name().is_some_and(|it| it.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    entries.map(|entry| entry.path()).filter(is_number).collect()
}

/// The first place where a word stands.
fn places_of(root: &Path, word: &[u8]) -> Option<PathBuf> {
    let of_processes = numbers(root)
        .into_iter()
        .flat_map(|path| ["cmdline", "environ", "mountinfo"].map(|name| path.join(name)));
    let of_kernel = ["proc/cmdline", "proc/mounts"].map(|path| root.join(path));
    let files = of_processes.chain(of_kernel).chain(files(root)).map(|path| (path, FILE_BYTES));
    let disks = disks(root);
    let disks = disks.split(',').map(|name| (root.join("dev").join(name), DISK_BYTES));
    files.chain(disks).find_map(|(path, most)| holds(&path, word, most).then_some(path))
}

/// The plain files of the guest's own root, but for the kernel's file systems.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let of_kernel =
                directory == root && (entry.file_name() == "proc" || entry.file_name() == "sys");
            if kind.is_dir() && !of_kernel {
                waiting.push(entry.path());
            } else if kind.is_file() && found.len() < FILES_MAX {
                found.push(entry.path());
            }
        }
    }
    found
}

fn holds(path: &Path, word: &[u8], most: u64) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut file = file.take(most);
    let mut bytes = Vec::new();
    loop {
        let kept = bytes.len().min(word.len());
        bytes.drain(..bytes.len() - kept);
        match file.by_ref().take(STEP as u64).read_to_end(&mut bytes) {
            Ok(1..) if contains(&bytes, word) => return true,
            Ok(1..) => {}
            Ok(0) | Err(_) => return false,
        }
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    let Some(first) = word.first() else { return false };
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| byte == first) {
        if bytes[from + at..].starts_with(word) {
            return true;
        }
        from += at + 1;
    }
    false
}
