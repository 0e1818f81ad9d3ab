//! Images of registries: from the store where it has them, else from the registry, document by document.
//!
//! Owns: which of both, and that a document is what its digest says before it is read. Never does: fetch a layer.

use super::{Bytes, LayerSource, ResolvedImage, SourceError};
use crate::config::ImageConfig;
use crate::digest::{Algorithm, Digest};
use crate::fetch::{Access, Ask, FetchFailure, Line, Pull, Remote};
use crate::manifest::{self, Descriptor, Document, MAX_DOCUMENT_BYTES, Platform};
use crate::reference::name::ImageName;
use crate::store::{NamedImage, Store, StoreError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

const MAX_INDEX_DEPTH: usize = 4;

/// Finds an image of a registry. Gives also what its name is to mean, where that was asked of the registry now.
pub(super) fn resolve(
    name: &ImageName,
    wanted: &Platform,
    store: &Store,
    remote: Option<Remote<'_>>,
) -> Result<(ResolvedImage, Option<NamedImage>), SourceError> {
    let pull = remote.map_or(Pull::Never, |remote| remote.pull);
    if pull != Pull::Always
        && let Some(image) = of_store(name, wanted, store)?
    {
        return Ok((image, None));
    }
    let Some(remote) = remote.filter(|_| pull != Pull::Never) else {
        return Err(SourceError::NotPulled(name.to_string()));
    };
    let mut failed = Vec::new();
    for access in remote.places {
        let asked = remote
            .fetcher
            .open(access)
            .map_err(SourceError::of_fetch(access))
            .and_then(|line| Asking { name, access, line, store, wanted }.resolve());
        match asked {
            Ok((image, named)) => return Ok((image, Some(named))),
            Err(error) => failed.push(error),
        }
    }
    // The image's own registry is asked last: what it says counts.
    Err(failed.pop().unwrap_or_else(|| SourceError::NotPulled(name.to_string())))
}

/// An image that the store knows by name, and has the documents of.
pub(crate) fn of_store(
    name: &ImageName,
    wanted: &Platform,
    store: &Store,
) -> Result<Option<ResolvedImage>, SourceError> {
    let Some(known) = store.named(name)? else { return Ok(None) };
    let Some(json) = store.document(&known.manifest)? else { return Ok(None) };
    let at = || known.name.clone().into();
    let Document::Manifest { config, layers } =
        Document::parse(&json).map_err(|source| SourceError::Manifest { path: at(), source })?
    else {
        return Ok(None);
    };
    let Some(json) = store.document(&config.digest)? else { return Ok(None) };
    // A name's file may say anything: what an index was called counts where the index says it too.
    let mut digests = vec![known.manifest.clone(), config.digest.clone()];
    if known.digest != known.manifest
        && let Some(json) = store.document(&known.digest)?
        && let Ok(Document::Index(entries)) = Document::parse(&json)
        && entries.iter().any(|entry| entry.digest == known.manifest)
    {
        digests.push(known.digest);
    }
    image_of(name, &json, &layers, wanted, digests).map(Some)
}

fn image_of(
    name: &ImageName,
    config: &[u8],
    layers: &[Descriptor],
    wanted: &Platform,
    digests: Vec<Digest>,
) -> Result<ResolvedImage, SourceError> {
    let path = || name.to_string().into();
    let (config, diff_ids) = ImageConfig::parse(config, wanted)
        .map_err(|source| SourceError::Config { path: path(), source })?;
    if layers.len() != diff_ids.len() {
        let (layers, diff_ids) = (layers.len(), diff_ids.len());
        return Err(SourceError::LayerCount { path: path(), layers, diff_ids });
    }
    let layers = layers.iter().zip(diff_ids).map(|(layer, diff_id)| LayerSource {
        bytes: Bytes::Registry { blob: layer.digest.clone() },
        length: layer.size,
        blob: Some(layer.digest.clone()),
        diff_id,
    });
    Ok(ResolvedImage { config, layers: layers.collect(), digests, documents: None })
}

/// One place being asked for one image.
pub(super) struct Asking<'a> {
    pub(super) name: &'a ImageName,
    pub(super) access: &'a Access,
    pub(super) line: Box<dyn Line>,
    pub(super) store: &'a Store,
    pub(super) wanted: &'a Platform,
}

impl Asking<'_> {
    fn resolve(mut self) -> Result<(ResolvedImage, NamedImage), SourceError> {
        let (top, mut json) = self.top()?;
        let mut manifest = top.clone();
        for _ in 0..=MAX_INDEX_DEPTH {
            let parsed = Document::parse(&json);
            match parsed.map_err(|source| SourceError::Manifest { path: self.path(), source })? {
                Document::Index(entries) => {
                    let entries: Vec<&Descriptor> = entries.iter().collect();
                    let chosen = manifest::choose(&entries, self.wanted)
                        .map_err(|source| SourceError::Manifest { path: self.path(), source })?;
                    manifest = chosen.digest.clone();
                    let (version, limit) = (manifest.to_string(), MAX_DOCUMENT_BYTES);
                    json = self.document(&Ask::Manifest { version, limit }, &manifest)?;
                }
                Document::Manifest { config, layers } => {
                    let (digest, length) = (config.digest.clone(), config.size);
                    if length > MAX_DOCUMENT_BYTES {
                        return Err(self.too_long(length));
                    }
                    let json = match self.store.document(&digest)? {
                        Some(json) => json,
                        None => self.document(
                            &Ask::Blob { digest: digest.clone(), from: 0, length },
                            &digest,
                        )?,
                    };
                    let digests = vec![top.clone(), manifest.clone(), digest.clone()];
                    let image = image_of(self.name, &json, &layers, self.wanted, digests)?;
                    return Ok((image, NamedImage::new(self.name, top, manifest, digest)));
                }
            }
        }
        Err(SourceError::TooDeep(self.path()))
    }

    /// What the name means: its digest, where the user named none, is the one that its bytes have.
    fn top(&mut self) -> Result<(Digest, Vec<u8>), SourceError> {
        let ask = Ask::Manifest { version: self.name.version(), limit: MAX_DOCUMENT_BYTES };
        match self.name.digest() {
            Some(digest) => Ok((digest.clone(), self.document(&ask, digest)?)),
            None => self.newest(&ask),
        }
    }

    /// A document by whatever digest it has now, which is in the store from now on.
    pub(super) fn newest(&mut self, ask: &Ask) -> Result<(Digest, Vec<u8>), SourceError> {
        let json = self.ask(ask)?;
        let digest = Digest::of(Algorithm::Sha256, &json);
        self.store.keep_document(&digest, &json)?;
        Ok((digest, json))
    }

    /// A document that has this digest, and is in the store from now on.
    pub(super) fn document(
        &mut self,
        ask: &Ask,
        expected: &Digest,
    ) -> Result<Vec<u8>, SourceError> {
        let bytes = self.ask(ask)?;
        let found = Digest::of(expected.algorithm(), &bytes);
        if found != *expected {
            let expected = expected.clone();
            return Err(SourceError::Digest { path: self.path(), expected, found });
        }
        self.store.keep_document(expected, &bytes)?;
        Ok(bytes)
    }

    fn ask(&mut self, ask: &Ask) -> Result<Vec<u8>, SourceError> {
        let scratch = self.store.scratch()?;
        let file = scratch.file();
        let mut attempts = 3;
        loop {
            attempts -= 1;
            match self.line.ask(ask, file, &AtomicBool::new(false)) {
                Ok(fetched) => return self.read(file, fetched.length),
                Err(failure) if failure.is_passing() && attempts > 0 => {
                    std::thread::sleep(std::time::Duration::from_millis(500));
                }
                Err(failure) => return Err(SourceError::of_fetch(self.access)(failure)),
            }
        }
    }

    fn read(&self, file: &File, length: u64) -> Result<Vec<u8>, SourceError> {
        let read = |source| SourceError::Read { path: self.path(), source };
        if length > MAX_DOCUMENT_BYTES {
            return Err(self.too_long(length));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0).map_err(read)?;
        Ok(bytes)
    }

    fn path(&self) -> std::path::PathBuf {
        self.name.to_string().into()
    }

    fn too_long(&self, found: u64) -> SourceError {
        SourceError::Size {
            path: self.path(),
            name: crate::layer::Quoted::new(b"a document"),
            expected: MAX_DOCUMENT_BYTES,
            found,
        }
    }
}

impl SourceError {
    pub(super) fn of_fetch(access: &Access) -> impl FnOnce(FetchFailure) -> Self {
        let host = access.host.clone();
        move |source| Self::Fetch { host, source: Box::new(source) }
    }
}

impl From<StoreError> for SourceError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}
