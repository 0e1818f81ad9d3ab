//! From a reference to an image whose layers are in the store, verified.
//!
//! Owns: the order of things, and every comparison of a digest with what was promised. Never does:
//! parse a layer. Layers are unpacked several at a time, each by the caller's [`Unpacker`], while a
//! thread here hashes the same bytes.

use crate::config::ImageConfig;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::layer::{Limits, Quoted, UnpackError, UnpackJob, UnpackReport};
use crate::manifest::Platform;
use crate::reference::Reference;
use crate::source::{self, LayerSource, ResolvedImage, SourceError};
use crate::store::{LayerKey, Store, StoreError, StoredLayer, Stretch};
use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

#[cfg(test)]
mod tests;

const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
const HASH_BUFFER_BYTES: usize = 256 << 10;

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
    /// Is told how far it is, from the calling thread, several times a second. Not called where nothing
    /// has to be done.
    pub progress: &'a dyn Fn(LayerProgress),
}

/// How far a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerProgress {
    /// Which layer, from 0.
    pub index: usize,
    /// Of how many.
    pub count: usize,
    /// Bytes read of it.
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
}

/// A layer, unpacked and verified.
#[derive(Debug)]
pub struct Layer {
    /// The digest of its uncompressed archive.
    pub diff_id: Digest,
    /// Its EROFS image, open for reading.
    pub file: File,
    /// How long that is, in bytes: a multiple of 4096.
    pub length: u64,
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
        let Self::Layer { source, .. } = self else { return false };
        match &**source {
            LayerError::Unpack(UnpackFailure::Layer(error)) => *error == UnpackError::NoRoom,
            LayerError::Store(error) => error.is_out_of_room(),
            _ => false,
        }
    }
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
    let ResolvedImage { config, layers } =
        source::resolve(request.reference, request.platform).map_err(|source| {
            ImageError::Source { reference: request.reference.to_string(), source: source.into() }
        })?;
    let count = layers.len();
    let mut found: Vec<Result<StoredLayer, LayerError>> = Vec::with_capacity(count);
    let mut missing = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        found.push(match stored(store, layer) {
            Ok(Some(stored)) => Ok(stored),
            Ok(None) => {
                missing.push(index);
                Err(LayerError::Skipped)
            }
            Err(error) => Err(error),
        });
    }
    if !missing.is_empty() && found.iter().all(|f| matches!(f, Ok(_) | Err(LayerError::Skipped))) {
        let bench = Bench { store, unpacker, limits: request.limits };
        let work = Work { progress: request.progress, layers: &layers, missing: &missing };
        work.run(bench, &mut found);
    }
    // A layer that was skipped is no reason: one that failed is.
    let is_reason = |result: &Result<_, LayerError>| matches!(result, Err(error) if !matches!(error, LayerError::Skipped));
    let first_reason = found.iter().position(is_reason);
    let mut ready = Vec::with_capacity(count);
    for (index, (layer, result)) in layers.into_iter().zip(found).enumerate() {
        match result {
            Ok(StoredLayer { file, length }) => {
                ready.push(Layer { diff_id: layer.diff_id, file, length });
            }
            Err(_) if first_reason.is_some_and(|first| first != index) => {}
            Err(source) => {
                let diff_id = layer.diff_id;
                let source = source.into();
                return Err(ImageError::Layer { number: index + 1, count, diff_id, source });
            }
        }
    }
    Ok(Image { config, layers: ready })
}

/// A layer that the store has under a name that is known without reading it.
fn stored(store: &Store, layer: &LayerSource) -> Result<Option<StoredLayer>, LayerError> {
    let blob = match layer.blob.clone() {
        Some(blob) => Some(blob),
        None => {
            let (file, _) = source::open_regular(&layer.path)?;
            store.recorded(&stretch(layer, &file)?)?
        }
    };
    let Some(blob) = blob else { return Ok(None) };
    Ok(store.find(&LayerKey { diff_id: layer.diff_id.clone(), blob })?)
}

/// A layer's bytes in the state in which they are now.
fn stretch(layer: &LayerSource, file: &File) -> Result<Stretch, LayerError> {
    let metadata = file.metadata().map_err(LayerError::Read)?;
    Ok(Stretch::of(&metadata, layer.offset, layer.length))
}

/// What is to be done, as the calling thread sees it.
struct Work<'a> {
    progress: &'a dyn Fn(LayerProgress),
    layers: &'a [LayerSource],
    missing: &'a [usize],
}

/// What a thread tells.
enum Event {
    Started(usize, File),
    Ended(usize, Box<Result<StoredLayer, LayerError>>),
}

/// What a thread needs: nothing that belongs to the calling one.
#[derive(Clone, Copy)]
struct Bench<'a> {
    store: &'a Store,
    unpacker: &'a dyn Unpacker,
    limits: &'a Limits,
}

impl Work<'_> {
    fn run(&self, bench: Bench<'_>, found: &mut [Result<StoredLayer, LayerError>]) {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let (layers, missing) = (self.layers, self.missing);
        thread::scope(|scope| {
            let (events, told) = channel();
            for number in 0..cpus.min(missing.len()) {
                let (events, next, stop) = (events.clone(), &next, &stop);
                let spawned = thread::Builder::new().spawn_scoped(scope, move || {
                    while !stop.load(Ordering::Relaxed)
                        && let Some(&index) = missing.get(next.fetch_add(1, Ordering::Relaxed))
                        && let Some(layer) = layers.get(index)
                    {
                        let result = bench.make(layer, &|input| {
                            if let Ok(file) = input.try_clone() {
                                let _ = events.send(Event::Started(index, file));
                            }
                        });
                        if result.is_err() {
                            stop.store(true, Ordering::Relaxed);
                        }
                        let _ = events.send(Event::Ended(index, Box::new(result)));
                    }
                });
                // Fewer threads do as well, but none does nothing.
                if let Err(error) = spawned {
                    let first = missing.first().and_then(|&index| found.get_mut(index));
                    if let Some(slot) = first.filter(|_| number == 0) {
                        *slot = Err(LayerError::Thread(error));
                    }
                    break;
                }
            }
            drop(events);
            self.watch(&told, found);
        });
    }

    /// Tells of progress until all threads have ended.
    fn watch(&self, told: &Receiver<Event>, found: &mut [Result<StoredLayer, LayerError>]) {
        let mut running: Vec<(usize, File)> = Vec::new();
        loop {
            match told.recv_timeout(PROGRESS_INTERVAL) {
                Ok(Event::Started(index, file)) => {
                    self.tell(index, 0);
                    running.push((index, file));
                }
                Ok(Event::Ended(index, result)) => {
                    running.retain(|(other, _)| *other != index);
                    if result.is_ok() {
                        self.tell(index, u64::MAX);
                    }
                    if let Some(slot) = found.get_mut(index) {
                        *slot = *result;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    for (index, file) in &running {
                        let offset = self.layers.get(*index).map_or(0, |layer| layer.offset);
                        let at = rustix::fs::tell(file).unwrap_or(0);
                        self.tell(*index, at.saturating_sub(offset));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tell(&self, index: usize, done_bytes: u64) {
        let total_bytes = self.layers.get(index).map_or(0, |layer| layer.length);
        let count = self.layers.len();
        let done_bytes = done_bytes.min(total_bytes);
        (self.progress)(LayerProgress { index, count, done_bytes, total_bytes });
    }
}

impl Bench<'_> {
    /// Makes one layer, or waits for whoever is making it.
    fn make(
        &self,
        layer: &LayerSource,
        started: &dyn Fn(&File),
    ) -> Result<StoredLayer, LayerError> {
        let (input, file_bytes) = source::open_regular(&layer.path)?;
        let end = layer.offset.checked_add(layer.length);
        let too_short = end.is_none_or(|end| end > file_bytes);
        if too_short || (layer.whole_file && layer.length != file_bytes) {
            return Err(LayerError::Source(SourceError::Size {
                path: layer.path.clone(),
                name: Quoted::new(layer.diff_id.to_string().as_bytes()),
                expected: layer.length,
                found: file_bytes.saturating_sub(layer.offset),
            }));
        }
        started(&input);
        // What nothing verified names must be read to be named.
        let blob = match layer.blob.clone() {
            Some(blob) => blob,
            None => self.name(layer, &input)?,
        };
        let key = LayerKey { diff_id: layer.diff_id.clone(), blob };
        let lock = self.store.lock(&key)?;
        if let Some(stored) = self.store.find(&key)? {
            return Ok(stored);
        }
        let new = lock.create()?;
        let (found, report) = self.unpack_and_hash(layer, &key, &input, new.file())?;
        let expected = key.blob;
        // Wrong bytes explain whatever else went wrong with them.
        if found != expected {
            return Err(LayerError::BlobDigest { expected, found });
        }
        let report = report?;
        if report.diff_id != key.diff_id {
            let (expected, found) = (key.diff_id, report.diff_id);
            return Err(LayerError::DiffId { expected, found });
        }
        let written = new.file().metadata().map_err(LayerError::Read)?.len();
        let reported = report.image_bytes;
        if written != reported || written == 0 || !written.is_multiple_of(4096) {
            return Err(LayerError::ImageLength { reported, written });
        }
        Ok(new.publish()?)
    }

    /// Reads a layer that nothing names, and records its name for later runs.
    fn name(&self, layer: &LayerSource, input: &File) -> Result<Digest, LayerError> {
        let before = stretch(layer, input)?;
        let blob = blob_digest(layer, input, layer.diff_id.algorithm())?;
        if stretch(layer, input)? == before {
            self.store.record(&before, &blob)?;
        }
        Ok(blob)
    }

    /// Has the layer unpacked, and hashes its bytes meanwhile.
    fn unpack_and_hash(
        &self,
        layer: &LayerSource,
        key: &LayerKey,
        input: &File,
        output: &File,
    ) -> Result<(Digest, Result<UnpackReport, UnpackFailure>), LayerError> {
        let mut limits = self.limits.clone();
        limits.written_bytes = limits.written_bytes.min(self.store.room_bytes()?);
        let diff_algorithm = key.diff_id.algorithm();
        let (offset, length) = (layer.offset, layer.length);
        let job = UnpackJob { offset, length, diff_algorithm, limits };
        let mut blob = Err(LayerError::Skipped);
        let report = thread::scope(|scope| {
            let hash = || blob = blob_digest(layer, input, key.blob.algorithm());
            thread::Builder::new().spawn_scoped(scope, hash).map_err(LayerError::Thread)?;
            Ok::<_, LayerError>(self.unpacker.unpack(&job, input, output))
        })?;
        Ok((blob?, report))
    }
}

/// The digest of a layer's bytes. Leaves the file position alone.
fn blob_digest(
    layer: &LayerSource,
    file: &File,
    algorithm: Algorithm,
) -> Result<Digest, LayerError> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    let (mut at, mut left) = (layer.offset, layer.length);
    loop {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let room = buffer.get_mut(..most).unwrap_or(&mut []);
        let count = file.read_at(room, at).map_err(LayerError::Read)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(room.get(..count).unwrap_or(&[]));
        at += count as u64;
        left -= count as u64;
    }
}
