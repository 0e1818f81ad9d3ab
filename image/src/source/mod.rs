//! From a reference to a verified configuration, and to where the layers' bytes lie.
//!
//! Owns: the formats images are kept in. Never does: read a layer. Everything read here is small,
//! bounded, and compared with the digest by which it was named.

mod docker_archive;
mod file;
mod oci_layout;
mod registry;
pub(crate) mod signatures;

use crate::archive::ArchiveError;
use crate::config::{ConfigError, ImageConfig};
use crate::digest::Digest;
use crate::fetch::{FetchFailure, Remote};
use crate::layer::Quoted;
use crate::manifest::{ManifestError, Platform};
use crate::reference::Reference;
use crate::store::{NamedImage, Store, StoreError};
pub(crate) use docker_archive::archive_document;
pub(crate) use file::open_regular;
pub(crate) use registry::of_store;
use std::io;
use std::path::PathBuf;

/// An image, not yet unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// How it wants to be run.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<LayerSource>,
    /// What it may be known by: the digests of its index, its manifest, its configuration, as far as there are any.
    pub digests: Vec<Digest>,
    /// Its documents, where the store does not have them.
    pub documents: Option<Documents>,
}

/// The documents of an image, each with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// Its manifest, where it has one.
    pub manifest: Option<(Digest, Vec<u8>)>,
    /// Its configuration.
    pub config: (Digest, Vec<u8>),
}

/// Where a layer's bytes are, and what they must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSource {
    /// Where.
    pub bytes: Bytes,
    /// How long, in bytes.
    pub length: u64,
    /// The digest of these bytes, where something that was verified names it.
    pub blob: Option<Digest>,
    /// The digest of the archive they hold once uncompressed.
    pub diff_id: Digest,
}

/// Where a layer's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bytes {
    /// In a file.
    File {
        /// Which.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// Whether the whole file is the layer, so that its length is wrong if the file's is another.
        whole_file: bool,
    },
    /// With the image's registry.
    Registry {
        /// As the blob of this digest.
        blob: Digest,
    },
}

impl LayerSource {
    /// What the layer is known by: the digest of its bytes, or of what they hold.
    pub fn name(&self) -> Digest {
        self.blob.as_ref().unwrap_or(&self.diff_id).clone()
    }

    /// Where in its file it begins, in bytes.
    pub fn offset(&self) -> u64 {
        match self.bytes {
            Bytes::File { offset, .. } => offset,
            Bytes::Registry { .. } => 0,
        }
    }
}

/// Why a reference leads to no image.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What should be a file is something else.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// The directory is no OCI image layout.
    #[error("{0} is no OCI image layout: it has no index.json")]
    NoLayout(PathBuf),
    /// A document is too long, or not as long as it was said to be.
    #[error("{name} of {path} has {found} bytes instead of {expected}")]
    Size {
        /// The image's place.
        path: PathBuf,
        /// Which document.
        name: Quoted,
        /// How long it should be, or may be at most.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// A document is not what its digest says.
    #[error("{path} is damaged: what it keeps as {expected} has the digest {found}")]
    Digest {
        /// The image's place.
        path: PathBuf,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// An archive could not be read.
    #[error("cannot use the archive {path}")]
    Archive {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// A manifest could not be used.
    #[error("cannot use the image in {path}")]
    Manifest {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// An image configuration could not be used.
    #[error("cannot use the image in {path}")]
    Config {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// Manifest and configuration do not agree.
    #[error("the image in {path} has {layers} layers but {diff_ids} diff IDs")]
    LayerCount {
        /// Where.
        path: PathBuf,
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// There is no image of that name.
    #[error("{path} has no image {name:?}, only: {found}")]
    NoSuchImage {
        /// Where.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What is there.
        found: String,
    },
    /// There are several and none was named.
    #[error("{path} holds several images, and the reference does not say which: {found}")]
    Several {
        /// Where.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// There is none.
    #[error("{0} holds no image")]
    Empty(PathBuf),
    /// The store does not have it, and no registry is to be asked.
    #[error("{0} is not in the store, and is not to be pulled")]
    NotPulled(String),
    /// A registry could not say.
    #[error("cannot have it from {host}")]
    Fetch {
        /// Who was asked.
        host: String,
        /// Why not.
        #[source]
        source: Box<FetchFailure>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// Indexes name indexes without end.
    #[error("{0} has indexes within indexes, over 4 deep")]
    TooDeep(PathBuf),
}

/// Finds the image that a reference means, and verifies all of it but the layers. Gives also what its name is to
/// mean once its layers are there, where a registry was asked.
///
/// # Errors
/// Any [`SourceError`].
pub(crate) fn resolve(
    reference: &Reference,
    wanted: &Platform,
    store: &Store,
    remote: Option<Remote<'_>>,
) -> Result<(ResolvedImage, Option<NamedImage>), SourceError> {
    let image = match reference {
        Reference::OciLayout { path, selector } => {
            oci_layout::Layout::directory(path).resolve(selector, wanted)
        }
        Reference::OciArchive { path, selector } => {
            oci_layout::Layout::archive(path)?.resolve(selector, wanted)
        }
        Reference::DockerArchive { path, name } => {
            docker_archive::resolve(path, name.as_deref(), wanted)
        }
        Reference::Registry(name) => return registry::resolve(name, wanted, store, remote),
    };
    Ok((image?, None))
}

/// A list for a message: the first twenty.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted = |name: &str| Quoted::new(name.as_bytes()).to_string();
    let names: Vec<String> = names.take(20).map(quoted).collect();
    if names.is_empty() { "images without a name".into() } else { names.join(", ") }
}
