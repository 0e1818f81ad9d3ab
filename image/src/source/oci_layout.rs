//! OCI image layouts (OCI image specification 1.1, image-layout.md), in a directory or a tar file.

use super::file::{open_regular, read_exact};
use super::{Bytes, Documents, LayerSource, ResolvedImage, SourceError, list};
use crate::archive::{ArchiveError, Index};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::layer::Quoted;
use crate::manifest::{self, Descriptor, Document, MAX_DOCUMENT_BYTES, ManifestError, Platform};
use crate::reference::Selector;
use std::fs::File;
use std::path::{Path, PathBuf};

const MAX_INDEX_DEPTH: usize = 4;

/// A layout.
pub(super) struct Layout {
    path: PathBuf,
    keeping: Keeping,
}

enum Keeping {
    Directory,
    Archive(File, Index),
}

/// Where something lies.
struct Place {
    path: PathBuf,
    offset: u64,
    /// Known for what lies in an archive.
    length: Option<u64>,
}

impl Layout {
    pub(super) fn directory(path: &Path) -> Self {
        Self { path: path.to_owned(), keeping: Keeping::Directory }
    }

    pub(super) fn archive(path: &Path) -> Result<Self, SourceError> {
        let (file, _) = open_regular(path)?;
        let index = Index::read(&file)
            .map_err(|source| SourceError::Archive { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), keeping: Keeping::Archive(file, index) })
    }

    pub(super) fn resolve(
        &self,
        selector: &Selector,
        wanted: &Platform,
    ) -> Result<ResolvedImage, SourceError> {
        let Document::Index(top) = self.parse(&self.index()?)? else {
            return Err(self.manifest_error(ManifestError::Ambiguous));
        };
        let mut descriptor = self.select(&top, selector, wanted)?.clone();
        let mut digests = vec![descriptor.digest.clone()];
        for _ in 0..=MAX_INDEX_DEPTH {
            let json = self.document(&descriptor)?;
            match self.parse(&json)? {
                Document::Index(inner) => {
                    let inner: Vec<&Descriptor> = inner.iter().collect();
                    let chosen = manifest::choose(&inner, wanted);
                    descriptor = chosen.map_err(|error| self.manifest_error(error))?.clone();
                    digests.push(descriptor.digest.clone());
                }
                Document::Manifest { config, layers } => {
                    digests.push(config.digest.clone());
                    let manifest = (descriptor.digest, json);
                    return self.image(manifest, &config, &layers, wanted, digests);
                }
            }
        }
        Err(SourceError::TooDeep(self.path.clone()))
    }

    fn image(
        &self,
        manifest: (Digest, Vec<u8>),
        config: &Descriptor,
        layers: &[Descriptor],
        wanted: &Platform,
        digests: Vec<Digest>,
    ) -> Result<ResolvedImage, SourceError> {
        let json = self.document(config)?;
        let config_digest = config.digest.clone();
        let (config, diff_ids) = ImageConfig::parse(&json, wanted)
            .map_err(|source| SourceError::Config { path: self.path.clone(), source })?;
        if layers.len() != diff_ids.len() {
            let (layers, diff_ids) = (layers.len(), diff_ids.len());
            return Err(SourceError::LayerCount { path: self.path.clone(), layers, diff_ids });
        }
        let layers = layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
            let place = self.place(&blob_name(&layer.digest))?;
            if let Some(found) = place.length.filter(|&length| length != layer.size) {
                return Err(self.size_error(&layer.digest.to_string(), layer.size, found));
            }
            let whole_file = place.length.is_none();
            let bytes = Bytes::File { path: place.path, offset: place.offset, whole_file };
            Ok(LayerSource { bytes, length: layer.size, blob: Some(layer.digest.clone()), diff_id })
        });
        let layers = layers.collect::<Result<_, _>>()?;
        let documents = Documents { manifest: Some(manifest), config: (config_digest, json) };
        Ok(ResolvedImage { config, layers, digests, documents: Some(documents) })
    }

    fn select<'a>(
        &self,
        top: &'a [Descriptor],
        selector: &Selector,
        wanted: &Platform,
    ) -> Result<&'a Descriptor, SourceError> {
        let names = || list(top.iter().filter_map(Descriptor::ref_name));
        let several = |found: String| Err(SourceError::Several { path: self.path.clone(), found });
        let none = |name: String| SourceError::NoSuchImage {
            path: self.path.clone(),
            name,
            found: names(),
        };
        let candidates: Vec<&Descriptor> = match selector {
            Selector::Only => top.iter().collect(),
            Selector::Name(name) => {
                top.iter().filter(|d| d.ref_name() == Some(name.as_str())).collect()
            }
            Selector::Digest(digest) => {
                let found = top.iter().find(|d| d.digest == *digest);
                return found.ok_or_else(|| none(digest.to_string()));
            }
        };
        match (candidates.split_first(), selector) {
            (None, Selector::Name(name)) => return Err(none(name.clone())),
            (None, _) => return Err(SourceError::Empty(self.path.clone())),
            (Some((first, rest)), _) => {
                if rest.iter().any(|other| other.ref_name() != first.ref_name()) {
                    return several(names());
                }
                if rest.is_empty() {
                    return Ok(first);
                }
            }
        }
        let chosen =
            manifest::choose(&candidates, wanted).map_err(|error| self.manifest_error(error))?;
        let rivals: Vec<String> = candidates
            .iter()
            .filter(|other| other.has_platform_of(chosen))
            .map(|other| format!("@{}", other.digest))
            .collect();
        if rivals.iter().any(|rival| Some(rival) != rivals.first()) {
            return several(list(rivals.iter().map(String::as_str)));
        }
        Ok(chosen)
    }

    fn index(&self) -> Result<Vec<u8>, SourceError> {
        let place = match self.place("index.json") {
            Err(SourceError::Archive { source: ArchiveError::Missing(_), .. }) => {
                return Err(SourceError::NoLayout(self.path.clone()));
            }
            other => other?,
        };
        match self.read(&place, "index.json", None) {
            Err(SourceError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && self.path.is_dir() =>
            {
                Err(SourceError::NoLayout(self.path.clone()))
            }
            Err(SourceError::Read { source, .. }) => {
                Err(SourceError::Read { path: self.path.clone(), source })
            }
            other => other,
        }
    }

    /// An index, manifest or configuration, verified.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let expected = &descriptor.digest;
        let place = self.place(&blob_name(expected))?;
        let bytes = self.read(&place, &expected.to_string(), Some(descriptor.size))?;
        let found = Digest::of(expected.algorithm(), &bytes);
        if found != *expected {
            let expected = expected.clone();
            return Err(SourceError::Digest { path: self.path.clone(), expected, found });
        }
        Ok(bytes)
    }

    fn place(&self, name: &str) -> Result<Place, SourceError> {
        match &self.keeping {
            Keeping::Directory => Ok(Place { path: self.path.join(name), offset: 0, length: None }),
            Keeping::Archive(_, index) => {
                let extent = index
                    .find(name)
                    .map_err(|source| SourceError::Archive { path: self.path.clone(), source })?;
                let length = Some(extent.length);
                Ok(Place { path: self.path.clone(), offset: extent.offset, length })
            }
        }
    }

    fn read(
        &self,
        place: &Place,
        name: &str,
        expected: Option<u64>,
    ) -> Result<Vec<u8>, SourceError> {
        let opened;
        let (file, found) = match (&self.keeping, place.length) {
            (Keeping::Archive(file, _), Some(length)) => (file, length),
            _ => {
                opened = open_regular(&place.path)?;
                (&opened.0, opened.1)
            }
        };
        let as_said = expected.is_none_or(|expected| expected == found);
        if !as_said || found > MAX_DOCUMENT_BYTES {
            return Err(self.size_error(name, expected.unwrap_or(MAX_DOCUMENT_BYTES), found));
        }
        read_exact(file, &place.path, place.offset, found)
    }

    fn parse(&self, json: &[u8]) -> Result<Document, SourceError> {
        Document::parse(json).map_err(|error| self.manifest_error(error))
    }

    fn manifest_error(&self, source: ManifestError) -> SourceError {
        SourceError::Manifest { path: self.path.clone(), source }
    }

    fn size_error(&self, name: &str, expected: u64, found: u64) -> SourceError {
        let name = Quoted::new(name.as_bytes());
        SourceError::Size { path: self.path.clone(), name, expected, found }
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
