//! Names of images in registries, as Docker takes them (distribution's reference grammar).
//!
//! ```text
//!   [HOST[:PORT]/]PATH[/PATH]...[:TAG][@DIGEST]
//! ```
//!
//! Owns: the grammar, and what a short name means: without a host it is Docker Hub's, there without a slash
//! one of `library/`, without tag and digest `latest`. Never does: asks whether there is such an image.

use crate::digest::{Digest, DigestError};
use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// The registry that a name without a host means.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// The longest repository with its host, in bytes: distribution's limit.
const MAX_NAME_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;

/// An image of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageName {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text is no name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Its repository is malformed.
    #[error("{0:?} names no repository: lower-case letters, digits and single . _ - between them")]
    Repository(String),
    /// It would be taken for an image's id.
    #[error("{0:?} names no repository: 64 hexadecimal digits are an image's id")]
    Id(String),
    /// Its host is malformed.
    #[error("{0:?} names no registry")]
    Registry(String),
    /// Its tag is malformed.
    #[error("{0:?} has no proper tag: up to 128 letters, digits, _ . and -, and no . or - first")]
    Tag(String),
    /// Its digest is malformed.
    #[error("the digest of {name:?} is malformed")]
    Digest {
        /// The whole name.
        name: String,
        /// What is wrong.
        #[source]
        source: DigestError,
    },
    /// It is too long.
    #[error("the name of a repository has over {MAX_NAME_BYTES} bytes")]
    TooLong,
}

impl ImageName {
    /// The registry: a host, and a port where one was named.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` where there is a digest alone.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where one was named: it decides, whatever the tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What the registry's API calls it: the digest, or else the tag.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.as_deref().unwrap_or(DEFAULT_TAG).to_owned(),
        }
    }

    /// The same repository by a digest.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The repository as Docker prints it: without its own host, and without `library/` there, where it means
    /// the same without.
    pub fn familiar_repository(&self) -> String {
        let looks_like_a_host = split_registry(&self.repository).0.is_some();
        if self.registry != DEFAULT_REGISTRY || looks_like_a_host {
            return format!("{}/{}", self.registry, self.repository);
        }
        let official = self.repository.strip_prefix(DEFAULT_NAMESPACE);
        let short = official.filter(|rest| !rest.contains('/')).unwrap_or(&self.repository);
        // With a tag behind it, it would be read as where a file is.
        if super::TRANSPORTS.contains(&short) {
            return format!("{}/{}", self.registry, self.repository);
        }
        short.to_owned()
    }

    /// The whole name as Docker prints it.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_repository(), Suffix(self))
    }
}

impl fmt::Display for ImageName {
    /// With everything that a short name leaves out.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}{}", self.registry, self.repository, Suffix(self))
    }
}

struct Suffix<'a>(&'a ImageName);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tag) = &self.0.tag {
            write!(out, ":{tag}")?;
        }
        self.0.digest.as_ref().map_or(Ok(()), |digest| write!(out, "@{digest}"))
    }
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let shown = || text.chars().take(2 * MAX_NAME_BYTES).collect::<String>();
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest =
                    digest.parse().map_err(|source| NameError::Digest { name: shown(), source })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (registry, path) = split_registry(rest);
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (path, None),
        };
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(NameError::Tag(shown()));
        }
        let registry = registry.unwrap_or(DEFAULT_REGISTRY);
        if !is_registry(registry) {
            return Err(NameError::Registry(shown()));
        }
        if !path.split('/').all(is_component) {
            return Err(NameError::Repository(shown()));
        }
        if path.len() == 64 && path.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NameError::Id(shown()));
        }
        // Docker Hub has had two names.
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        let official = registry == DEFAULT_REGISTRY && !path.contains('/');
        let namespace = if official { DEFAULT_NAMESPACE } else { "" };
        let repository = format!("{namespace}{path}");
        if registry.len() + 1 + repository.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// What stands before the first slash is a host if it could be nothing else: as Docker decides it.
fn split_registry(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, rest)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest {
                "" => return true,
                rest => ("v6", rest.strip_prefix(':').unwrap_or("none")),
            }
        }
        None => text.split_once(':').unwrap_or((text, "443")),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(label)
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Runs of lower-case letters and digits, with one `.`, one or two `_`, or any number of `-` between.
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && text.split(is_word).all(|between| {
            matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
        })
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG_BYTES
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}
