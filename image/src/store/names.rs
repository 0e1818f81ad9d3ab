//! The images that the store knows by name, and their documents.
//!
//! Owns: one small file for each name, replaced as a whole, and one for each index, manifest or configuration,
//! under its digest. A document is hashed whenever it is read: one that was changed is not there.

use super::{Store, StoreError, entries, failed, make_directory, open_own, remove};
use crate::digest::{Algorithm, Digest};
use crate::manifest::MAX_DOCUMENT_BYTES;
use crate::reference::name::ImageName;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::path::PathBuf;

/// The version of a name's file: another knows none of these.
const VERSION: u32 = 1;
/// More than a name's file has, in bytes.
const MAX_RECORD_BYTES: u64 = 16 << 10;

/// An image that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedImage {
    version: u32,
    /// Its name, whole.
    pub name: String,
    /// What its registry called it when it was pulled: the digest of an index, or of the manifest.
    pub digest: Digest,
    /// Its manifest, for this platform.
    pub manifest: Digest,
    /// Its configuration: what Docker calls the image's id.
    pub config: Digest,
    /// When it was pulled, in milliseconds since 1970.
    pub pulled_ms: u64,
    /// The documents that its signatures are listed in, where they were asked for.
    #[serde(default)]
    pub signatures: Vec<Digest>,
}

impl NamedImage {
    /// An image, pulled now.
    pub fn new(name: &ImageName, digest: Digest, manifest: Digest, config: Digest) -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let pulled_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Self {
            version: VERSION,
            name: name.to_string(),
            digest,
            manifest,
            config,
            pulled_ms,
            signatures: Vec::new(),
        }
    }
}

impl Store {
    /// What a name means here.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn named(&self, name: &ImageName) -> Result<Option<NamedImage>, StoreError> {
        let found = self.read_name(&self.name_path(&name.to_string()))?;
        Ok(found.filter(|image| image.name == name.to_string()))
    }

    /// All images that have a name, by name.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn names(&self) -> Result<Vec<NamedImage>, StoreError> {
        let mut images = Vec::new();
        for path in entries(&self.root.join("names"))? {
            // One that speaks of another name is nobody's.
            images.extend(self.read_name(&path)?.filter(|i| self.name_path(&i.name) == path));
        }
        images.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(images)
    }

    /// From now on the name means this image.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the name then means what it meant.
    pub fn name(&self, image: &NamedImage) -> Result<(), StoreError> {
        make_directory(&self.root.join("names"))?;
        let path = self.name_path(&image.name);
        let json = serde_json::to_vec_pretty(image)
            .map_err(|error| failed("write", &path)(error.into()))?;
        self.put(&path, &json)
    }

    /// The name means nothing any more. Whether it meant anything.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn forget(&self, image: &NamedImage) -> Result<(), StoreError> {
        remove(&self.name_path(&image.name))
    }

    /// A document, if it is there and is what it should be.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.document_path(digest);
        let Some((file, _)) = open_own(&path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT_BYTES).read_to_end(&mut bytes).map_err(failed("read", &path))?;
        Ok((Digest::of(digest.algorithm(), &bytes) == *digest).then_some(bytes))
    }

    /// Keeps a document, which has this digest.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn keep_document(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let directory = self.root.join("documents").join(digest.algorithm().name());
        make_directory(&directory)?;
        self.put(&self.document_path(digest), bytes)
    }

    pub(super) fn document_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("documents").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Writes a file that appears whole, on disk.
    pub(super) fn put(&self, path: &std::path::Path, bytes: &[u8]) -> Result<(), StoreError> {
        let new = self.partial.create()?;
        let mut file = new.file();
        file.write_all(bytes).map_err(failed("write", path))?;
        file.sync_data().map_err(failed("write", path))?;
        new.publish(path)
    }

    fn read_name(&self, path: &std::path::Path) -> Result<Option<NamedImage>, StoreError> {
        let Some((file, _)) = open_own(path)? else { return Ok(None) };
        let mut json = Vec::new();
        file.take(MAX_RECORD_BYTES).read_to_end(&mut json).map_err(failed("read", path))?;
        let image: Option<NamedImage> = serde_json::from_slice(&json).ok();
        Ok(image.filter(|image| image.version == VERSION))
    }

    /// No name could be a file's: they have slashes, and are long.
    fn name_path(&self, name: &str) -> PathBuf {
        let digest = Digest::of(Algorithm::Sha256, name.as_bytes());
        self.root.join("names").join(format!("{}.json", digest.hex()))
    }
}
