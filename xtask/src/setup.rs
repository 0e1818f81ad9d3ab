//! Installs what is missing, and says why.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::{self, Task};
use crate::{packages, process};

/// Installs the packages that are missing; does nothing, quickly, where none is.
///
/// # Errors
/// Those of apt-get, and where there is neither root nor sudo.
pub fn run() -> Result<()> {
    let missing = packages::missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    progress::heading("Installing Debian packages");
    for (name, reason) in &missing {
        progress::say(&format!("{name}: {reason}"));
    }
    let task = Task::begin(&format!("apt-get install, {} packages", missing.len()));
    process::run(as_root("apt-get")?.args(["update", "-qq"]))?;
    let mut install = as_root("apt-get")?;
    install.args(["install", "-y", "-qq", "--no-install-recommends"]);
    install.args(missing.iter().map(|(name, _)| name));
    process::run(&mut install)?;
    task.end();
    let left = packages::missing()?;
    if !left.is_empty() {
        bail!("still missing after installation: {left:?}");
    }
    Ok(())
}

fn as_root(program: &str) -> Result<Command> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new(program)
    } else {
        let sudo = Command::new("sudo").arg("-V").output();
        sudo.context("neither root nor sudo is there to install packages with")?;
        let mut sudo = Command::new("sudo");
        sudo.args(["--preserve-env=DEBIAN_FRONTEND", program]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}
