//! `--publish-socket`: Unix sockets of the container's that are reached from here.

use crate::cli::RunArgs;
use crate::error::Explain;
use protocol::SeccompProfile;

/// The most of them: each is watched.
pub const MAX_SOCKETS: usize = 16;
/// The longest path of a socket, in bytes (unix(7)).
pub const MAX_PATH_BYTES: usize = 107;

/// Why they cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// It is none that a socket can have.
    #[error("--publish-socket {0:?} is no path of a socket")]
    Path(String),
    /// Both would be one file here.
    #[error("--publish-socket {0:?}: another socket of that name is published")]
    Twice(String),
    /// Too many.
    #[error("{0} published sockets are over the limit of {MAX_SOCKETS}")]
    Many(usize),
    /// The filter would stop the gate, too.
    #[error("--publish-socket contradicts the container's seccomp profile, which knows no vsock")]
    Filtered,
}

impl Explain for SocketError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Path(_) => Some(format!("absolute, and of {MAX_PATH_BYTES} bytes at most")),
            Self::Filtered => Some("add --privileged, or --security-opt seccomp=unconfined".into()),
            Self::Twice(_) | Self::Many(_) => None,
        }
    }
}

/// The paths of those that are published.
///
/// # Errors
/// [`SocketError`].
pub fn published(
    args: &RunArgs,
    filter: Option<&SeccompProfile>,
) -> Result<Vec<String>, SocketError> {
    let paths = &args.publish_socket;
    if paths.len() > MAX_SOCKETS {
        return Err(SocketError::Many(paths.len()));
    }
    if filter.is_some() && !paths.is_empty() {
        return Err(SocketError::Filtered);
    }
    for (at, path) in paths.iter().enumerate() {
        let name = name(path).ok_or_else(|| SocketError::Path(path.clone()))?;
        if paths[..at].iter().any(|earlier| self::name(earlier) == Some(name)) {
            return Err(SocketError::Twice(path.clone()));
        }
    }
    Ok(paths.clone())
}

/// The name of its file here; `None` where it is the path of none.
pub fn name(path: &str) -> Option<&str> {
    let fits = path.starts_with('/') && path.len() <= MAX_PATH_BYTES && !path.contains('\0');
    let name = path.rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."));
    name.filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::args;

    fn published(words: &str) -> Result<Vec<String>, SocketError> {
        let words: Vec<_> = words.split_whitespace().chain(["image"]).collect();
        super::published(&args(&words), None)
    }

    #[test]
    fn a_socket_is_an_absolute_path_with_a_name_of_its_own() {
        assert_eq!(published("").unwrap(), [""; 0]);
        let paths = published("--publish-socket /run/a.sock --publish-socket /b").unwrap();
        assert_eq!(paths, ["/run/a.sock", "/b"]);
        let long = format!("/{}", "a".repeat(MAX_PATH_BYTES));
        for wrong in ["run/a.sock", "/", "/run/", "/run/..", "/.", &long] {
            let refused = published(&format!("--publish-socket {wrong}")).unwrap_err();
            assert_eq!(refused, SocketError::Path(wrong.to_owned()));
        }
        let twice = published("--publish-socket /run/a --publish-socket /tmp/a").unwrap_err();
        assert_eq!(twice, SocketError::Twice("/tmp/a".to_owned()));
        let many = "--publish-socket /a ".repeat(MAX_SOCKETS + 1);
        assert_eq!(published(&many).unwrap_err(), SocketError::Many(MAX_SOCKETS + 1));
    }
}
