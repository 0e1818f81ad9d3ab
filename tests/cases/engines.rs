//! The first two layers: the launcher in an unprivileged container under real engines, with Docker's
//! default seccomp profile and podman's, on a real KVM that belongs to root:kvm, 0660.

use crate::cases;
use crate::harness::engine::{DEVICE, Engine};
use crate::harness::{Kind, Running, World, leftovers, native_kvm};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

cases! {
    Outer: docker_without_the_group_is_refused, docker_with_the_group_runs, docker_says_that_it_will_run,
        docker_without_the_device_says_what_helps, docker_limits_are_the_machines,
        docker_holds_four_layers, docker_stop_is_heard, docker_shares_a_directory,
        podman_without_the_group_is_refused, podman_with_the_group_runs, podman_holds_four_layers,
        podman_shares_a_directory;
    Tcg: podman_with_an_emulator_in_it;
}

/// The engine's flags that give the device to who is of its group.
pub fn device_and_group() -> [&'static str; 4] {
    let [flag, device] = DEVICE;
    [flag, device, "--group-add", kvm_group().leak()]
}

/// The group that /dev/kvm belongs to.
fn kvm_group() -> String {
    let device = std::fs::metadata("/dev/kvm").unwrap();
    assert_eq!(device.mode() & 0o777, 0o660, "the test is of a device that its group may open");
    device.gid().to_string()
}

pub fn sandbox<'a>(flags: &[&'a str], script: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["run", "--rm", "--quiet", "--vm-memory", "256m", "--vm-cpus", "1"];
    arguments.extend(flags);
    arguments.extend(["oci:/images/plain", "sh", "-c", script]);
    arguments
}

/// Says why, whose device it is and which flag helps; and does not fall back to what is slow.
fn refused_with_a_hint(engine: Engine, world: &World) {
    let output = engine.run(world, &DEVICE, &sandbox(&[], "true"));
    let group = kvm_group();
    output.exits(125).complains(&["/dev/kvm", "denied", "hint:", &group, "--group-add"]);
}

/// In the container: another kernel than outside, and root there. Outside: every process of ours is one
/// without privilege, of what the engine set up and the kernel tells.
fn runs(engine: Engine, world: &World) {
    let script = "uname -r; id -u; echo err >&2; sleep 4; exit 5";
    let running =
        Running::start(engine.launcher(world, &device_and_group(), &sandbox(&[], script)), None);
    let deadline = Instant::now() + Duration::from_secs(60);
    let ours = loop {
        let ours = leftovers::ours();
        let has = |kind| ours.iter().any(|it| it.kind == Some(kind));
        if has(Kind::Launcher) && has(Kind::Vmm) {
            break ours;
        }
        assert!(Instant::now() < deadline, "there is no VMM: {ours:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    for process in ours {
        has_no_privilege(&process);
    }
    let output = running.wait();
    output.exits(5);
    assert_eq!(output.stderr, "err\n");
    let here = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let text = output.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_ne!(lines[0], here.trim(), "the container has a kernel of its own");
    assert_eq!(lines[1], "0");
}

fn has_no_privilege(process: &leftovers::Process) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        value.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let found = ["Uid:", "CapEff:", "CapPrm:", "NoNewPrivs:", "Seccomp:"].map(field);
    let none = "0000000000000000";
    assert_eq!(found, ["1000 1000 1000 1000", none, none, "1", "2"], "{process:?}");
}

/// A directory of the engine's host in the outer container, and from there in the sandbox: what is made in there belongs
/// outside to the outer container's user.
fn shares_a_directory(engine: Engine, world: &World) {
    let directory = world.fresh_state();
    std::fs::write(directory.join("in"), "from the host\n").unwrap();
    for path in [directory.clone(), directory.join("in")] {
        chown(path, Some(1000), Some(1000)).unwrap();
    }
    let mount = format!("{}:/work", directory.display());
    let flags = [&device_and_group()[..], &["-v", &mount]].concat();
    let script = "cd /src; cat in; echo from inside > out; chown 33 out; mkdir -m 700 own; stat -c '%n %u %a' in out own; \
                  ln out hard; mv hard own; rm in";
    let output = engine.run(world, &flags, &sandbox(&["-v", "/work:/src"], script));
    output.prints("from the host\nin 0 644\nout 33 644\nown 0 700");
    assert_eq!(std::fs::read_to_string(directory.join("own/hard")).unwrap(), "from inside\n");
    for name in ["out", "own"] {
        let found = std::fs::metadata(directory.join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (1000, 1000), "{name}");
    }
    assert!(!directory.join("in").exists());
}

/// The demo's job: what is refused in the outer container's place works in a privileged container of the
/// machine that is started from there.
fn holds_four_layers(engine: Engine, world: &World) {
    const JOB: &str = "/usr/local/bin/demo-job";
    const STEPS: [&str; 3] = ["loop-mount", "bridge-veth-nftables", "package-in-chroot"];
    let image = Path::new(&world.images.demo);
    let archive = image.with_file_name("docker-archive.tar");
    let flags = ["--env", "DEMO_SCRATCH=/dev/shm", "--entrypoint", JOB];
    let outside = engine.run_other(
        &archive,
        &[&device_and_group()[..], &flags].concat(),
        &["cofferdam-demo:latest"],
    );
    let mount = format!("{}:/demo:ro", image.display());
    let flags = [&device_and_group()[..], &["-v", &mount]].concat();
    let arguments =
        ["run", "--rm", "--quiet", "--vm-memory", "512m", "--privileged", "oci:/demo", JOB];
    let inside = engine.run(world, &flags, &arguments);
    for (output, verdict) in [(outside, "refused"), (inside, "worked")] {
        let text = output.exits(0).text();
        let steps: Vec<_> = text.lines().filter_map(step).collect();
        assert_eq!(steps, STEPS.map(|step| (step, verdict)), "{text}\n{}", output.stderr);
    }
}

/// The name of one of the job's steps, and what came of it. What failed for another reason than that it may
/// not be done is not refused.
fn step(line: &str) -> Option<(&str, &str)> {
    let mut words = line.strip_prefix("step ")?.splitn(3, ' ');
    let (name, verdict, detail) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    let denied = ["not permitted", "ermission denied"].iter().any(|it| detail.contains(it));
    Some((name, if verdict == "failed" && denied { "refused" } else { verdict }))
}

fn docker_shares_a_directory(world: &World) {
    shares_a_directory(Engine::Docker, world);
}

fn podman_shares_a_directory(world: &World) {
    shares_a_directory(Engine::Podman, world);
}

fn docker_without_the_group_is_refused(world: &World) {
    refused_with_a_hint(Engine::Docker, world);
}

fn docker_with_the_group_runs(world: &World) {
    runs(Engine::Docker, world);
}

fn docker_says_that_it_will_run(world: &World) {
    let output = Engine::Docker.run(world, &device_and_group(), &["doctor", "--json"]);
    let said: Value = serde_json::from_slice(&output.exits(0).stdout).unwrap();
    assert_eq!((&said["works"], &said["accelerator"]), (&true.into(), &"kvm".into()), "{said}");
    // What the engine took away is seen.
    for name in ["user", "capabilities", "no-new-privileges", "seccomp", "kvm-open"] {
        assert_eq!(native_kvm::check(&said, name), Some("ok"), "{name}: {said}");
    }
    let output = Engine::Docker.run(world, &DEVICE, &["doctor"]);
    assert_ne!(output.code, 0, "{}", output.text());
    assert!(output.text().contains("--group-add"), "{}", output.text());
}

/// No KVM, and no QEMU to stand in for it.
fn docker_without_the_device_says_what_helps(world: &World) {
    let run = |accelerator| {
        Engine::Docker.run(
            world,
            &[],
            &["run", "--rm", "--accel", accelerator, "oci:/images/plain", "true"],
        )
    };
    run("kvm").exits(125).complains(&["/dev/kvm", "hint:", "--device /dev/kvm"]);
    run("auto").exits(125).complains(&["/dev/kvm", "hint:", "--device /dev/kvm", "cofferdam:tcg"]);
}

/// What nobody typed is sized by the outer container's limits.
fn docker_limits_are_the_machines(world: &World) {
    let flags = [&device_and_group()[..], &["--memory", "400m", "--cpus", "1"]].concat();
    let script = "awk '/^MemTotal/ { print $2 }' /proc/meminfo; nproc";
    let arguments = ["run", "--rm", "--quiet", "oci:/images/plain", "sh", "-c", script];
    let output = Engine::Docker.run(world, &flags, &arguments);
    let text = output.exits(0).text();
    let lines: Vec<&str> = text.lines().collect();
    let total_kib: u32 = lines[0].parse().unwrap();
    assert!((200 * 1024..400 * 1024).contains(&total_kib), "{text}");
    assert_eq!(lines[1], "1");
    // One that cannot fit is refused before anything starts.
    let too_much = ["run", "--rm", "--vm-memory", "600m", "oci:/images/plain", "true"];
    let output = Engine::Docker.run(world, &flags, &too_much);
    output.exits(125).complains(&["--vm-memory", "400"]);
}

fn docker_holds_four_layers(world: &World) {
    holds_four_layers(Engine::Docker, world);
}

/// The launcher is PID 1 of the outer container, to which the kernel gives no default handlers.
fn docker_stop_is_heard(world: &World) {
    let script = "trap 'echo stopped; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let flags = [&device_and_group()[..], &["--name", "stopped"]].concat();
    let running =
        Running::start(Engine::Docker.launcher(world, &flags, &sandbox(&[], script)), None);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let logs = Engine::Docker.command().args(["logs", "stopped"]).output().unwrap();
        if logs.stdout == b"ready\n" {
            break;
        }
        assert!(Instant::now() < deadline, "it did not come up");
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(
        Engine::Docker.command().args(["stop", "-t", "30", "stopped"]).status().unwrap().success()
    );
    let output = running.wait();
    output.exits(3).shows("stopped");
}

fn podman_without_the_group_is_refused(world: &World) {
    refused_with_a_hint(Engine::Podman, world);
}

fn podman_with_the_group_runs(world: &World) {
    runs(Engine::Podman, world);
}

fn podman_holds_four_layers(world: &World) {
    holds_four_layers(Engine::Podman, world);
}

/// Where there is no KVM, on this machine: the other outer image, which has QEMU.
fn podman_with_an_emulator_in_it(world: &World) {
    let output =
        world.emulating_launcher(&sandbox(&[], "grep -c hypervisor /proc/cpuinfo; id -u; exit 5"));
    output.exits(5).complains(&["/dev/kvm", "TCG", "slow", "wall"]);
    assert_eq!(output.text(), "1\n0");
    let output =
        world.emulating_launcher(&["run", "--rm", "--accel", "kvm", "oci:/images/plain", "true"]);
    output.exits(125).complains(&["/dev/kvm", "--device /dev/kvm"]);
}
