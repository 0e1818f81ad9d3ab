//! The guest kernel: Debian's source, our patches and fragments of configuration, one vmlinux.
//!
//! Owns: where it is cached and under which digest. The configuration is a step of its own, because
//! tests ask of it long before anything is compiled.
//!
//! ```text
//!   linux-source-6.12.tar.xz + kernel-config/patches/* ─► tinyconfig + kernel-config/fragments/* ─► .config
//!     ─► vmlinux, packed
//! ```

mod compile;
mod configure;
pub mod hardening;
mod pack;
pub mod reproducible;
mod source;
pub mod without;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use anyhow::{Context, Result};

use crate::digest::Inputs;
use crate::workspace::Workspace;
use crate::{cache, process};

/// How it is built: a change of it makes another kernel.
const BUILD: &[&str] = &[
    include_str!("kernel/compile.rs"),
    include_str!("kernel/configure.rs"),
    include_str!("kernel/pack.rs"),
    include_str!("kernel/source.rs"),
];

/// Variables that the kernel's Makefile obeys, besides those whose names say so.
const DECIDING: &[&str] = &[
    "MFLAGS",
    "O",
    "V",
    "ARCH",
    "SUBARCH",
    "LOCALVERSION",
    "CROSS_COMPILE",
    "LLVM",
    "KCFLAGS",
    "KCPPFLAGS",
    "KAFLAGS",
    "CFLAGS_KERNEL",
    "HOSTCC",
    "HOSTCFLAGS",
    "HOSTLDFLAGS",
];

/// Which kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// The one that every sandbox boots, unless it is told another.
    Usual,
    /// The same with what few need: `kernel-config/full`.
    Full,
}

/// Gives the usual kernel, packed, and builds it first where that was not done before.
///
/// # Errors
/// Those of each step; the compiler's own words stand in a log that the error names.
pub fn vmlinux(workspace: &Workspace) -> Result<PathBuf> {
    built(workspace, Flavour::Usual)
}

/// The same of a flavour.
///
/// # Errors
/// As [`vmlinux`].
pub fn built(workspace: &Workspace, flavour: Flavour) -> Result<PathBuf> {
    let digest = digest_of(workspace, flavour)?;
    let entry = cache::entry(workspace, "kernel", &digest, |place| {
        let config = config(workspace, flavour)?;
        let tree = source::extract(workspace)?;
        fs::copy(&config, tree.path.join(".config"))?;
        compile::vmlinux(&tree.path, compile::remembering_compiler(), place)?;
        fs::copy(&config, place.join("config"))?;
        // One and a half gigabyte; ccache remembers what it was good for.
        cache::remove(&tree.path)
    })?;
    Ok(entry.join("vmlinux"))
}

/// Gives the finished configuration.
///
/// # Errors
/// As [`vmlinux`], and where the fragments ask for what the source does not have.
pub fn config(workspace: &Workspace, flavour: Flavour) -> Result<PathBuf> {
    let digest = digest_of(workspace, flavour)?;
    let entry = cache::entry(workspace, "kernel-config", &digest, |place| {
        let tree = source::extract(workspace)?;
        configure::config(&tree.path, &all_of(workspace, flavour)?, &place.join("config"))
    })?;
    Ok(entry.join("config"))
}

/// The version of its source.
///
/// # Errors
/// Where the source is not installed.
pub fn source_version() -> Result<String> {
    source::version()
}

/// The source itself, patched, which nobody else touches while this is held.
///
/// # Errors
/// Those of unpacking it.
pub fn sources(workspace: &Workspace) -> Result<source::Tree> {
    source::extract(workspace)
}

/// What tells the usual one from every other.
///
/// # Errors
/// Where its source is not installed.
pub fn digest(workspace: &Workspace) -> Result<String> {
    digest_of(workspace, Flavour::Usual)
}

fn digest_of(workspace: &Workspace, flavour: Flavour) -> Result<String> {
    let compiler = process::capture(Command::new("gcc").arg("--version"))?;
    let mut inputs = Inputs::default()
        .text("source", &source::digest(workspace)?)
        .text("compiler", compiler.lines().next().unwrap_or_default());
    for step in BUILD {
        inputs = inputs.text("build", step);
    }
    for fragment in all_of(workspace, flavour)? {
        let text = fs::read_to_string(&fragment)
            .with_context(|| format!("cannot read {}", fragment.display()))?;
        // What it says, not how: a comment makes no other kernel.
        inputs = inputs.text("fragment", &format!("{:?}", configure::parse(&text)));
    }
    Ok(inputs.finish())
}

/// make in `tree`, deaf to whatever the environment says of a kernel's build, or of the make that
/// started us.
fn make(tree: &Path) -> Command {
    let mut command = Command::new("make");
    command.arg("-C").arg(tree);
    for (name, _) in env::vars_os() {
        let decides = name.to_str().is_some_and(|name| {
            name.starts_with("MAKE")
                || name.starts_with("KBUILD_")
                || name.starts_with("KCONFIG_")
                || DECIDING.contains(&name)
        });
        if decides {
            command.env_remove(name);
        }
    }
    command
}

/// The fragments, in the order of their names. Their order decides nothing: a test sees to it that no
/// option stands in two.
fn fragments(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    listed(&workspace.root.join("kernel-config/fragments"), "config")
}

/// The fragments of a flavour: where two name an option, the last one decides.
fn all_of(workspace: &Workspace, flavour: Flavour) -> Result<Vec<PathBuf>> {
    let mut all = fragments(workspace)?;
    if flavour == Flavour::Full {
        all.extend(listed(&workspace.root.join("kernel-config/full"), "config")?);
    }
    Ok(all)
}

/// The files of `folder` that end so, in the order of their names.
fn listed(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|known| known == extension));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests;
