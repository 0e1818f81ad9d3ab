//! Images of an archive, by the names that they have there: what `load` puts into the store.
//!
//! Owns: which images there are in it, and what they are called. Never does: read a layer.

use crate::archive::Index;
use crate::manifest::{self, Document};
use crate::reference::name::ImageName;
use crate::reference::{Reference, Selector, normalise_docker_name};
use crate::source::{SourceError, archive_document, open_regular};
use std::path::Path;

const DOCKER: &str = "manifest.json";
const OCI: &str = "index.json";

/// An image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedImage {
    /// How it is found there.
    pub reference: Reference,
    /// What it is called there.
    pub names: Vec<ImageName>,
}

/// The images of an archive that `docker save`, `podman save`, skopeo or [`crate::save`] has written.
///
/// # Errors
/// [`SourceError`].
pub fn archived(path: &Path) -> Result<Vec<ArchivedImage>, SourceError> {
    let (file, _) = open_regular(path)?;
    let index = Index::read(&file)
        .map_err(|source| SourceError::Archive { path: path.to_owned(), source })?;
    let unusable = |source| SourceError::Manifest { path: path.to_owned(), source };
    // One that has both is told of by the first more fully.
    if index.find(DOCKER).is_ok() {
        let json = archive_document(&file, path, &index, DOCKER)?;
        let images = manifest::parse_docker_archive(&json).map_err(unusable)?;
        let alone = images.len() == 1;
        return Ok(images.iter().map(|image| docker(path, image, alone)).collect());
    }
    let json = archive_document(&file, path, &index, OCI)?;
    let Document::Index(manifests) = Document::parse(&json).map_err(unusable)? else {
        return Err(unusable(manifest::ManifestError::Ambiguous));
    };
    Ok(manifests
        .iter()
        .map(|manifest| ArchivedImage {
            reference: Reference::OciArchive {
                path: path.to_owned(),
                selector: Selector::Digest(manifest.digest.clone()),
            },
            names: manifest.image_name().and_then(|name| name.parse().ok()).into_iter().collect(),
        })
        .collect())
}

/// One without a name is found where it is the only one.
fn docker(path: &Path, image: &manifest::DockerImage, alone: bool) -> ArchivedImage {
    let tags = image.repo_tags.as_deref().unwrap_or(&[]);
    let name = tags.first().filter(|_| !alone).map(|tag| normalise_docker_name(tag));
    let reference = Reference::DockerArchive { path: path.to_owned(), name };
    ArchivedImage { reference, names: tags.iter().filter_map(|tag| tag.parse().ok()).collect() }
}
