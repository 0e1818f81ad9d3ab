//! From a reference to an image whose layers are in the store, verified.
//!
//! Owns: the order of things, and every comparison of a digest with what was promised. Never does:
//! parse a layer. Layers are unpacked several at a time, each by the caller's [`Unpacker`], while a
//! thread here hashes the same bytes.

mod crew;
mod download;
mod making;
mod merging;
#[cfg(test)]
mod tests;

use crate::config::ImageConfig;
use crate::digest::{Algorithm, Digest};
use crate::fetch::{FetchError, FetchFailure, Remote};
use crate::layer::{Limits, MergeJob, UnpackError, UnpackJob, UnpackReport};
use crate::manifest::{self, Platform};
use crate::policy::{Policy, PolicyError, Signature};
use crate::reference::Reference;
use crate::reference::name::ImageName;
use crate::source::{self, Documents, LayerSource, ResolvedImage, SourceError};
use crate::store::{Hold, LayerKey, NamedImage, Store, StoreError, StoredFile, StoredLayer};
use crew::Work;
use making::{Bench, stored};
use std::error::Error;
use std::fs::File;
use std::io;

/// Runs [`crate::layer::unpack`] where it can do no harm. Called from several threads at once.
pub trait Unpacker: Send + Sync {
    /// Has the layer in `input` unpacked to `output`, which is empty. Whoever was given `output` has
    /// ended, and can write to it no more, when this returns.
    ///
    /// `input` shares its file position with no one else: the unpacking process reads it in order, so
    /// that the position tells the progress.
    ///
    /// # Errors
    /// What was wrong with the layer, or why no process could tell.
    fn unpack(
        &self,
        job: &UnpackJob,
        input: &File,
        output: &File,
    ) -> Result<UnpackReport, UnpackFailure>;

    /// Has the layers whose images are in `layers` merged to `output`, as [`crate::layer::merge`] does; gives how long that
    /// is. The same holds of who was given `output`.
    ///
    /// # Errors
    /// What was wrong with the layers, or why no process could tell.
    fn merge(&self, job: &MergeJob, layers: &[&File], output: &File) -> Result<u64, UnpackFailure>;
}

/// Why an unpacking process gave no report.
#[derive(Debug, thiserror::Error)]
pub enum UnpackFailure {
    /// The layer is not what it should be.
    #[error(transparent)]
    Layer(#[from] UnpackError),
    /// The process itself failed.
    #[error("the unpacking process failed")]
    Process(#[source] Box<dyn Error + Send + Sync>),
}

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Which image.
    pub reference: &'a Reference,
    /// For which platform.
    pub platform: &'a Platform,
    /// What each layer may cost.
    pub limits: &'a Limits,
    /// Which images are accepted.
    pub policy: &'a Policy,
    /// How registries are reached, where the image is one's.
    pub remote: Option<Remote<'a>>,
    /// What it is to be called from now on, where it is no registry's.
    pub name: Option<&'a ImageName>,
    /// Is told how far it is, from the calling thread, several times a second. Not called where nothing
    /// has to be done.
    pub progress: &'a dyn Fn(LayerProgress),
}

/// What is being done to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its bytes come from a registry.
    Fetching,
    /// It is made a file system of.
    Unpacking,
    /// It is in the store.
    Ready,
}

/// How far a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerProgress {
    /// Which layer, from 0.
    pub index: usize,
    /// Of how many.
    pub count: usize,
    /// What it is known by.
    pub name: Digest,
    /// What is being done.
    pub phase: Phase,
    /// Bytes seen to, of it as it came.
    pub done_bytes: u64,
    /// Bytes it has.
    pub total_bytes: u64,
}

/// An image, ready to be run.
#[derive(Debug)]
pub struct Image {
    /// How it wants to be run.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// The merged tree of several layers, which stands before them on one device. Where there is none, they are shown
    /// one over the other.
    pub tree: Option<StoredFile>,
}

impl Image {
    /// How long each file system is that makes its root, the lowest first, as they stand one behind the other on one
    /// device, in bytes.
    pub fn file_systems(&self) -> Vec<u64> {
        let layers = self.layers.iter().map(|layer| layer.image.length);
        match &self.tree {
            Some(tree) => vec![layers.fold(tree.length, u64::saturating_add)],
            None => layers.collect(),
        }
    }

    /// What stands on that device, in order.
    pub fn into_files(self) -> impl Iterator<Item = StoredFile> {
        self.tree.into_iter().chain(self.layers.into_iter().map(|layer| layer.image))
    }
}

/// A layer, unpacked and verified.
#[derive(Debug)]
pub struct Layer {
    /// What it is called in the store.
    pub key: LayerKey,
    /// Its EROFS image.
    pub image: StoredFile,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The reference leads to none.
    #[error("cannot find the image {reference}")]
    Source {
        /// The reference.
        reference: String,
        /// Why not.
        #[source]
        source: Box<SourceError>,
    },
    /// It is not accepted.
    #[error("cannot use the image {reference}")]
    Policy {
        /// The reference.
        reference: String,
        /// By which rule.
        #[source]
        source: PolicyError,
    },
    /// Its layers make no tree.
    #[error("cannot merge the layers of the image {reference}")]
    Tree {
        /// The reference.
        reference: String,
        /// Why not.
        #[source]
        source: Box<LayerError>,
    },
    /// One of its layers is not to be had.
    #[error("cannot prepare layer {number} of {count}, {diff_id}")]
    Layer {
        /// Which, from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// Its name.
        diff_id: Digest,
        /// Why not.
        #[source]
        source: Box<LayerError>,
    },
}

/// Why a layer is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Its bytes could not be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its bytes could not be read.
    #[error("cannot read its bytes")]
    Read(#[source] io::Error),
    /// Its bytes are not those that the manifest names.
    #[error("its bytes have the digest {found}, and should have {expected}")]
    BlobDigest {
        /// What the manifest says.
        expected: Digest,
        /// What they have.
        found: Digest,
    },
    /// What its bytes hold is not what the image configuration names.
    #[error("uncompressed it has the digest {found}, and should have {expected}")]
    DiffId {
        /// What the configuration says.
        expected: Digest,
        /// What it has.
        found: Digest,
    },
    /// It could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackFailure),
    /// The unpacking process's report does not fit what it wrote.
    #[error("the unpacking process reported {reported} bytes and wrote {written}")]
    ImageLength {
        /// What it said.
        reported: u64,
        /// What there is.
        written: u64,
    },
    /// It could not be fetched.
    #[error("cannot fetch it")]
    Fetch(#[from] FetchFailure),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread could be started for it.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// It was not tried, because another layer failed.
    #[error("it was not tried")]
    Skipped,
}

impl ImageError {
    /// Whether the reason is that the store's volume is full.
    pub fn is_out_of_room(&self) -> bool {
        let (Self::Layer { source, .. } | Self::Tree { source, .. }) = self else { return false };
        match &**source {
            LayerError::Unpack(UnpackFailure::Layer(error)) => *error == UnpackError::NoRoom,
            LayerError::Store(error) => error.is_out_of_room(),
            LayerError::Fetch(FetchFailure::Registry(error)) => *error == FetchError::NoRoom,
            _ => false,
        }
    }
}

/// What the store has of some layers, and which it lacks.
fn looked_for(
    store: &Store,
    layers: &[LayerSource],
) -> (Vec<Result<StoredLayer, LayerError>>, Vec<usize>) {
    let mut missing = Vec::new();
    let look = |(index, layer)| match stored(store, layer) {
        Ok(Some(stored)) => Ok(stored),
        Ok(None) => {
            missing.push(index);
            Err(LayerError::Skipped)
        }
        Err(error) => Err(error),
    };
    let found = layers.iter().enumerate().map(look).collect();
    (found, missing)
}

/// The signatures of an image, where the policy asks for any: those that its registry has now, if it was asked now, and
/// else those that it had.
fn signatures(
    request: &Request<'_>,
    named: Option<&mut NamedImage>,
    store: &Store,
) -> Result<Vec<Signature>, SourceError> {
    let Reference::Registry(name) = request.reference else { return Ok(Vec::new()) };
    let wanted = request.policy.asks_for(request.reference);
    if !wanted.any() {
        return Ok(Vec::new());
    }
    let lists = match (named, request.remote) {
        (Some(named), Some(remote)) => {
            // Whoever signs an image for several platforms signs its index.
            let mut digests = vec![named.digest.clone(), named.manifest.clone()];
            digests.dedup();
            named.signatures = source::signatures::fetch(name, &digests, wanted, store, remote)?;
            named.signatures.clone()
        }
        _ => store.named(name)?.map(|known| known.signatures).unwrap_or_default(),
    };
    Ok(source::signatures::kept(&lists, store)?)
}

/// Keeps the documents of an image that came from a file; gives what its name is to mean.
fn kept(
    store: &Store,
    name: &ImageName,
    documents: Documents,
    blobs: &[(Digest, u64)],
) -> Result<NamedImage, StoreError> {
    let (config, json) = documents.config;
    store.keep_document(&config, &json)?;
    let (manifest, json) = documents.manifest.unwrap_or_else(|| {
        let written = manifest::written((&config, json.len() as u64), blobs);
        (Digest::of(Algorithm::Sha256, &written), written)
    });
    store.keep_document(&manifest, &json)?;
    Ok(NamedImage::new(name, manifest.clone(), manifest, config))
}

/// Gives an image of a registry its name, or one that came from a file the name that it is to have.
fn name(
    store: &Store,
    named: Option<NamedImage>,
    wanted: Option<(&ImageName, Documents)>,
    blobs: &[(Digest, u64)],
) -> Result<(), StoreError> {
    let named = match (named, wanted) {
        (None, Some((name, documents))) => kept(store, name, documents, blobs)?,
        (Some(named), _) => named,
        (None, None) => return Ok(()),
    };
    // Who was killed between a layer and its download has left that.
    blobs.iter().try_for_each(|(blob, _)| store.remove_download(blob))?;
    store.name(&named)
}

/// An image that was found, and what the store has of it.
#[derive(Debug)]
struct Found {
    image: ResolvedImage,
    /// What its name is to mean, where a registry was asked now.
    named: Option<NamedImage>,
    /// Its layers, as far as they are there.
    layers: Vec<Result<StoredLayer, LayerError>>,
    /// Those that are not.
    missing: Vec<usize>,
    /// What is found or made is not taken away before it is open.
    _hold: Hold,
}

/// An image that the store has whole, its layers open.
#[derive(Debug)]
pub struct AtHand(Found);

/// An image of a registry, where the store has all of it: nobody needs to be asked.
pub fn at_hand(name: &ImageName, platform: &Platform, store: &Store) -> Option<AtHand> {
    let hold = store.hold().ok()?;
    let image = source::of_store(name, platform, store).ok()??;
    let (layers, missing) = looked_for(store, &image.layers);
    let whole = missing.is_empty() && layers.iter().all(Result::is_ok);
    whole.then_some(AtHand(Found { image, named: None, layers, missing, _hold: hold }))
}

/// Makes an image ready to be run: finds it, verifies it, and unpacks what the store lacks.
///
/// # Errors
/// Any [`ImageError`]; of several layers' the first.
pub fn prepare(
    request: &Request<'_>,
    store: &Store,
    unpacker: &dyn Unpacker,
) -> Result<Image, ImageError> {
    request.policy.may_be_asked_for(request.reference).map_err(|it| request.refused(it))?;
    let hold = store.hold().map_err(|error| request.unknown(error.into()))?;
    let (image, named) =
        source::resolve(request.reference, request.platform, store, request.remote)
            .map_err(|error| request.unknown(error))?;
    let (layers, missing) = looked_for(store, &image.layers);
    complete(request, Found { image, named, layers, missing, _hold: hold }, store, unpacker)
}

/// The same of one that is at hand already.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_at_hand(
    request: &Request<'_>,
    AtHand(found): AtHand,
    store: &Store,
    unpacker: &dyn Unpacker,
) -> Result<Image, ImageError> {
    request.policy.may_be_asked_for(request.reference).map_err(|it| request.refused(it))?;
    complete(request, found, store, unpacker)
}

impl Request<'_> {
    fn unknown(&self, source: SourceError) -> ImageError {
        ImageError::Source { reference: self.reference.to_string(), source: source.into() }
    }

    fn refused(&self, source: PolicyError) -> ImageError {
        ImageError::Policy { reference: self.reference.to_string(), source }
    }
}

fn complete(
    request: &Request<'_>,
    found: Found,
    store: &Store,
    unpacker: &dyn Unpacker,
) -> Result<Image, ImageError> {
    let Found { image, mut named, layers: mut found, missing, _hold } = found;
    let ResolvedImage { config, layers, digests, documents } = image;
    let signatures =
        signatures(request, named.as_mut(), store).map_err(|error| request.unknown(error))?;
    request
        .policy
        .accepts(request.reference, &digests, &signatures)
        .map_err(|error| request.refused(error))?;
    let count = layers.len();
    let (limits, remote) = (request.limits, request.remote);
    let bench = Bench { store, unpacker, limits, remote };
    if !missing.is_empty() && found.iter().all(|f| matches!(f, Ok(_) | Err(LayerError::Skipped))) {
        let work = Work { progress: request.progress, layers: &layers, missing: &missing };
        work.run(bench, &mut found);
    }
    // A layer that was skipped is no reason: one that failed is.
    let is_reason = |result: &Result<_, LayerError>| matches!(result, Err(error) if !matches!(error, LayerError::Skipped));
    let first_reason = found.iter().position(is_reason);
    let mut ready = Vec::with_capacity(count);
    let mut blobs = Vec::with_capacity(count);
    for (index, (layer, result)) in layers.into_iter().zip(found).enumerate() {
        match result {
            Ok(StoredLayer { image, blob }) => {
                blobs.push((blob.clone(), layer.length));
                ready.push(Layer { key: LayerKey { diff_id: layer.diff_id, blob }, image });
            }
            Err(_) if first_reason.is_some_and(|first| first != index) => {}
            Err(source) => {
                let diff_id = layer.diff_id;
                let source = source.into();
                return Err(ImageError::Layer { number: index + 1, count, diff_id, source });
            }
        }
    }
    let tree = bench.tree(&ready).map_err(|source| ImageError::Tree {
        reference: request.reference.to_string(),
        source: source.into(),
    })?;
    // A name is given to what is there, whole.
    let wanted = request.name.zip(documents);
    name(store, named, wanted, &blobs).map_err(|error| request.unknown(error.into()))?;
    Ok(Image { config, layers: ready, tree })
}
