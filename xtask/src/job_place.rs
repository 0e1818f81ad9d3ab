//! What the test of a job of CI runs in: the tree of its outer container, the image of its services, and a program of a user's
//! of testcontainers.
//!
//! ```text
//!   tree/            an outer container's root, with testcontainers for Python in /opt
//!   services.tar     what is loaded into the job's Docker; and machine.tar
//!   containers       tests/docker-job/containers, built
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use rootfs::recipes::job;

use crate::digest::Inputs;
use crate::images::{self, Name};
use crate::progress::Task;
use crate::workspace::Workspace;
use crate::{build, cache, process};

const PROGRAM: &str = "tests/docker-job/containers";
/// From PyPI; and the Python that Debian has.
const TESTCONTAINERS: &str = "testcontainers==4.15.0";

/// Makes it, where it is not in the cache.
///
/// # Errors
/// Those of mmdebstrap, pip, cargo and the file system.
pub fn make(workspace: &Workspace) -> Result<PathBuf> {
    // Which the job finds beside the program.
    build::docker_image(workspace)?;
    let tree = images::debian_tree(workspace, "job", &job::OUTER)?;
    let services = Name::Services.build(workspace)?.docker_archive;
    let machine = Name::Machine.build(workspace)?.docker_archive;
    let program = program(workspace)?;
    let digest = Inputs::default()
        .text("recipe", include_str!("job_place.rs"))
        .identity(&tree)?
        .identity(&services)?
        .identity(&machine)?
        .identity(&program)?
        .finish();
    cache::entry(workspace, "job-place", &digest, |place| {
        let task = Task::begin("the place of a job of CI");
        unpack(&tree, &place.join("tree"))?;
        fs::copy(&program, place.join("containers"))?;
        fs::copy(&services, place.join("services.tar"))?;
        fs::copy(&machine, place.join("machine.tar"))?;
        task.end();
        Ok(())
    })
}

fn unpack(tree: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"]).arg(tree);
    process::run(tar.arg("-C").arg(to))?;
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--no-compile", "--root-user-action=ignore"]);
    pip.args(["--only-binary=:all:", "--python-version=3.11", TESTCONTAINERS]);
    process::run(pip.arg("--target").arg(to.join("opt/testcontainers")))
}

fn program(workspace: &Workspace) -> Result<PathBuf> {
    let target = workspace.root.join("target/docker-job");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--locked", "--release", "--target-dir"]).arg(&target);
    process::run(
        cargo.arg("--manifest-path").arg(workspace.root.join(PROGRAM).join("Cargo.toml")),
    )?;
    Ok(target.join("release/containers"))
}
