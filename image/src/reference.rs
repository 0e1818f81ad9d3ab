//! References: how a user names an image. Names and meaning are skopeo's (containers-transports(5)).
//!
//! ```text
//!   oci:DIR[:NAME]            an OCI image layout; NAME as org.opencontainers.image.ref.name has it
//!   oci:DIR[:NAME]@DIGEST     … the manifest with this digest
//!   oci-archive:FILE[:NAME]   the same in a tar file
//!   docker-archive:FILE[:NAME[:TAG]]   what `docker save` writes
//! ```
//!
//! Owns: the text and its meaning. Never does: look whether anything is there. As with skopeo, a path
//! ends at its first colon.

use crate::digest::{Digest, DigestError};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// Where an image is, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reference {
    /// A directory in OCI image layout.
    OciLayout {
        /// The directory.
        path: PathBuf,
        /// Which image of it.
        selector: Selector,
    },
    /// A tar file of an OCI image layout.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// Which image of it.
        selector: Selector,
    },
    /// A tar file as `docker save` writes it.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// Which image of it, as Docker names it, normalised; `None` where there is but one.
        name: Option<String>,
    },
}

impl Reference {
    /// Where it is on this machine.
    pub fn path(&self) -> &Path {
        match self {
            Self::OciLayout { path, .. }
            | Self::OciArchive { path, .. }
            | Self::DockerArchive { path, .. } => path,
        }
    }
}

/// Which image of an OCI image layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The only one.
    Only,
    /// The one with this `org.opencontainers.image.ref.name`.
    Name(String),
    /// The manifest, or index, with this digest.
    Digest(Digest),
}

/// A text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It names no transport that is known.
    #[error(
        "{0:?} does not begin with oci:, oci-archive: or docker-archive:, which say where an image is"
    )]
    Transport(String),
    /// There is no path.
    #[error("{0:?} names no path after its transport")]
    NoPath(String),
    /// What follows the path's colon is empty.
    #[error("{0:?} ends where the image's name should stand")]
    EmptyName(String),
    /// What follows the `@` is no digest.
    #[error("the digest of the reference {reference:?} is malformed")]
    Digest {
        /// The whole reference.
        reference: String,
        /// What is wrong.
        #[source]
        source: DigestError,
    },
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (transport, rest) =
            text.split_once(':').ok_or_else(|| ReferenceError::Transport(text.to_owned()))?;
        match transport {
            "oci" => {
                let (path, selector) = layout_parts(text, rest)?;
                Ok(Self::OciLayout { path, selector })
            }
            "oci-archive" => {
                let (path, selector) = layout_parts(text, rest)?;
                Ok(Self::OciArchive { path, selector })
            }
            "docker-archive" => {
                let (path, name) = path_and_name(text, rest)?;
                Ok(Self::DockerArchive { path, name: name.map(normalise_docker_name) })
            }
            _ => Err(ReferenceError::Transport(text.to_owned())),
        }
    }
}

fn layout_parts(text: &str, rest: &str) -> Result<(PathBuf, Selector), ReferenceError> {
    if let Some((before, digest)) = rest.rsplit_once('@')
        && (digest.starts_with("sha256:") || digest.starts_with("sha512:"))
    {
        let digest = digest
            .parse()
            .map_err(|source| ReferenceError::Digest { reference: text.to_owned(), source })?;
        // A name beside a digest says nothing that the digest does not say better.
        let (path, _) = path_and_name(text, before)?;
        return Ok((path, Selector::Digest(digest)));
    }
    let (path, name) = path_and_name(text, rest)?;
    Ok((path, name.map_or(Selector::Only, |name| Selector::Name(name.to_owned()))))
}

fn path_and_name<'a>(
    text: &str,
    rest: &'a str,
) -> Result<(PathBuf, Option<&'a str>), ReferenceError> {
    let (path, name) = match rest.split_once(':') {
        Some((path, name)) => (path, Some(name)),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(ReferenceError::NoPath(text.to_owned()));
    }
    if name.is_some_and(str::is_empty) {
        return Err(ReferenceError::EmptyName(text.to_owned()));
    }
    Ok((path.into(), name))
}

/// The form in which two of Docker's names for one image are equal: without Docker Hub's host and its
/// `library/`, and with a tag.
pub fn normalise_docker_name(name: &str) -> String {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selected = |out: &mut fmt::Formatter<'_>, transport, path: &PathBuf, selector: &_| {
            write!(out, "{transport}:{}", path.display())?;
            match selector {
                Selector::Only => Ok(()),
                Selector::Name(name) => write!(out, ":{name}"),
                Selector::Digest(digest) => write!(out, "@{digest}"),
            }
        };
        match self {
            Self::OciLayout { path, selector } => selected(out, "oci", path, selector),
            Self::OciArchive { path, selector } => selected(out, "oci-archive", path, selector),
            Self::DockerArchive { path, name } => {
                write!(out, "docker-archive:{}", path.display())?;
                name.as_ref().map_or(Ok(()), |name| write!(out, ":{name}"))
            }
        }
    }
}
