//! Installs what is missing, and says why.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::Note;
use crate::progress::{self, Task};
use crate::{packages, process};

/// Installs the packages that are missing; does nothing, quickly, where none is.
///
/// # Errors
/// Those of apt-get, and where there is neither root nor sudo.
pub fn run() -> Result<()> {
    let missing = packages::missing()?;
    if missing.wanted.is_empty() {
        return Ok(());
    }
    progress::heading("Installing Debian packages");
    for (name, reason) in &missing.wanted {
        progress::say(&format!("{name}: {reason}"));
    }
    for (name, program) in &missing.left_out {
        progress::say(&format!("not {name}: {} is here already", program.display()));
    }
    if !is_root() {
        // Asks for a password where one is wanted, before anything else writes on that line.
        process::run(Command::new("sudo").arg("-v"))
            .context("packages are installed by root: neither root nor sudo is there")?;
    }
    let update = Task::begin("apt-get update");
    process::narrated(as_root("apt-get").args(["update", "-q"]), update, |_| Note::Nothing)?;
    let install = Task::begin(&format!("apt-get install, {} packages", missing.wanted.len()));
    let mut apt = as_root("apt-get");
    apt.args(["install", "-y", "-q", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]);
    apt.args(missing.wanted.iter().map(|(name, _)| name));
    process::narrated(&mut apt, install, apt_note)?;
    let left = packages::missing()?.wanted;
    if !left.is_empty() {
        bail!("still missing after installation: {left:?}");
    }
    Ok(())
}

/// What apt-get and dpkg say of how far they are; and what they take away, which nobody asked for.
fn apt_note(line: &str) -> Note {
    let doing = ["Get:", "Unpacking ", "Setting up ", "Processing triggers "];
    if line.starts_with("Removing ") {
        Note::Keep
    } else if doing.iter().any(|verb| line.starts_with(verb)) {
        Note::HowFar(line.split(" (").next().unwrap_or(line).to_owned())
    } else {
        Note::Nothing
    }
}

/// Refuses to go on for anyone but root, for what the emulated machine of the tests needs.
///
/// # Errors
/// Where the user is not root.
pub fn want_root(task: &str) -> Result<()> {
    ensure!(
        is_root(),
        "`make {task}` is for root: the machine that its tests boot shares this one's file system by \
         virtiofsd, which changes users as it works\n\
         hint: in a checkout of root's own, or with `sudo env PATH=\"$PATH\" HOME=\"$HOME\" make {task}`, which \
         leaves root's files in target/ and dist/"
    );
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn as_root(program: &str) -> Command {
    let mut command = if is_root() {
        Command::new(program)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["--preserve-env=DEBIAN_FRONTEND,LC_ALL", program]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    command
}
