//! References: how a user names an image. Names and meaning are skopeo's (containers-transports(5)); what has no
//! transport is an image of a registry, as Docker takes it.
//!
//! ```text
//!   [HOST[:PORT]/]PATH[:TAG][@DIGEST]   an image of a registry, see [`name`]; also after docker://
//!   oci:DIR[:NAME]            an OCI image layout; NAME as org.opencontainers.image.ref.name has it
//!   oci:DIR[:NAME]@DIGEST     … the manifest with this digest
//!   oci-archive:FILE[:NAME]   the same in a tar file
//!   docker-archive:FILE[:NAME[:TAG]]   what `docker save` writes
//! ```
//!
//! Owns: the text and its meaning. Never does: look whether anything is there. As with skopeo, a path
//! ends at its first colon.

pub mod name;
#[cfg(test)]
mod tests;

use crate::digest::{Digest, DigestError};
use name::{ImageName, NameError};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

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
    /// An image of a registry.
    Registry(ImageName),
}

impl Reference {
    /// Where it is on this machine; `None` for one that is a registry's.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::OciLayout { path, .. }
            | Self::OciArchive { path, .. }
            | Self::DockerArchive { path, .. } => Some(path),
            Self::Registry(_) => None,
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
    /// It names a transport that is not known here.
    #[error("{0:?} names a place for images that is not known here")]
    Transport(String),
    /// It has no transport, and is no name either.
    #[error(transparent)]
    Name(#[from] NameError),
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

/// What stands before a colon and is no image's name.
const TRANSPORTS: [&str; 7] = [
    "oci",
    "oci-archive",
    "docker-archive",
    "docker-daemon",
    "containers-storage",
    "sif",
    "tarball",
];

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let Some((transport, rest)) = text.split_once(':') else {
            return Ok(Self::Registry(text.parse()?));
        };
        match transport {
            "docker" if rest.starts_with("//") => {
                Ok(Self::Registry(rest.get(2..).unwrap_or_default().parse()?))
            }
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
            // Those of skopeo that nobody would name an image after.
            "docker-daemon" | "containers-storage" | "sif" | "tarball" => {
                Err(ReferenceError::Transport(text.to_owned()))
            }
            _ => Ok(Self::Registry(text.parse()?)),
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
            Self::Registry(name) => out.write_str(&name.familiar()),
        }
    }
}
