//! Names and paths: what a host, a sandbox and a working directory may be called.

use crate::error::Explain;
use protocol::ContainerId;

/// Why a name will not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No host name.
    #[error("--hostname {0:?} is no host name")]
    Hostname(String),
    /// No sandbox name.
    #[error("--name {0:?} is no name for a sandbox")]
    Sandbox(String),
    /// No name that a sandbox can have later.
    #[error("{0:?} is no name for a sandbox")]
    Renamed(String),
    /// A working directory that is not absolute.
    #[error("--workdir {0:?} is not an absolute path")]
    Workdir(String),
}

impl Explain for NameError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            NameError::Hostname(_) => {
                "a host name is 1 to 63 letters, digits, '-' and '.', and begins and ends with a letter or digit".into()
            }
            NameError::Sandbox(_) | NameError::Renamed(_) => {
                "a name is 1 to 64 of A-Z a-z 0-9 _ . - and begins with a letter or digit".into()
            }
            NameError::Workdir(path) => format!("write it from the container's root: /{path}"),
        })
    }
}

/// Longest host name: the kernel takes 64 with its end.
const MAX_HOSTNAME_BYTES: usize = 63;

/// Checks a host name (RFC 1123).
///
/// # Errors
/// [`NameError::Hostname`].
pub fn hostname(text: &str) -> Result<String, NameError> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if text.len() <= MAX_HOSTNAME_BYTES && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(NameError::Hostname(text.to_owned()))
    }
}

/// The same of one that it is given later.
///
/// # Errors
/// [`NameError::Renamed`].
pub fn renamed(text: &str) -> Result<ContainerId, NameError> {
    sandbox(text).map_err(|_| NameError::Renamed(text.to_owned()))
}

/// Checks the name of a sandbox: that of a container, as the guest will know it.
///
/// # Errors
/// [`NameError::Sandbox`].
pub fn sandbox(text: &str) -> Result<ContainerId, NameError> {
    ContainerId::try_from(text.to_owned()).map_err(|_| NameError::Sandbox(text.to_owned()))
}

/// Checks a typed working directory.
///
/// # Errors
/// [`NameError::Workdir`].
pub fn workdir(text: &str) -> Result<String, NameError> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(NameError::Workdir(text.to_owned()))
    }
}
