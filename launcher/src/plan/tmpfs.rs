//! `--tmpfs PATH[:OPTIONS]` and `--writable PATH[:OPTIONS]`.
//!
//! The first has Docker's defaults, and its rule that the later of two options that contradict each other
//! counts. The second declares a place that is writable on an otherwise read-only root, in the spirit of
//! tmpfiles.d's `d`: a directory with a mode and an owner, which is the container's user unless it is said.
//! It is empty, whatever the image has there: what a hostile image holds is not carried into memory, and
//! a program that needs something in it makes it, as after every boot.

use super::mount_point::{self, Unfit};
use super::size;
use crate::error::Explain;
use protocol::{Mount, MountSource};

/// One of the two flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    name: &'static str,
    source: MountSource,
    defaults: &'static [&'static str],
    /// Options that stand for themselves: each pair contradicts itself.
    pairs: &'static [(&'static str, &'static str)],
    keys: &'static [&'static str],
    /// All options, for a hint.
    options: &'static str,
}

static TMPFS: Flag = Flag {
    name: "--tmpfs",
    source: MountSource::Tmpfs,
    defaults: &["noexec", "nosuid", "nodev"],
    pairs: &[
        ("ro", "rw"),
        ("exec", "noexec"),
        ("suid", "nosuid"),
        ("dev", "nodev"),
        ("sync", "async"),
        ("atime", "noatime"),
        ("diratime", "nodiratime"),
    ],
    keys: &["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"],
    options: "ro, rw, exec, noexec, suid, nosuid, dev, nodev, size=, mode=, uid=, gid=, nr_inodes=, \
              nr_blocks=",
};

static WRITABLE: Flag = Flag {
    name: "--writable",
    source: MountSource::OwnTmpfs,
    // tmpfiles.d's mode; a size, so that a place that was declared is no way to all of the memory.
    defaults: &["noexec", "nosuid", "nodev", "mode=755", "size=64m"],
    pairs: &[("exec", "noexec")],
    keys: &["size", "mode", "uid", "gid", "nr_inodes"],
    options: "exec, noexec, size=, mode=, uid=, gid=, nr_inodes=",
};

/// Why a tmpfs cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {reason}", flag.name)]
pub struct TmpfsError {
    flag: &'static Flag,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("{0:?}: the path is not absolute")]
    Relative(String),
    #[error("{0:?} would hide the container's root file system")]
    Root(String),
    #[error("{0:?}: the path holds \"..\"")]
    Climbing(String),
    #[error("{path}: unknown option {option:?}")]
    Option { path: String, option: String },
    #[error("{0} was given twice")]
    Twice(String),
}

impl Explain for TmpfsError {
    fn hint(&self) -> Option<String> {
        let Flag { name, options, .. } = *self.flag;
        Some(match &self.reason {
            Reason::Relative(typed) => format!("write {name} /{typed}"),
            Reason::Root(_) => format!("mount it below the root, for example {name} /tmp"),
            Reason::Climbing(_) => "write it without \"..\"".into(),
            Reason::Option { .. } => format!("options are {options}"),
            Reason::Twice(_) => "one of the two is enough".into(),
        })
    }
}

/// The mounts that were typed after each flag, in order.
///
/// # Errors
/// [`TmpfsError`].
pub fn mounts(tmpfs: &[String], writable: &[String]) -> Result<Vec<Mount>, TmpfsError> {
    let typed =
        tmpfs.iter().map(|it| (&TMPFS, it)).chain(writable.iter().map(|it| (&WRITABLE, it)));
    let mut mounts: Vec<Mount> = Vec::new();
    for (flag, entry) in typed {
        let mount = mount(flag, entry).map_err(|reason| TmpfsError { flag, reason })?;
        if mounts.iter().any(|other| other.destination == mount.destination) {
            return Err(TmpfsError { flag, reason: Reason::Twice(mount.destination) });
        }
        mounts.push(mount);
    }
    Ok(mounts)
}

fn mount(flag: &Flag, typed: &str) -> Result<Mount, Reason> {
    let (path, options) = typed.split_once(':').unwrap_or((typed, ""));
    let destination = mount_point::shortest(path).map_err(|unfit| match unfit {
        Unfit::Relative => Reason::Relative(typed.to_owned()),
        Unfit::Climbing => Reason::Climbing(typed.to_owned()),
        Unfit::Root => Reason::Root(typed.to_owned()),
    })?;
    let mut merged: Vec<String> = flag.defaults.iter().map(|&option| option.to_owned()).collect();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        if !known(flag, option) {
            return Err(Reason::Option { path: destination, option: option.to_owned() });
        }
        merged.retain(|earlier| !overrides(flag, option, earlier));
        merged.push(option.to_owned());
    }
    Ok(Mount { destination, source: flag.source, options: merged })
}

fn known(flag: &Flag, option: &str) -> bool {
    match option.split_once('=') {
        Some(("size", value)) => {
            // A share of memory, or a size.
            value.strip_suffix('%').map_or_else(|| size::parse(value).is_ok(), is_number)
        }
        Some((key, value)) => flag.keys.contains(&key) && is_number(value),
        None => flag.pairs.iter().any(|&(on, off)| option == on || option == off),
    }
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())
}

/// Whether `later` makes `earlier` moot.
fn overrides(flag: &Flag, later: &str, earlier: &str) -> bool {
    match (later.split_once('='), earlier.split_once('=')) {
        (Some((a, _)), Some((b, _))) => a == b,
        (None, None) => {
            later == earlier
                || flag.pairs.iter().any(|&(on, off)| {
                    (later == on && earlier == off) || (later == off && earlier == on)
                })
        }
        _ => false,
    }
}
