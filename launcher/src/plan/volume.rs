//! `-v` and `--mount`: volumes, directories of this place, and those that a container has beside its root. Docker's
//! syntax.
//!
//! ```text
//!   -v NAME:/path[:ro,nocopy]    --mount type=volume,src=NAME,dst=/path[,readonly][,volume-nocopy]
//!   -v PATH:/path[:ro]           --mount type=bind,src=PATH,dst=/path[,readonly]      PATH begins with / or .
//!   -v /path                     --mount type=volume,dst=/path            a new directory, gone with its container
//!                                --mount type=tmpfs,dst=/path[,tmpfs-size=64m][,tmpfs-mode=1777]
//! ```

use super::mount_point::{self, Unfit};
use super::share::ShareMount;
use crate::cli::RunArgs;
use crate::error::Explain;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most characters of a volume's name.
const MAX_NAME_BYTES: usize = 128;
/// The most volumes of one sandbox: each is an open file of its machine.
pub const MAX_VOLUMES: usize = 32;

/// What a volume is called: Docker's rule, with an end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct VolumeName(String);

impl VolumeName {
    /// As it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// No volume can be called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name for a volume")]
pub struct NameError(pub String);

impl Explain for NameError {
    fn hint(&self) -> Option<String> {
        Some(format!(
            "a name is 2 to {MAX_NAME_BYTES} of A-Z a-z 0-9 _ . - and begins with a letter or digit"
        ))
    }
}

impl TryFrom<String> for VolumeName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins_well && (2..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(fine) {
            Ok(Self(text))
        } else {
            Err(NameError(text))
        }
    }
}

impl FromStr for VolumeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text.to_owned())
    }
}

/// A directory of a disk that a container is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMount {
    /// Where.
    pub destination: String,
    /// The volume; `None` is a directory that goes with the container.
    pub volume: Option<VolumeName>,
    /// Whether the container may not write to it.
    pub readonly: bool,
    /// Whether it gets, while it is empty, what the image has there.
    pub copy: bool,
}

impl VolumeMount {
    /// What an image declares: a new directory with what the image has there; nothing where none can be.
    pub fn declared(path: &str) -> Option<Self> {
        let destination = mount_point::shortest(path).ok()?;
        Some(Self { destination, volume: None, readonly: false, copy: true })
    }
}

/// Why a mount cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {typed:?}: {reason}")]
pub struct VolumeError {
    flag: &'static str,
    typed: String,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("{0:?} is neither a volume's name nor a path")]
    Neither(String),
    #[error("it does not say what")]
    NoSource,
    #[error(transparent)]
    Name(NameError),
    #[error("the path {0:?} is not absolute")]
    Relative(String),
    #[error("the path {0:?} holds \"..\"")]
    Climbing(String),
    #[error("it would hide the container's root file system")]
    Root,
    #[error("it has too many parts")]
    Parts,
    #[error("unknown option {0:?}")]
    Option(String),
    #[error("unknown type {0:?}")]
    Type(String),
    #[error("it does not say where")]
    NoDestination,
    #[error("{0:?} is no word and value")]
    Field(String),
}

impl Explain for VolumeError {
    fn hint(&self) -> Option<String> {
        Some(match &self.reason {
            Reason::Neither(path) => format!("a path begins with / or with a dot: ./{path}"),
            Reason::NoSource => "for example --mount type=bind,src=/from,dst=/path".into(),
            Reason::Name(error) => return error.hint(),
            Reason::Relative(_) | Reason::Climbing(_) => {
                "write it from the container's root, without \"..\"".into()
            }
            Reason::Root => "mount it below the root".into(),
            Reason::Parts => "-v is [NAME:]/path[:OPTIONS] or PATH:/path[:OPTIONS]".into(),
            Reason::Option(_) if self.flag == "--mount" => {
                "words are type, source, destination, readonly, volume-nocopy, tmpfs-size and tmpfs-mode".into()
            }
            Reason::Option(_) => "options are ro, rw and nocopy".into(),
            Reason::Type(_) => "types are bind, volume and tmpfs".into(),
            Reason::NoDestination => "for example --mount type=volume,src=NAME,dst=/path".into(),
            Reason::Field(_) => "for example --mount type=volume,src=NAME,dst=/path".into(),
        })
    }
}

/// What was typed after one flag.
#[derive(Debug, PartialEq, Eq)]
pub enum Mounted {
    /// A volume, or a directory.
    Volume(VolumeMount),
    /// A directory, or a file, of this place.
    Share(ShareMount),
    /// A tmpfs, as `--tmpfs` would have it.
    Tmpfs(String),
}

/// What was typed after `-v`.
///
/// # Errors
/// [`VolumeError`].
pub fn short(typed: &str) -> Result<Mounted, VolumeError> {
    let read = || {
        let parts: Vec<&str> = typed.split(':').collect();
        let (source, path, options) = match parts[..] {
            [path] => (None, path, ""),
            [source, path] => (Some(source), path, ""),
            [source, path, options] => (Some(source), path, options),
            _ => return Err(Reason::Parts),
        };
        let mut mount = directory(path)?;
        let shared = source.filter(|source| is_path(source));
        if shared.is_none() {
            mount.volume = source.map(volume).transpose()?;
        }
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => mount.readonly = true,
                "rw" => mount.readonly = false,
                "nocopy" if shared.is_none() => mount.copy = false,
                // How SELinux labels it, whether mounts in it move on, how much is cached: as it is.
                "z" | "Z" | "rprivate" | "private" | "consistent" | "cached" | "delegated" => {}
                other => return Err(Reason::Option(other.to_owned())),
            }
        }
        Ok(match shared {
            None => Mounted::Volume(mount),
            Some(source) => Mounted::Share(share(source, mount)),
        })
    };
    read().map_err(|reason| VolumeError { flag: "--volume", typed: typed.to_owned(), reason })
}

/// What was typed after `--mount`.
///
/// # Errors
/// [`VolumeError`].
pub fn long(typed: &str) -> Result<Mounted, VolumeError> {
    let read = || {
        let fields = Fields::read(typed)?;
        let path = fields.destination.ok_or(Reason::NoDestination)?;
        match fields.kind {
            "volume" if fields.tmpfs.is_empty() => {
                let mut mount = directory(path)?;
                mount.volume = fields.source.map(volume).transpose()?;
                (mount.readonly, mount.copy) = (fields.readonly, fields.copy);
                Ok(Mounted::Volume(mount))
            }
            "tmpfs" if fields.source.is_none() && fields.copy => {
                let mut options = fields.tmpfs;
                options.extend(fields.readonly.then(|| "ro".to_owned()));
                Ok(Mounted::Tmpfs(format!("{path}:{}", options.join(","))))
            }
            "volume" => Err(Reason::Option("tmpfs-".to_owned())),
            "tmpfs" => Err(Reason::Option("source".to_owned())),
            "bind" if fields.tmpfs.is_empty() && fields.copy => {
                let source = fields.source.ok_or(Reason::NoSource)?;
                let mount = VolumeMount { readonly: fields.readonly, ..directory(path)? };
                Ok(Mounted::Share(share(source, mount)))
            }
            "bind" => Err(Reason::Option("volume-nocopy".to_owned())),
            other => Err(Reason::Type(other.to_owned())),
        }
    };
    read().map_err(|reason| VolumeError { flag: "--mount", typed: typed.to_owned(), reason })
}

/// The words and values of `--mount`.
struct Fields<'a> {
    kind: &'a str,
    source: Option<&'a str>,
    destination: Option<&'a str>,
    readonly: bool,
    copy: bool,
    tmpfs: Vec<String>,
}

impl<'a> Fields<'a> {
    fn read(typed: &'a str) -> Result<Self, Reason> {
        let mut fields = Self {
            kind: "volume",
            source: None,
            destination: None,
            readonly: false,
            copy: true,
            tmpfs: Vec::new(),
        };
        for field in typed.split(',') {
            let (word, value) = field.split_once('=').map_or((field, None), |(k, v)| (k, Some(v)));
            let text = || value.filter(|it| !it.is_empty()).ok_or(Reason::Field(field.to_owned()));
            let switch = || match value {
                None | Some("true" | "1") => Ok(true),
                Some("false" | "0") => Ok(false),
                Some(_) => Err(Reason::Field(field.to_owned())),
            };
            match word {
                "type" => fields.kind = text()?,
                "source" | "src" => fields.source = Some(text()?),
                "destination" | "dst" | "target" => fields.destination = Some(text()?),
                "readonly" | "ro" => fields.readonly = switch()?,
                "volume-nocopy" => fields.copy = !switch()?,
                "tmpfs-size" => fields.tmpfs.push(format!("size={}", text()?)),
                "tmpfs-mode" => fields.tmpfs.push(format!("mode={}", text()?)),
                _ => return Err(Reason::Option(word.to_owned())),
            }
        }
        Ok(fields)
    }
}

/// All that was typed after `-v` and `--mount`.
///
/// # Errors
/// [`VolumeError`].
pub fn mounted(args: &RunArgs) -> Result<Vec<Mounted>, VolumeError> {
    let typed = args.volume.iter().map(|typed| short(typed));
    typed.chain(args.mount.iter().map(|typed| long(typed))).collect()
}

/// Docker's rule.
fn is_path(source: &str) -> bool {
    source.starts_with('/') || source.starts_with('.')
}

fn share(source: &str, mount: VolumeMount) -> ShareMount {
    let VolumeMount { destination, readonly, .. } = mount;
    ShareMount { source: source.into(), destination, readonly }
}

fn volume(source: &str) -> Result<VolumeName, Reason> {
    if source.contains('/') || source.starts_with('~') {
        return Err(Reason::Neither(source.to_owned()));
    }
    source.parse().map_err(Reason::Name)
}

fn directory(path: &str) -> Result<VolumeMount, Reason> {
    let destination = mount_point::shortest(path).map_err(|unfit| match unfit {
        Unfit::Relative => Reason::Relative(path.to_owned()),
        Unfit::Climbing => Reason::Climbing(path.to_owned()),
        Unfit::Root => Reason::Root,
    })?;
    Ok(VolumeMount { destination, volume: None, readonly: false, copy: true })
}
