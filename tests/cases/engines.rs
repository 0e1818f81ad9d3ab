//! The first two layers: the launcher in an unprivileged container under real engines, with Docker's
//! default seccomp profile and podman's, on a real KVM that belongs to root:kvm, 0660.

use crate::cases;
use crate::harness::{Output, Running, World};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

cases! {
    Outer: docker_without_the_group_is_refused, docker_with_the_group_runs, docker_says_that_it_will_run,
        docker_holds_a_privileged_container, docker_stop_is_heard,
        podman_without_the_group_is_refused, podman_with_the_group_runs;
}

const IMAGE: &str = "cofferdam:latest";
/// What every platform allows, and nothing more.
const UNPRIVILEGED: [&str; 12] = [
    "--rm",
    "--cap-drop",
    "all",
    "--security-opt",
    "no-new-privileges",
    "--read-only",
    "--user",
    "1000:1000",
    "--network",
    "none",
    "--device",
    "/dev/kvm",
];

#[derive(Debug, Clone, Copy)]
enum Engine {
    Docker,
    Podman,
}

impl Engine {
    fn command(self) -> Command {
        match self {
            Self::Docker => {
                static DAEMON: OnceLock<()> = OnceLock::new();
                DAEMON.get_or_init(start_docker);
                Command::new("docker")
            }
            Self::Podman => {
                let mut command = Command::new("podman");
                command.args(["--cgroup-manager", "cgroupfs", "--runtime", "crun"]);
                command
            }
        }
    }

    /// Loads the outer image, once.
    fn load(self, archive: &Path) {
        static LOADED: [OnceLock<()>; 2] = [OnceLock::new(), OnceLock::new()];
        LOADED[self as usize].get_or_init(|| {
            assert!(archive.is_file(), "{} is not there: run make build", archive.display());
            let output = self.command().args(["load", "-i"]).arg(archive).output().unwrap();
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{self:?} load: {words}");
        });
    }

    /// The engine's command line for a launcher with these flags of the engine's and arguments of ours.
    fn launcher(self, world: &World, flags: &[&str], arguments: &[&str]) -> Command {
        self.load(&world.outer_image);
        let images = world.images.plain.trim_start_matches("oci:");
        let images = Path::new(images).parent().unwrap().display();
        let mut command = self.command();
        command.arg("run").args(UNPRIVILEGED);
        command.args(["-v", &format!("{self:?}-state:/var/lib/cofferdam").to_lowercase()]);
        command.args(["-v", &format!("{images}:/images:ro")]);
        command.args(flags).arg(IMAGE).args(arguments);
        command
    }

    fn run(self, world: &World, flags: &[&str], arguments: &[&str]) -> Output {
        Running::start(self.launcher(world, flags, arguments), None).wait()
    }
}

#[allow(clippy::zombie_processes, reason = "it lives until the machine is switched off")]
fn start_docker() {
    let log = std::fs::File::create("/run/dockerd.log").unwrap();
    Command::new("dockerd")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("docker.io is installed");
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let answer =
            Command::new("docker").arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if answer.is_ok_and(|status| status.success()) {
            return;
        }
        let log = std::fs::read_to_string("/run/dockerd.log").unwrap_or_default();
        assert!(Instant::now() < deadline, "dockerd does not answer: {log}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// The group that /dev/kvm belongs to.
fn kvm_group() -> String {
    use std::os::unix::fs::MetadataExt;
    let device = std::fs::metadata("/dev/kvm").unwrap();
    assert_eq!(device.mode() & 0o777, 0o660, "the test is of a device that its group may open");
    device.gid().to_string()
}

fn sandbox<'a>(flags: &[&'a str], script: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["run", "--rm", "--quiet", "--vm-memory", "256m", "--vm-cpus", "1"];
    arguments.extend(flags);
    arguments.extend(["oci:/images/plain", "sh", "-c", script]);
    arguments
}

/// Says why, whose device it is and which flag helps; and does not fall back to what is slow.
fn refused_with_a_hint(engine: Engine, world: &World) {
    let output = engine.run(world, &[], &sandbox(&[], "true"));
    let group = kvm_group();
    output.exits(125).complains(&["/dev/kvm", "denied", "hint:", &group, "--group-add"]);
}

/// In the container: another kernel than outside, and root there.
fn runs(engine: Engine, world: &World) {
    let group = kvm_group();
    let output = engine.run(
        world,
        &["--group-add", &group],
        &sandbox(&[], "uname -r; id -u; echo err >&2; exit 5"),
    );
    output.exits(5);
    assert_eq!(output.stderr, "err\n");
    let here = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let text = output.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_ne!(lines[0], here.trim(), "the container has a kernel of its own");
    assert_eq!(lines[1], "0");
}

fn docker_without_the_group_is_refused(world: &World) {
    refused_with_a_hint(Engine::Docker, world);
}

fn docker_with_the_group_runs(world: &World) {
    runs(Engine::Docker, world);
}

fn docker_says_that_it_will_run(world: &World) {
    let group = kvm_group();
    let output = Engine::Docker.run(world, &["--group-add", &group], &["doctor", "--json"]);
    let said: Value = serde_json::from_slice(&output.exits(0).stdout).unwrap();
    assert!(said.is_object(), "{said}");
    let output = Engine::Docker.run(world, &[], &["doctor"]);
    assert_ne!(output.code, 0, "{}", output.text());
    assert!(output.text().contains("--group-add"), "{}", output.text());
}

/// What is refused outside works inside.
fn docker_holds_a_privileged_container(world: &World) {
    let script = "dd if=/dev/zero of=/file bs=1M count=8 2>/dev/null; d=$(losetup -f) && \
                  losetup $d /file && mke2fs $d > /dev/null && mount -t ext4 $d /srv && echo mounted; \
                  ip link add b type bridge && ip link add v type veth && echo linked";
    let group = kvm_group();
    let output =
        Engine::Docker.run(world, &["--group-add", &group], &sandbox(&["--privileged"], script));
    output.prints("mounted\nlinked");
}

/// The launcher is PID 1 of the outer container, to which the kernel gives no default handlers.
fn docker_stop_is_heard(world: &World) {
    let group = kvm_group();
    let script = "trap 'echo stopped; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let flags = ["--group-add", &group, "--name", "stopped"];
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
