//! Small Debian trees, made by mmdebstrap from the package sources that this machine uses itself.
//!
//! Never does: name a mirror. What lands in a tree names none either.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::EPOCH;

/// Not wanted in any of our trees; the licences' texts stay.
const EXCLUDED_PATHS: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
    "/usr/share/zoneinfo/*",
    "/usr/share/lintian/*",
    "/usr/share/bash-completion/*",
];

/// Where it came from and when does not show in a tree.
const LEAVE_NO_TRACE: &[&str] = &[
    "rm -rf \"$1\"/etc/apt/sources.list* \"$1\"/var/lib/apt/lists/*",
    "rm -rf \"$1\"/var/cache/* \"$1\"/var/log/*",
];

/// What a tree is made of.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'a> {
    /// mmdebstrap's variant: `essential`, `extract`, …
    pub variant: &'a str,
    /// Packages besides the variant's.
    pub packages: &'a [&'a str],
    /// Shell commands run at the end; `$1` is the tree.
    pub hooks: &'a [&'a str],
}

/// The code name of this machine's Debian, which trees are made of too.
///
/// # Errors
/// Where `/etc/os-release` does not name one.
pub fn suite() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(|name| name.trim_matches('"').to_owned())
        .context("/etc/os-release has no VERSION_CODENAME: Debian is needed")
}

impl Tree<'_> {
    /// Makes the tree of `suite` as one tar file.
    ///
    /// # Errors
    /// Those of mmdebstrap, whose own words go to `log`.
    pub fn write(&self, suite: &str, out: &Path, log: &Path) -> Result<()> {
        let mut command = Command::new("mmdebstrap");
        command.arg(format!("--variant={}", self.variant)).arg("--format=tar");
        // Docker's, podman's and Debian's own defaults differ; a tree must not.
        command.arg("--aptopt=APT::Install-Recommends \"false\"");
        for path in EXCLUDED_PATHS {
            command.arg(format!("--dpkgopt=path-exclude={path}"));
        }
        command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
        if !self.packages.is_empty() {
            command.arg(format!("--include={}", self.packages.join(",")));
        }
        // Where nothing is configured, mmdebstrap runs no other kind of hook.
        let kind = if self.variant == "extract" { "extract" } else { "customize" };
        for hook in self.hooks.iter().chain(LEAVE_NO_TRACE) {
            command.arg(format!("--{kind}-hook={hook}"));
        }
        command.arg(suite).arg(out).args(sources()?);
        let log_file = fs::File::create(log)?;
        let status = command
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .status()
            .context("cannot start mmdebstrap")?;
        ensure!(status.success(), "mmdebstrap failed ({status}): see {}", log.display());
        Ok(())
    }
}

/// This machine's apt sources, as files.
fn sources() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let main = PathBuf::from("/etc/apt/sources.list");
    if main.exists() {
        found.push(main);
    }
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "list" || e == "sources") {
                found.push(path);
            }
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "this machine has no apt sources in /etc/apt");
    Ok(found)
}
