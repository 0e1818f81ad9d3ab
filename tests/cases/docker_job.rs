//! A job of CI as people have them, in an unprivileged outer container: `tests/docker-job`.
//!
//! It takes minutes: for `make soak` alone.

use crate::cases;
use crate::cases::engines::device_and_group;
use crate::harness::engine::Engine;
use crate::harness::product::Accelerator;
use crate::harness::{Running, World, leftovers, workspace};
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

cases! {
    Both: a_job_of_ci, a_job_with_privileges;
}

/// All of it, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(3600);
/// What the job's user is outside.
const USER: u32 = 1000;
/// What the one says of its steps.
const OF_CI: &str = "\
loaded 1
built by BuildKit: web.pyc
built by the old builder: web.pyc
composed: visit 1
from outside: visit 2
healthy: 2
pushed: {\"name\":\"job/web\",\"tags\":[\"1\"]}
pulled: web.pyc
testcontainers for Python: 500500
testcontainers for Rust: 500500
left: 0";

/// What the other says.
const WITH_PRIVILEGES: &str = "\
overlay2 2 true
limits: 67108864 50000 100000 20
memory: killed, 137
processes: refused
time: a part
loop: ext2/ext3
device: mine no other
iptables-nft: 1
iptables-legacy: 1
podman: in podman
docker: overlay2 in docker in docker
systemd: running systemd
its service: own
its end: 130";

/// Builds, compose with a database and health checks, a registry outside, testcontainers of two languages; by
/// `cofferdam docker` of a user without privilege.
fn a_job_of_ci(world: &World) {
    says(world, "job", OF_CI);
}

/// Limits, devices, loop mounts, both kinds of iptables, podman, Docker once more, and systemd as PID 1.
fn a_job_with_privileges(world: &World) {
    says(world, "privileged", WITH_PRIVILEGES);
}

fn says(world: &World, script: &str, expected: &str) {
    let (job, state) = (world.fresh_state(), world.fresh_state());
    for entry in fs::read_dir(workspace().join("tests/docker-job")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, job.join(path.file_name().unwrap())).unwrap();
        }
    }
    for path in [&job, &state] {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
    let place = Path::new(&world.images.job_place);
    let dist = world.product.parent().expect("it lies in a directory");
    let mount = |from: &Path, to: &str| format!("--volume={}:{to}", from.display());
    let mut command = match world.accelerator {
        Accelerator::Kvm => {
            let mut command = Engine::Podman.unprivileged();
            command.args(device_and_group());
            command
        }
        Accelerator::Tcg => world.own_podman(),
    };
    command.args([
        mount(dist, "/dist:ro"),
        mount(place, "/place:ro"),
        mount(&job, "/job"),
        mount(&state, "/var/lib/cofferdam"),
    ]);
    command.args(["--workdir=/job", "--env=HOME=/tmp", "--rootfs"]).arg(place.join("tree"));
    command.args(["/dist/cofferdam", "docker", "--accel", world.accelerator.name()]);
    command.args(["--vm-memory=1500m", "--vm-cpus=1", "--boot-timeout=300"]);
    command.args(["--allow=loopback:5000", "--daemon-arg=--insecure-registry=192.0.0.1:5000"]);
    command.arg("--").arg(format!("./{script}"));
    let output = Running::start(command, None).wait_within(PATIENCE);
    assert_eq!((output.text().as_str(), output.code), (expected, 0), "{}", output.stderr);
    assert_eq!(leftovers::sandboxes(&state), [""; 0]);
}
