//! An image as a directory, which `oci:DIR` names.
//!
//! Specification: OCI image-spec v1.1, `image-layout.md`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::image_config::ImageConfig;
use crate::layer::Layer;

/// Writes the image to `directory`, which must not exist, under the one name `tag`.
///
/// # Errors
/// Those of the file system.
pub fn write(directory: &Path, tag: &str, config: &ImageConfig, layers: &[Layer]) -> Result<()> {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("cannot make {}", blobs.display()))?;
    let mut descriptors = Vec::new();
    for layer in layers {
        let blob = blobs.join(&layer.sha256);
        // Two layers may be equal; and where it can be, the bytes are shared with what they came from.
        if !blob.exists() && fs::hard_link(&layer.path, &blob).is_err() {
            fs::copy(&layer.path, &blob)
                .with_context(|| format!("cannot write {}", blob.display()))?;
        }
        descriptors.push(json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": format!("sha256:{}", layer.sha256),
            "size": layer.bytes,
        }));
    }
    let blob = |media_type: &str, bytes: &[u8]| -> Result<serde_json::Value> {
        let digest = format!("{:x}", Sha256::digest(bytes));
        fs::write(blobs.join(&digest), bytes)?;
        Ok(json!({
            "mediaType": media_type,
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
        }))
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &config.to_json(layers))?,
        "layers": descriptors,
    });
    let mut entry =
        blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())?;
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    fs::write(directory.join("index.json"), index.to_string())?;
    fs::write(directory.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests;
