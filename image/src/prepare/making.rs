//! The making of one layer: its bytes found or fetched, unpacked elsewhere, hashed here, and put into the store.
//!
//! Owns: every comparison of a layer's digest with what was promised.

use super::{LayerError, Phase, UnpackFailure, Unpacker};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::fetch::Remote;
use crate::layer::{Limits, Quoted, UnpackError, UnpackJob, UnpackReport};
use crate::source::{self, Bytes, LayerSource, SourceError};
use crate::store::{Download, LayerKey, NewLayer, Store, StoredLayer, Stretch};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;

const HASH_BUFFER_BYTES: usize = 256 << 10;

/// What a thread needs: nothing that belongs to the calling one.
#[derive(Clone, Copy)]
pub(super) struct Bench<'a> {
    pub(super) store: &'a Store,
    pub(super) unpacker: &'a dyn Unpacker,
    pub(super) limits: &'a Limits,
    pub(super) remote: Option<Remote<'a>>,
}

/// A layer's bytes, to be read.
#[derive(Clone, Copy)]
struct Input<'a> {
    file: &'a File,
    offset: u64,
    length: u64,
}

/// Is told what is worked at now, and by which file it can be seen how far.
pub(super) type Began<'a> = &'a dyn Fn(Phase, &File);

impl Bench<'_> {
    /// Makes one layer, or waits for whoever is making it.
    pub(super) fn make(
        &self,
        layer: &LayerSource,
        stop: &AtomicBool,
        began: Began<'_>,
    ) -> Result<StoredLayer, LayerError> {
        match &layer.bytes {
            Bytes::File { path, offset, whole_file } => {
                let file = open(layer, path, *offset, *whole_file)?;
                let input = Input { file: &file, offset: *offset, length: layer.length };
                began(Phase::Unpacking, &file);
                // What nothing verified names must be read to be named.
                let blob = match layer.blob.clone() {
                    Some(blob) => blob,
                    None => self.name(layer, input)?,
                };
                let key = LayerKey { diff_id: layer.diff_id.clone(), blob };
                let lock = self.store.lock(&key)?;
                if let Some(stored) = self.store.find(&key)? {
                    return Ok(stored);
                }
                self.unpack(key, input, lock.create()?)
            }
            Bytes::Registry { blob } => {
                let key = LayerKey { diff_id: layer.diff_id.clone(), blob: blob.clone() };
                let lock = self.store.lock(&key)?;
                if let Some(stored) = self.store.find(&key)? {
                    return Ok(stored);
                }
                let download = self.download(blob, layer.length, stop, began)?;
                let input = Input { file: download.file(), offset: 0, length: layer.length };
                began(Phase::Unpacking, download.file());
                let made = self.unpack(key, input, lock.create()?);
                self.put_away(download, &made)?;
                made
            }
        }
    }

    /// What was fetched is kept for another attempt where another may go better.
    fn put_away(
        &self,
        download: Download,
        made: &Result<StoredLayer, LayerError>,
    ) -> Result<(), LayerError> {
        let of_no_use = match made {
            Ok(_) | Err(LayerError::BlobDigest { .. } | LayerError::DiffId { .. }) => true,
            Err(LayerError::Unpack(UnpackFailure::Layer(error))) => *error != UnpackError::NoRoom,
            Err(_) => false,
        };
        if of_no_use { Ok(download.remove()?) } else { Ok(()) }
    }

    fn unpack(
        &self,
        key: LayerKey,
        input: Input<'_>,
        new: NewLayer<'_>,
    ) -> Result<StoredLayer, LayerError> {
        let (found, report) = self.unpack_and_hash(&key, input, new.file())?;
        let expected = key.blob;
        // Wrong bytes explain whatever else went wrong with them.
        if found != expected {
            return Err(LayerError::BlobDigest { expected, found });
        }
        if matches!(report, Err(UnpackFailure::Layer(UnpackError::NoRoom))) {
            self.store.is_full_by_its_volume()?;
        }
        let report = report?;
        if report.diff_id != key.diff_id {
            let (expected, found) = (key.diff_id, report.diff_id);
            return Err(LayerError::DiffId { expected, found });
        }
        self.store.may_take(whole(report.image_bytes, new.file())?)?;
        Ok(new.publish()?)
    }

    /// Reads a layer that nothing names, and records its name for later runs.
    fn name(&self, layer: &LayerSource, input: Input<'_>) -> Result<Digest, LayerError> {
        let before = input.stretch()?;
        let blob = input.digest(layer.diff_id.algorithm())?;
        if input.stretch()? == before {
            self.store.record(&before, &blob)?;
        }
        Ok(blob)
    }

    /// Has the layer unpacked, and hashes its bytes meanwhile.
    fn unpack_and_hash(
        &self,
        key: &LayerKey,
        input: Input<'_>,
        output: &File,
    ) -> Result<(Digest, Result<UnpackReport, UnpackFailure>), LayerError> {
        let mut limits = self.limits.clone();
        limits.written_bytes = limits.written_bytes.min(self.store.room_bytes()?);
        let diff_algorithm = key.diff_id.algorithm();
        let Input { file, offset, length } = input;
        let job = UnpackJob { offset, length, diff_algorithm, limits };
        let mut blob = Err(LayerError::Skipped);
        let report = thread::scope(|scope| {
            let hash = || blob = input.digest(key.blob.algorithm());
            thread::Builder::new().spawn_scoped(scope, hash).map_err(LayerError::Thread)?;
            Ok::<_, LayerError>(self.unpacker.unpack(&job, file, output))
        })?;
        Ok((blob?, report))
    }
}

/// Opens the file that a layer lies in, which must be as long as was said.
fn open(
    layer: &LayerSource,
    path: &Path,
    offset: u64,
    whole_file: bool,
) -> Result<File, LayerError> {
    let (file, file_bytes) = source::open_regular(path)?;
    let end = offset.checked_add(layer.length);
    let too_short = end.is_none_or(|end| end > file_bytes);
    if too_short || (whole_file && layer.length != file_bytes) {
        return Err(LayerError::Source(SourceError::Size {
            path: path.to_owned(),
            name: Quoted::new(layer.diff_id.to_string().as_bytes()),
            expected: layer.length,
            found: file_bytes.saturating_sub(offset),
        }));
    }
    Ok(file)
}

/// A layer that the store has under a name that is known without reading it.
pub(super) fn stored(
    store: &Store,
    layer: &LayerSource,
) -> Result<Option<StoredLayer>, LayerError> {
    let blob = match (&layer.bytes, &layer.blob) {
        (Bytes::Registry { blob }, _) | (_, Some(blob)) => Some(blob.clone()),
        (Bytes::File { path, offset, .. }, None) => {
            let (file, _) = source::open_regular(path)?;
            let input = Input { file: &file, offset: *offset, length: layer.length };
            store.recorded(&input.stretch()?)?
        }
    };
    let Some(blob) = blob else { return Ok(None) };
    Ok(store.find(&LayerKey { diff_id: layer.diff_id.clone(), blob })?)
}

/// How long the image in a file is, which must be as long as whoever wrote it reported.
pub(super) fn whole(reported: u64, file: &File) -> Result<u64, LayerError> {
    let written = file.metadata().map_err(LayerError::Read)?.len();
    if written != reported || written == 0 || !written.is_multiple_of(4096) {
        return Err(LayerError::ImageLength { reported, written });
    }
    Ok(written)
}

impl Input<'_> {
    /// The bytes in the state in which they are now.
    fn stretch(&self) -> Result<Stretch, LayerError> {
        let metadata = self.file.metadata().map_err(LayerError::Read)?;
        Ok(Stretch::of(&metadata, self.offset, self.length))
    }

    /// Their digest. Leaves the file position alone.
    fn digest(&self, algorithm: Algorithm) -> Result<Digest, LayerError> {
        let mut hasher = Hasher::new(algorithm);
        let mut buffer = vec![0; HASH_BUFFER_BYTES];
        let (mut at, mut left) = (self.offset, self.length);
        loop {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let room = buffer.get_mut(..most).unwrap_or(&mut []);
            let count = self.file.read_at(room, at).map_err(LayerError::Read)?;
            if count == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(room.get(..count).unwrap_or(&[]));
            at += count as u64;
            left -= count as u64;
        }
    }
}
