//! Images as one file that any engine loads: `docker save`'s format, which is an OCI image layout (image-layout.md) with a
//! `manifest.json` beside it.
//!
//! Owns: that file. Never does: believe what the store says of a layer: an archive that is made again has the digest that
//! names the layer, or there is no file. Layers are uncompressed in it, as `docker save` has them.

use crate::digest::{Algorithm, Digest, HashingReader};
use crate::inventory::StoredImage;
use crate::layer::{Archive, RecipeError};
use crate::reference::name::ImageName;
use crate::store::{LayerKey, Store, StoreError, UserFile};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Why an image cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The store lacks a part of it.
    #[error("the store lacks {0}, a part of the image")]
    Missing(Digest),
    /// A layer cannot be made an archive again.
    #[error("cannot make the archive of the layer {0}")]
    Recipe(Digest, #[source] RecipeError),
    /// What was made is another.
    #[error("the archive of the layer {expected} came out as {found}: the store is damaged")]
    Digest {
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be written, or the layer not be read.
    #[error("cannot write the archive")]
    Write(#[from] io::Error),
}

/// Writes images to a file, which is there whole or is what it was. What is no file, such as a pipe, is written to.
///
/// # Errors
/// [`SaveError`].
pub fn save_to(store: &Store, images: &[StoredImage], path: &Path) -> Result<(), SaveError> {
    if std::fs::metadata(path).is_ok_and(|it| !it.is_file()) {
        let file = File::options().write(true).open(path)?;
        return save(store, images, BufWriter::new(file));
    }
    let new = UserFile::create(path)?;
    save(store, images, BufWriter::new(new.file()))?;
    Ok(new.publish()?)
}

/// Writes images; those that are the same one become one with several names.
///
/// # Errors
/// [`SaveError`]; what was written is then of no use.
pub fn save(store: &Store, images: &[StoredImage], out: impl Write) -> Result<(), SaveError> {
    let mut file = Saved { store, out: tar::Builder::new(out), written: HashSet::new() };
    let (mut docker, mut index): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    let mut done = HashSet::new();
    for image in images {
        if done.insert(&image.named.config) {
            let named = images.iter().filter(|other| other.named.config == image.named.config);
            let names: Vec<ImageName> =
                named.filter_map(|image| image.named.name.parse().ok()).collect();
            let (config, layers) = file.image(image)?;
            let path = |descriptor: &Value| blob_path(descriptor["digest"].as_str().unwrap_or(""));
            docker.push(json!({
                "Config": path(&config),
                "RepoTags": names.iter().map(ImageName::familiar).collect::<Vec<_>>(),
                "Layers": layers.iter().map(path).collect::<Vec<_>>(),
            }));
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers,
            });
            let manifest = file.document(MANIFEST_TYPE, manifest.to_string().as_bytes())?;
            index.extend(names.iter().map(|name| {
                let mut manifest = manifest.clone();
                manifest["annotations"] = json!({
                    "io.containerd.image.name": name.to_string(),
                    "org.opencontainers.image.ref.name": name.tag().unwrap_or("latest"),
                });
                manifest
            }));
        }
    }
    file.add("manifest.json", json!(docker).to_string().as_bytes())?;
    file.add("index.json", json!({"schemaVersion": 2, "manifests": index}).to_string().as_bytes())?;
    file.add("oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes())?;
    file.out.into_inner()?.flush()?;
    Ok(())
}

/// The file in the making.
struct Saved<'a, W: Write> {
    store: &'a Store,
    out: tar::Builder<W>,
    written: HashSet<String>,
}

impl<W: Write> Saved<'_, W> {
    /// The descriptors of an image's configuration and layers, which are written.
    fn image(&mut self, image: &StoredImage) -> Result<(Value, Vec<Value>), SaveError> {
        let missing = || SaveError::Missing(image.named.config.clone());
        let config = self.store.document(&image.named.config)?.ok_or_else(missing)?;
        if image.layers.is_empty() {
            return Err(SaveError::Missing(image.named.manifest.clone()));
        }
        let layers = image.layers.iter().map(|(key, _)| self.layer(key));
        let layers = layers.collect::<Result<_, _>>()?;
        Ok((self.document(CONFIG_TYPE, &config)?, layers))
    }

    fn layer(&mut self, key: &LayerKey) -> Result<Value, SaveError> {
        let stored = self.store.find(key)?;
        let stored = stored.ok_or_else(|| SaveError::Missing(key.diff_id.clone()))?;
        let unmade = |error| SaveError::Recipe(key.diff_id.clone(), error);
        let archive = Archive::of(&stored.image.file, stored.image.length).map_err(unmade)?;
        let size = archive.len();
        let path = blob_path(&key.diff_id.to_string());
        if self.written.insert(path.clone()) {
            let mut hashing = HashingReader::new(archive, key.diff_id.algorithm());
            self.entry(&path, size, &mut hashing)?;
            let (found, _) = hashing.finish();
            if found != key.diff_id {
                return Err(SaveError::Digest { expected: key.diff_id.clone(), found });
            }
        }
        Ok(json!({"mediaType": LAYER_TYPE, "digest": key.diff_id, "size": size}))
    }

    /// The descriptor of a document, which is written.
    fn document(&mut self, media_type: &str, bytes: &[u8]) -> Result<Value, SaveError> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        self.add(&blob_path(&digest.to_string()), bytes)?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }

    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), SaveError> {
        if self.written.insert(path.to_owned()) {
            self.entry(path, bytes.len() as u64, bytes)?;
        }
        Ok(())
    }

    /// Of no time and nobody, so that the same images give the same file.
    fn entry(&mut self, path: &str, size: u64, bytes: impl Read) -> Result<(), SaveError> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(size);
        Ok(self.out.append_data(&mut header, path, bytes)?)
    }
}

/// Where a blob lies, by its digest.
fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}
