//! Whatever a container takes, the machine and its agent live on; and a disk that is kept is whole.

use crate::cases;
use crate::harness::{World, leftovers};
use std::path::{Path, PathBuf};
use std::process::Command;

cases! {
    Both: too_much_memory_is_death_without_a_limit_too, too_little_memory_to_start_is_told,
        a_container_cannot_raise_its_own_limits, a_kept_disk_is_clean;
}

fn too_much_memory_is_death_without_a_limit_too(world: &World) {
    world
        .sandbox()
        .machine("128m", "1")
        .run(&["tail", "/dev/zero"])
        .exits(137)
        .complains(&["memory"]);
    let output = world.sandbox().machine("128m", "1").sh("tail /dev/zero; echo survived $?");
    output.exits(0).shows("survived 137");
}

fn too_little_memory_to_start_is_told(world: &World) {
    let output = world.sandbox().flags(&["--memory", "6m"]).run(&["sh", "-c", "echo up"]);
    assert!(
        output.code == 0 || output.stderr.contains("memory"),
        "{}: {}",
        output.code,
        output.stderr
    );
}

fn a_container_cannot_raise_its_own_limits(world: &World) {
    let script = "cd /sys/fs/cgroup; echo max 2>/dev/null > memory.max || echo refused; \
                  cat memory.max; mkdir mine && echo 1000000 > mine/memory.max && cat mine/memory.max";
    let flags = ["--privileged", "--memory", "48m"];
    world.sh(&flags, script).prints("refused\n50331648\n999424");
}

fn a_kept_disk_is_clean(world: &World) {
    let state = world.fresh_state();
    // Writers that nobody stops, and files that are open and removed, when the end comes.
    let script = "cd /srv; (while :; do echo more; done > log) & exec 7> gone; rm gone; \
                  dd if=/dev/zero of=file bs=1M count=8 2>/dev/null; echo x >&7; exit 4";
    let sandbox = world.sandbox().state(&state).kept().flags(&["--name", "kept"]);
    sandbox.sh(script).exits(4);
    let disk = ext4_below(&state).expect("a sandbox that is kept has a disk");
    let check = Command::new("/sbin/e2fsck").args(["-fn"]).arg(&disk).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success(), "{said}");
    assert!(!said.contains("recover"), "{said}");
    let features = Command::new("/sbin/dumpe2fs").arg("-h").arg(&disk).output().unwrap();
    let features = String::from_utf8_lossy(&features.stdout);
    assert!(!features.contains("needs_recovery"), "{features}");
    assert!(!leftovers::sandboxes(&state).is_empty());
}

/// The file below a directory that holds an ext4 file system.
fn ext4_below(directory: &Path) -> Option<PathBuf> {
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && let Some(found) = ext4_below(&path) {
            return Some(found);
        }
        if !is_directory && is_ext4(&path) {
            return Some(path);
        }
    }
    None
}

fn is_ext4(path: &Path) -> bool {
    use std::os::unix::fs::FileExt;
    let mut magic = [0; 2];
    let file = std::fs::File::open(path);
    file.and_then(|file| file.read_exact_at(&mut magic, 1080)).is_ok() && magic == [0x53, 0xef]
}
