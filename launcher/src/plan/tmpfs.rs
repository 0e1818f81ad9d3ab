//! `--tmpfs PATH[:OPTIONS]`: Docker's defaults, and its rule that the later of two options that
//! contradict each other counts.

use super::size;
use crate::error::Explain;
use protocol::{Mount, MountSource};

/// Why a tmpfs cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TmpfsError {
    /// Its path is not absolute.
    #[error("--tmpfs {0:?}: the path is not absolute")]
    Relative(String),
    /// It would hide the container.
    #[error("--tmpfs {0:?} would hide the container's root file system")]
    Root(String),
    /// A path that climbs.
    #[error("--tmpfs {0:?}: the path holds \"..\"")]
    Climbing(String),
    /// An option that a tmpfs does not have.
    #[error("--tmpfs {path}: unknown option {option:?}")]
    Option {
        /// Where it would be mounted.
        path: String,
        /// The option.
        option: String,
    },
    /// The same path twice.
    #[error("--tmpfs {0} was given twice")]
    Twice(String),
}

impl Explain for TmpfsError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            TmpfsError::Relative(typed) => format!("write --tmpfs /{typed}"),
            TmpfsError::Root(_) => "mount it below the root, for example --tmpfs /tmp".into(),
            TmpfsError::Climbing(_) => "write it without \"..\"".into(),
            TmpfsError::Option { .. } => {
                "options are ro, rw, exec, noexec, suid, nosuid, dev, nodev, size=, mode=, uid=, gid=, \
                 nr_inodes=, nr_blocks="
                    .into()
            }
            TmpfsError::Twice(_) => "one of the two is enough".into(),
        })
    }
}

/// Options that stand for themselves: each pair contradicts itself.
const PAIRS: [(&str, &str); 7] = [
    ("ro", "rw"),
    ("exec", "noexec"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("sync", "async"),
    ("atime", "noatime"),
    ("diratime", "nodiratime"),
];
const KEYS: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];
const DEFAULTS: [&str; 3] = ["noexec", "nosuid", "nodev"];

/// The mounts that were typed, in order.
///
/// # Errors
/// [`TmpfsError`].
pub fn mounts(typed: &[String]) -> Result<Vec<Mount>, TmpfsError> {
    let mut mounts: Vec<Mount> = Vec::new();
    for entry in typed {
        let mount = mount(entry)?;
        if mounts.iter().any(|other| other.destination == mount.destination) {
            return Err(TmpfsError::Twice(mount.destination));
        }
        mounts.push(mount);
    }
    Ok(mounts)
}

fn mount(typed: &str) -> Result<Mount, TmpfsError> {
    let (path, options) = typed.split_once(':').unwrap_or((typed, ""));
    if !path.starts_with('/') {
        return Err(TmpfsError::Relative(typed.to_owned()));
    }
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(TmpfsError::Climbing(typed.to_owned()));
    }
    if parts.is_empty() {
        return Err(TmpfsError::Root(typed.to_owned()));
    }
    let destination = format!("/{}", parts.join("/"));
    let mut merged: Vec<String> = DEFAULTS.map(str::to_owned).into();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        if !known(option) {
            return Err(TmpfsError::Option { path: destination, option: option.to_owned() });
        }
        merged.retain(|earlier| !overrides(option, earlier));
        merged.push(option.to_owned());
    }
    Ok(Mount { destination, source: MountSource::Tmpfs, options: merged })
}

fn known(option: &str) -> bool {
    match option.split_once('=') {
        Some(("size", value)) => {
            // A share of memory, or a size.
            value.strip_suffix('%').map_or_else(|| size::parse(value).is_ok(), is_number)
        }
        Some((key, value)) => KEYS.contains(&key) && is_number(value),
        None => PAIRS.iter().any(|&(on, off)| option == on || option == off),
    }
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())
}

/// Whether `later` makes `earlier` moot.
fn overrides(later: &str, earlier: &str) -> bool {
    match (later.split_once('='), earlier.split_once('=')) {
        (Some((a, _)), Some((b, _))) => a == b,
        (None, None) => {
            later == earlier
                || PAIRS.iter().any(|&(on, off)| {
                    (later == on && earlier == off) || (later == off && earlier == on)
                })
        }
        _ => false,
    }
}
