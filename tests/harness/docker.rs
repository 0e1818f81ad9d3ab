//! Docker's own daemon in a sandbox.

use super::nets::Nets;
use super::product::Sandbox;
use super::{Running, World};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long a daemon and its first container may take, on a busy machine with an emulator.
pub const PATIENCE: Duration = Duration::from_secs(400);
/// What a shell does first: has a daemon answer, and an image called `box`.
pub const UP: &str = "\
    mkdir -p /tmp/box/bin /tmp/box/www && cp /bin/busybox /tmp/box/bin && echo hello > /tmp/box/www/index.html \
    && for it in sh nc wc dd httpd cat sleep grep nslookup; do ln -s busybox /tmp/box/bin/$it; done \
    && (dockerd > /dockerd.log 2>&1 &) \
    && for it in $(seq 600); do docker version > /dev/null 2>&1 && break; sleep 0.2; done \
    && tar -C /tmp/box -c . | docker import - box > /dev/null";
/// And a container that serves, on every address and on loopback.
pub const WEB: &str = "docker run --detach --name web -p 8080:80 -p 127.0.0.1:8081:80 -p 8082:80 box httpd -f -p 80 -h /www > /dev/null";

/// A sandbox of such a place with Docker in it, to be run with a script that follows [`UP`].
pub fn sandbox<'w>(world: &'w World, nets: &Nets, flags: &[&str]) -> Sandbox<'w> {
    nets.sandbox(world)
        .image(&world.images.docker)
        .machine("1g", "1")
        .flags(&["--privileged"])
        .flags(flags)
}

/// What makes an image called `box` of busybox, in the current directory.
pub const BOX: &str = "mkdir -p box/bin; cp $(command -v busybox) box/bin/busybox
    for it in sh cat httpd ls sleep wc true; do ln -sf busybox box/bin/$it; done; tar -C box -c . | docker import - box > made";

/// `cofferdam docker`, and whoever uses it: with a client that is the daemon's own, in a directory of their own.
#[derive(Debug)]
pub struct Job<'w> {
    world: &'w World,
    /// The state directory.
    pub state: PathBuf,
    /// Where they work.
    pub directory: PathBuf,
    clients: PathBuf,
}

impl<'w> Job<'w> {
    /// A place for jobs.
    pub fn new(world: &'w World) -> Self {
        let clients = world.fresh_state();
        std::fs::create_dir_all(&clients).unwrap();
        let client = world.sandbox().image(&world.images.docker).run(&["cat", "/usr/bin/docker"]);
        let path = clients.join("docker");
        std::fs::write(&path, &client.exits(0).stdout).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        let directory = world.fresh_state();
        std::fs::create_dir_all(&directory).unwrap();
        Self { world, state: world.fresh_state(), directory, clients }
    }

    /// A command of the binary's in that directory: the words before the state directory, and those after it.
    pub fn program(&self, before: &[&str], after: &[&str]) -> Command {
        let mut program = Command::new(&self.world.product);
        let path = std::env::var("PATH").unwrap_or_default();
        program.env("PATH", format!("{}:{path}", self.clients.display()));
        program.env("DOCKER_CONFIG", &self.clients).current_dir(&self.directory);
        program.args(before).arg("--state-dir").arg(&self.state).args(after);
        program
    }

    /// Begins a script that uses a daemon of its own.
    pub fn begin(&self, flags: &[&str], script: &str) -> Running {
        let after = [&self.daemon()[..], flags, &["--", "sh", "-ec", script]].concat();
        Running::start(self.program(&["docker"], &after), None)
    }

    /// The flags of a daemon of these tests.
    pub fn daemon(&self) -> [&str; 8] {
        let accelerator = self.world.accelerator.name();
        let image = &self.world.images.docker;
        [
            "--quiet",
            "--accel",
            accelerator,
            "--vm-memory=1g",
            "--vm-cpus=1",
            "--image",
            image,
            "--start-timeout=170",
        ]
    }

    /// A file there.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What is left of sandboxes.
    pub fn is_left(&self) -> Vec<String> {
        super::leftovers::sandboxes(&self.state)
    }
}
