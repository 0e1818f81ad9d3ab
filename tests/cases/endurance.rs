//! Sandboxes that live long, whatever becomes of the place around them: it keeps its word.
//!
//! They take minutes: for `make soak` alone.

use crate::cases;
use crate::harness::detached::Detached;
use crate::harness::small_disk::SmallDisk;
use crate::harness::{World, leftovers};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

cases! {
    Both: many_execs, much_is_said, a_full_log_disk, a_state_directory_that_turns_read_only, stopped_for_a_minute;
    Kvm: the_clock_is_moved;
}

/// Further processes of one sandbox, one after the other.
const EXECS: u32 = 10_000;
/// One that counts, a line for each tenth of a second, and ends in order where it is asked to.
const COUNTS: &str = "trap 'echo bye; exit 7' TERM; it=0; while :; do it=$((it + 1)); echo line $it; sleep 0.1; done";

fn supervisor(sandbox: &Detached) -> u32 {
    sandbox.supervisor().as_raw_nonzero().get().cast_unsigned()
}

/// What a process holds: descriptors, and memory in KiB.
fn held(pid: u32) -> (usize, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib = memory.trim().trim_end_matches(" kB").parse().unwrap();
    (fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(), kib)
}

/// Each gives its own answer and its own exit code, and at the end neither side holds more than after the first hundred.
fn many_execs(world: &World) {
    let sandbox = Detached::start(world, &[], "sleep 1000000");
    let run = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let script = format!("echo it is {number}; exit {}", number % 100);
            let output = sandbox.command(&["exec"], &["box", "sh", "-c", &script]);
            assert_eq!(
                output.exits((number % 100).cast_signed()).text(),
                format!("it is {number}")
            );
        }
    };
    let guest = || {
        let text = sandbox.command(&["stats", "--json"], &["box"]).exits(0).text();
        let stats: Value = serde_json::from_str(&text).unwrap();
        (stats[0]["tasks"].as_u64().unwrap(), stats[0]["guest_available_bytes"].as_u64().unwrap())
    };
    run(0..100);
    let family = leftovers::family(supervisor(&sandbox));
    let before: Vec<_> = family.iter().map(|it| held(it.pid)).collect();
    let (tasks, available) = guest();
    run(100..EXECS);
    for (process, (files, kib)) in family.iter().zip(before) {
        let (files_now, kib_now) = held(process.pid);
        assert!(files_now <= files, "{process:?}: {files} descriptors, then {files_now}");
        // The machine's own memory is what its guest has touched.
        let is_machine = process.kind.is_some_and(|it| it != leftovers::Kind::Launcher);
        assert!(is_machine || kib_now < kib + 4096, "{process:?}: {kib} KiB, then {kib_now}");
    }
    let (tasks_now, available_now) = guest();
    assert_eq!(tasks_now, tasks, "tasks");
    assert!(available_now + (8 << 20) > available, "{available}, then {available_now}");
    sandbox.command(&["stop", "--time", "1"], &["box"]).exits(0);
}

/// Much is said, and little kept.
fn much_is_said(world: &World) {
    let flags = ["--log-opt", "max-size=1m", "--log-opt", "max-file=3"];
    let script = "seq 5000000; echo last >&2; sleep 1000";
    let sandbox = Detached::start(world, &flags, script);
    let id = leftovers::sandboxes(&sandbox.state).remove(0);
    let directory = sandbox.state.join("sandboxes").join(id);
    let kept = || -> u64 {
        let files = fs::read_dir(&directory).unwrap().flatten();
        let logs = files.filter(|it| it.file_name().to_string_lossy().starts_with("output.log"));
        logs.filter_map(|it| it.metadata().ok()).map(|it| it.len()).sum()
    };
    for _ in 0..3000 {
        assert!(kept() <= 3 << 20, "{} bytes are kept", kept());
        let tail = sandbox.command(&["logs", "--tail", "1"], &["box"]);
        if tail.exits(0).stderr.contains("last") {
            assert!(sandbox.logs(&[]).ends_with("\n5000000"));
            return;
        }
        sleep(Duration::from_millis(200));
    }
    panic!("it does not come to its end");
}

/// What finds no room is missing, and that is said; the container goes on.
fn a_full_log_disk(world: &World) {
    let disk = SmallDisk::new(world, "64m");
    let (sandbox, detached) = Detached::at(world, disk.path().to_owned());
    sandbox.flags(&["--log-opt", "max-size=40m"]).sh(COUNTS).exits(0);
    detached.says("line 5\n");
    let filler = disk.path().join("filler");
    let full = vec![0; usize::try_from(disk.room_bytes()).unwrap()];
    // All that there is, and no more.
    let _ = fs::write(&filler, full);
    assert!(disk.room_bytes() < 8192, "{}", disk.room_bytes());
    sleep(Duration::from_secs(20));
    detached.command(&["exec"], &["box", "sh", "-c", "exit 5"]).exits(5);
    let kept = detached.logs(&[]);
    fs::remove_file(&filler).unwrap();
    sleep(Duration::from_secs(2));
    let output = detached.command(&["logs"], &["box"]);
    assert!(output.exits(0).stderr.contains("bytes of output found no room here"), "{output:?}");
    assert!(output.text().starts_with(&kept) && output.text().len() > kept.len());
    detached.command(&["stop"], &["box"]).prints("box");
    detached.command(&["wait"], &["box"]).prints("7");
}

/// A file system of a file's own, that an error turns read-only.
struct Ext4 {
    image: PathBuf,
    place: PathBuf,
}

impl Ext4 {
    fn new(world: &World) -> Self {
        let (image, place) = (world.scratch_file("ext4"), world.scratch_file("ext4-place"));
        fs::create_dir_all(&place).unwrap();
        let script =
            "truncate -s 300m $0 && mkfs.ext4 -q $0 && mount -o loop,errors=remount-ro $0 $1";
        sh(script, &[&image, &place]);
        Self { image, place }
    }

    fn turns_read_only(&self) {
        let script = "device=$(findmnt -n -o SOURCE $0); echo x > /sys/fs/ext4/${device#/dev/}/trigger_fs_error";
        sh(script, &[&self.place]);
        assert!(fs::write(self.place.join("x"), "x").is_err(), "it can be written to");
    }

    fn is_mended(&self) {
        let script = "umount $1; e2fsck -p $0 > /dev/null || [ $? = 1 ]; mount -o loop $0 $1";
        sh(script, &[&self.image, &self.place]);
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
    }
}

fn sh(script: &str, words: &[&Path]) {
    let status = Command::new("sh").arg("-ec").arg(script).args(words).status().unwrap();
    assert!(status.success(), "{script}: {status}");
}

/// The container goes on as long as it needs no disk; its end is told to whoever asks for it, and what could not be recorded
/// is found later.
fn a_state_directory_that_turns_read_only(world: &World) {
    let disk = Ext4::new(world);
    {
        let (sandbox, detached) = Detached::at(world, disk.place.clone());
        sandbox.flags(&["--disk-size=64m"]).sh(COUNTS).exits(0);
        detached.says("line 5\n");
        let family = leftovers::family(supervisor(&detached));
        // What was not written to the disk yet would be lost with it.
        sh("sync", &[]);
        disk.turns_read_only();
        sleep(Duration::from_secs(2));
        detached.command(&["exec"], &["box", "sh", "-c", "exit 5"]).exits(5);
        let refused = world.sandbox().state(&disk.place).sh("true");
        refused.exits(125).complains(&["ead-only"]);
        detached.command(&["stop"], &["box"]);
        leftovers::all_gone(&family);
    }
    disk.is_mended();
    let (_, detached) = Detached::at(world, disk.place.clone());
    let listed = detached.command(&["ps", "--all"], &[]).exits(0).text();
    assert!(listed.contains("exited (137)"), "{listed}");
    detached.logs(&[]);
    detached.command(&["start"], &["box"]).exits(0);
    detached.command(&["exec"], &["box", "sh", "-c", "exit 6"]).exits(6);
}

/// All of the sandbox stands still, as where its outer container does.
fn stopped_for_a_minute(world: &World) {
    let flags = ["--health-cmd=true", "--health-interval=1s"];
    let sandbox = Detached::start(world, &flags, COUNTS);
    sandbox.says("line 5\n");
    let family = leftovers::family(supervisor(&sandbox));
    let send = |signal| {
        for process in &family {
            kill_process(Pid::from_raw(process.pid.cast_signed()).unwrap(), signal).unwrap();
        }
    };
    send(Signal::STOP);
    sleep(Duration::from_secs(60));
    send(Signal::CONT);
    let said = sandbox.logs(&[]).lines().count();
    sandbox.command(&["exec"], &["box", "sh", "-c", "exit 5"]).exits(5);
    sandbox.says(&format!("line {}\n", said + 5));
    assert!(sandbox.command(&["ps"], &[]).text().contains("(healthy)"));
    sandbox.command(&["stop"], &["box"]).prints("box");
    sandbox.command(&["wait"], &["box"]).prints("7");
    leftovers::all_gone(&family);
}

/// Forward and back, by hours.
fn the_clock_is_moved(world: &World) {
    let flags = ["--health-cmd=true", "--health-interval=1s", "--timeout=10000"];
    let sandbox = Detached::start(world, &flags, COUNTS);
    sandbox.says("line 5\n");
    for hours in [5, -10] {
        sh(&format!("date --set \"@$(($(date +%s) + {hours} * 3600))\" > /dev/null"), &[]);
        let said = sandbox.logs(&[]).lines().count();
        sandbox.says(&format!("line {}\n", said + 5));
        sandbox.command(&["exec"], &["box", "sh", "-c", "exit 5"]).exits(5);
        assert!(sandbox.command(&["ps"], &[]).text().contains("(healthy)"));
        sandbox.command(&["pause"], &["box"]).prints("box");
        sandbox.command(&["unpause"], &["box"]).prints("box");
        sandbox.command(&["stats", "--no-stream"], &["box"]).exits(0);
    }
    sandbox.command(&["stop"], &["box"]).prints("box");
    sandbox.command(&["wait"], &["box"]).prints("7");
    assert!(sandbox.logs(&[]).ends_with("bye"));
}
