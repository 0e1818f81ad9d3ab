//! What the store has, image by image.
//!
//! Owns: which documents and layers an image with a name needs, and what they take. Never does: trust a document
//! that is not what its digest says, or remove anything.

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::manifest::{Document, Platform};
use crate::source;
use crate::store::{LayerKey, NamedImage, Needed, Store, StoreError, TreeKey};
use serde::Deserialize;

/// An image that has a name.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// Its name, and what it was called where it came from.
    pub named: NamedImage,
    /// When it was made, as its configuration says it.
    pub created: Option<String>,
    /// Its configuration, as it came.
    pub config: serde_json::Value,
    /// Its layers, lowest first, and how many bytes each takes; `None` where the store lacks it.
    pub layers: Vec<(LayerKey, Option<u64>)>,
    /// The merged tree of its layers, and how many bytes that takes; `None` of one layer, and where one is lacking.
    pub tree: Option<(TreeKey, Option<u64>)>,
    /// The documents of its signatures.
    pub signatures: Vec<Digest>,
}

impl StoredImage {
    /// What its layers take, in bytes. Those of other images are among them.
    pub fn bytes(&self) -> u64 {
        let tree = self.tree.iter().filter_map(|(_, bytes)| *bytes);
        self.layers.iter().filter_map(|(_, bytes)| *bytes).chain(tree).sum()
    }
}

#[derive(Deserialize)]
struct CreatedJson {
    #[serde(default)]
    created: Option<String>,
}

/// All images that have a name, by name.
///
/// # Errors
/// Where the store cannot be read.
pub fn inventory(store: &Store, platform: &Platform) -> Result<Vec<StoredImage>, StoreError> {
    let mut images = Vec::new();
    for named in store.names()? {
        images.push(look_at(named, store, platform)?);
    }
    Ok(images)
}

/// What is to stay as long as these images have their names.
pub fn needed(images: &[StoredImage]) -> Needed {
    let mut needed = Needed::default();
    for StoredImage { named, layers, tree, signatures, .. } in images {
        let documents = [&named.digest, &named.manifest, &named.config];
        needed.documents.extend(documents.into_iter().chain(signatures).cloned());
        needed.layers.extend(layers.iter().map(|(key, _)| key.clone()));
        needed.trees.extend(tree.iter().map(|(key, _)| key.clone()));
    }
    needed
}

/// What the layers and trees of these images take, each counted once, in bytes.
pub fn layer_bytes(images: &[StoredImage]) -> u64 {
    let layers = images.iter().flat_map(|image| &image.layers);
    let known: std::collections::HashMap<_, _> =
        layers.filter_map(|(key, bytes)| Some((key, (*bytes)?))).collect();
    let trees = images.iter().filter_map(|image| image.tree.as_ref());
    let trees: std::collections::HashMap<_, _> =
        trees.filter_map(|(key, bytes)| Some((key, (*bytes)?))).collect();
    known.values().chain(trees.values()).sum()
}

/// What the layers of an image are called, lowest first; none where its documents do not say it.
fn layers_of(
    named: &NamedImage,
    config: &[u8],
    store: &Store,
    platform: &Platform,
) -> Result<Vec<LayerKey>, StoreError> {
    let manifest = store.document(&named.manifest)?;
    let Some(Ok(Document::Manifest { layers, .. })) = manifest.map(|json| Document::parse(&json))
    else {
        return Ok(Vec::new());
    };
    let blobs = layers.into_iter().map(|layer| layer.digest);
    let diff_ids = ImageConfig::parse(config, platform).map(|(_, ids)| ids).unwrap_or_default();
    Ok(blobs.zip(diff_ids).map(|(blob, diff_id)| LayerKey { diff_id, blob }).collect())
}

fn look_at(
    named: NamedImage,
    store: &Store,
    platform: &Platform,
) -> Result<StoredImage, StoreError> {
    let config = store.document(&named.config)?.unwrap_or_default();
    let mut layers = Vec::new();
    for key in layers_of(&named, &config, store, platform)? {
        let bytes = store.find(&key)?.map(|layer| layer.image.length);
        layers.push((key, bytes));
    }
    let known: Option<Vec<_>> = layers.iter().map(|(key, bytes)| Some((key, (*bytes)?))).collect();
    let tree = known.and_then(|known| TreeKey::of(known.into_iter()));
    let tree = match tree {
        Some(key) => {
            let bytes = store.tree(&key)?.map(|tree| tree.length);
            Some((key, bytes))
        }
        None => None,
    };
    let created = serde_json::from_slice(&config).ok().and_then(|CreatedJson { created }| created);
    let config = serde_json::from_slice(&config).unwrap_or_default();
    let mut signatures = named.signatures.clone();
    signatures.extend(source::signatures::named_by(&named.signatures, store)?);
    Ok(StoredImage { named, created, config, layers, tree, signatures })
}
