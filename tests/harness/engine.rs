//! Container engines of the reference host, and what they are asked for: the outer container.

use super::{Output, Running, World};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

const IMAGE: &str = "cofferdam:latest";
/// What every platform allows, and nothing more.
const UNPRIVILEGED: [&str; 10] = [
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
];
/// The device that the launcher needs.
pub const DEVICE: [&str; 2] = ["--device", "/dev/kvm"];

/// An engine.
#[derive(Debug, Clone, Copy)]
pub enum Engine {
    /// docker, with its daemon.
    Docker,
    /// podman, as root.
    Podman,
}

impl Engine {
    /// Its command, and before that its daemon where it has one.
    pub fn command(self) -> Command {
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

    /// Loads an image from a Docker archive, once.
    fn load(self, archive: &Path) {
        static LOADED: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let name = format!("{self:?} {}", archive.display());
        let mut loaded = LOADED.lock().unwrap();
        if loaded.contains(&name) {
            return;
        }
        assert!(archive.is_file(), "{} is not there: run make build", archive.display());
        let output = self.command().args(["load", "-i"]).arg(archive).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{self:?} load: {words}");
        loaded.push(name);
    }

    /// The engine's command line for a launcher with these flags of the engine's and arguments of ours.
    pub fn launcher(self, world: &World, flags: &[&str], arguments: &[&str]) -> Command {
        let state = format!("{self:?}-state").to_lowercase();
        self.launcher_with_state(world, &state, flags, arguments)
    }

    /// The same with a volume of its own for its state.
    pub fn launcher_with_state(
        self,
        world: &World,
        state: &str,
        flags: &[&str],
        arguments: &[&str],
    ) -> Command {
        self.load(&world.outer_image);
        let mut command = self.unprivileged();
        command.args(["-v", &format!("{state}:/var/lib/cofferdam")]);
        command.args(["-v", &format!("{}:/images:ro", world.images_directory().display())]);
        command.args(flags).arg(IMAGE).args(arguments);
        command
    }

    /// Runs a launcher to its end.
    pub fn run(self, world: &World, flags: &[&str], arguments: &[&str]) -> Output {
        Running::start(self.launcher(world, flags, arguments), None).wait()
    }

    /// Runs an image of another's in the outer container's place.
    pub fn run_other(self, archive: &Path, flags: &[&str], image_and_command: &[&str]) -> Output {
        self.load(archive);
        let mut command = self.unprivileged();
        command.args(flags).args(image_and_command);
        Running::start(command, None).wait()
    }

    /// The beginning of the command line of a container without privilege.
    pub fn unprivileged(self) -> Command {
        let mut command = self.command();
        command.arg("run").args(UNPRIVILEGED);
        command
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

impl World {
    /// The beginning of the command line of a container without privilege, under this machine's podman and without the
    /// device. The engine's files are in a place of their own: this machine may use podman for other things.
    pub fn own_podman(&self) -> Command {
        let mut command = self.podman();
        command.arg("run").args(UNPRIVILEGED);
        // Machines may have lower limits than podman would set.
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]);
        command
    }

    fn podman(&self) -> Command {
        let place = self.scratch.join("podman");
        let mut command = Command::new("podman");
        command.arg("--root").arg(place.join("root")).arg("--runroot").arg(place.join("run"));
        command.args(["--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
        command
    }

    /// Runs a launcher in the outer image that has QEMU.
    pub fn emulating_launcher(&self, arguments: &[&str]) -> Output {
        let archive = self.outer_image.with_file_name("cofferdam-tcg-image.tar");
        let loaded = self.podman().arg("load").arg("-i").arg(archive).output().unwrap();
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        let mut command = self.own_podman();
        command.args(["-v", "state:/var/lib/cofferdam"]);
        command.args(["-v", &format!("{}:/images:ro", self.images_directory().display())]);
        command.arg("cofferdam:tcg").args(arguments);
        Running::start(command, None).wait()
    }

    fn images_directory(&self) -> &Path {
        Path::new(self.images.plain.trim_start_matches("oci:")).parent().expect("it lies in one")
    }
}
