//! The container engine of this machine, and what it needs to run anything here.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::progress::{self, Task};

/// docker where its daemon answers, podman elsewhere.
pub struct Engine {
    program: &'static str,
    global: Vec<&'static str>,
    for_run: Vec<&'static str>,
}

/// What podman may need on machines that are not quite usual, from nothing to much: words before
/// `run`, words after it, and why.
const PODMAN_NEEDS: &[(&[&str], &[&str], &str)] = &[
    (&[], &[], "nothing"),
    (
        CGROUPS,
        &[],
        "there is no systemd to make cgroups, or they are of the mixed kind, which crun does not take",
    ),
    (
        CGROUPS,
        &["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"],
        "there is no systemd to make cgroups, or they are of the mixed kind, which crun does not take; \
         and limits are below those that podman would set",
    ),
];
const CGROUPS: &[&str] = &["--cgroup-manager", "cgroupfs", "--runtime", "runc"];

impl Engine {
    /// Chooses the engine.
    ///
    /// # Errors
    /// Where there is none.
    pub fn choose() -> Result<Self> {
        // `docker info` may succeed without a daemon; the server's version does not.
        if answers("docker", "{{.Server.Version}}") {
            return Ok(Self { program: "docker", global: Vec::new(), for_run: Vec::new() });
        }
        if !answers("podman", "{{.Client.Version}}") {
            bail!("neither a docker daemon nor podman is here: run `cargo xtask setup`");
        }
        Ok(Self { program: "podman", global: Vec::new(), for_run: Vec::new() })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.program
    }

    /// Makes `tag` the image in `archive`, where it is not that already.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn load(&self, tag: &str, archive: &Path) -> Result<()> {
        let mut tar = Command::new("tar");
        tar.arg("-xOf").arg(archive).arg("manifest.json");
        let manifest: serde_json::Value = serde_json::from_str(&process::capture(&mut tar)?)?;
        let config =
            manifest[0]["Config"].as_str().context("an archive without a configuration")?;
        let wanted = config.trim_end_matches(".json");
        let mut inspect = self.command();
        inspect.args(["image", "inspect", "--format", "{{.Id}}", tag]);
        if process::capture(&mut inspect).is_ok_and(|id| id.trim_start_matches("sha256:") == wanted)
        {
            return Ok(());
        }
        let task = Task::begin(&format!("{} load {tag}", self.program));
        process::capture(self.command().arg("load").arg("--input").arg(archive))?;
        task.end();
        Ok(())
    }

    /// Finds out by trying what it needs to run `image`, and says so where it is anything.
    ///
    /// # Errors
    /// With what it said last, where nothing helps.
    pub fn adapt(&mut self, image: &str) -> Result<()> {
        if self.program == "docker" {
            return Ok(());
        }
        let mut last = None;
        for (global, for_run, reason) in PODMAN_NEEDS {
            self.global = global.to_vec();
            self.for_run = for_run.to_vec();
            let mut trial = self.run();
            trial.args(["--network", "none", image, "--version"]);
            match process::capture(&mut trial) {
                Ok(_) if global.is_empty() => return Ok(()),
                Ok(_) => {
                    let words = [*global, for_run].concat().join(" ");
                    progress::say(&format!("podman needs `{words}` here: {reason}"));
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("nothing was tried")?).context("podman cannot run a container here")
    }

    /// `docker run --rm`, with what it needs here.
    pub fn run(&self) -> Command {
        let mut command = self.command();
        command.args(["run", "--rm"]).args(&self.for_run);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.global);
        command
    }
}

fn answers(program: &str, version: &str) -> bool {
    Command::new(program)
        .args(["version", "--format", version])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
