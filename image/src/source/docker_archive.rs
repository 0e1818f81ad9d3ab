//! What `docker save`, `podman save` and skopeo's `docker-archive:` write: a tar file with a
//! `manifest.json`, configurations, and layers, which may lie there uncompressed or not.

use super::file::{open_regular, read_exact};
use super::{Bytes, Documents, LayerSource, ResolvedImage, SourceError, list};
use crate::archive::{ArchiveError, Extent, Index};
use crate::config::ImageConfig;
use crate::digest::{Algorithm, Digest};
use crate::layer::{Compression, Quoted};
use crate::manifest::{self, DockerImage, MAX_DOCUMENT_BYTES, Platform};
use crate::reference::normalise_docker_name;
use std::fs::File;
use std::path::Path;

pub(super) fn resolve(
    path: &Path,
    name: Option<&str>,
    wanted: &Platform,
) -> Result<ResolvedImage, SourceError> {
    let (file, _) = open_regular(path)?;
    let archive_error =
        |source: ArchiveError| SourceError::Archive { path: path.to_owned(), source };
    let index = Index::read(&file).map_err(archive_error)?;
    let find = |name: &str| index.find(name).map_err(archive_error);
    let json = archive_document(&file, path, &index, "manifest.json")?;
    let images = manifest::parse_docker_archive(&json)
        .map_err(|source| SourceError::Manifest { path: path.to_owned(), source })?;
    let image = select(path, &images, name)?;

    let config = document(&file, path, &image.config, find(&image.config)?)?;
    check_name(path, &image.config, &config)?;
    let digest = Digest::of(Algorithm::Sha256, &config);
    let digests = vec![digest.clone()];
    let documents = Some(Documents { manifest: None, config: (digest, config) });
    let json = documents.as_ref().map_or(&[][..], |it| &it.config.1);
    let (config, diff_ids) = ImageConfig::parse(json, wanted)
        .map_err(|source| SourceError::Config { path: path.to_owned(), source })?;
    let names = image.layers.as_deref().unwrap_or(&[]);
    if names.len() != diff_ids.len() {
        let (layers, diff_ids) = (names.len(), diff_ids.len());
        return Err(SourceError::LayerCount { path: path.to_owned(), layers, diff_ids });
    }
    let layers = names.iter().zip(diff_ids).map(|(name, diff_id)| {
        let Extent { offset, length } = find(name)?;
        let begin_bytes = length.min(Compression::MAGIC_BYTES as u64);
        let begin = read_exact(&file, path, offset, begin_bytes)?;
        // Bytes that are not compressed are the archive that the diff ID is of.
        let plain = Compression::of(&begin) == Some(Compression::None);
        let blob = plain.then(|| diff_id.clone());
        let path = path.to_owned();
        let bytes = Bytes::File { path, offset, whole_file: false };
        Ok::<_, SourceError>(LayerSource { bytes, length, blob, diff_id })
    });
    let layers = layers.collect::<Result<_, _>>()?;
    Ok(ResolvedImage { config, layers, digests, documents })
}

/// Who saves an image names its configuration by its digest. Where the name is one, it is to be that.
fn check_name(path: &Path, name: &str, config: &[u8]) -> Result<(), SourceError> {
    let hex = name.strip_suffix(".json").or_else(|| name.strip_prefix("blobs/sha256/"));
    let expected = hex.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
    let found = Digest::of(Algorithm::Sha256, config);
    match expected {
        Some(expected) if expected != found => {
            Err(SourceError::Digest { path: path.to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

fn select<'a>(
    path: &Path,
    images: &'a [DockerImage],
    name: Option<&str>,
) -> Result<&'a DockerImage, SourceError> {
    let tags = |image: &'a DockerImage| image.repo_tags.as_deref().unwrap_or(&[]).iter();
    let names = || list(images.iter().flat_map(tags).map(String::as_str));
    match (name, images) {
        (_, []) => Err(SourceError::Empty(path.to_owned())),
        (None, [image]) => Ok(image),
        (None, _) => Err(SourceError::Several { path: path.to_owned(), found: names() }),
        (Some(name), _) => {
            let named = |image: &&DockerImage| {
                image.repo_tags.iter().flatten().any(|tag| normalise_docker_name(tag) == name)
            };
            images.iter().find(named).ok_or_else(|| SourceError::NoSuchImage {
                path: path.to_owned(),
                name: name.to_owned(),
                found: names(),
            })
        }
    }
}

/// A document of an archive, by its name there.
///
/// # Errors
/// [`SourceError`].
pub(crate) fn archive_document(
    file: &File,
    path: &Path,
    index: &Index,
    name: &str,
) -> Result<Vec<u8>, SourceError> {
    let found = index.find(name);
    let at = found.map_err(|source| SourceError::Archive { path: path.to_owned(), source })?;
    document(file, path, name, at)
}

fn document(file: &File, path: &Path, name: &str, at: Extent) -> Result<Vec<u8>, SourceError> {
    if at.length > MAX_DOCUMENT_BYTES {
        return Err(SourceError::Size {
            path: path.to_owned(),
            name: Quoted::new(name.as_bytes()),
            expected: MAX_DOCUMENT_BYTES,
            found: at.length,
        });
    }
    read_exact(file, path, at.offset, at.length)
}
