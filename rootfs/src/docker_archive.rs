//! An image as the tar file that `docker load` and `podman load` take.
//!
//! Specification: moby's image specification v1.2 ("combined image JSON + file-system changeset").

use std::fs::File;
use std::io::{self, Write};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::EPOCH;
use crate::image_config::ImageConfig;
use crate::layer::Layer;

/// Writes the image, named `tag` (`name:version`), to `out`.
///
/// # Errors
/// Those of reading the layers and of writing.
pub fn write(
    tag: &str,
    config: &ImageConfig,
    layers: &[Layer],
    out: &mut impl Write,
) -> Result<()> {
    let config = config.to_json(layers);
    let config_name = format!("{:x}.json", Sha256::digest(&config));
    let layer_names: Vec<_> = layers.iter().map(|l| format!("{}.tar", l.sha256)).collect();
    let manifest =
        json!([{ "Config": config_name, "RepoTags": [tag], "Layers": layer_names }]).to_string();

    let mut archive = tar::Builder::new(out);
    add(&mut archive, &config_name, config.len() as u64, config.as_slice())?;
    for (layer, name) in layers.iter().zip(&layer_names) {
        let file = File::open(&layer.path)
            .with_context(|| format!("cannot open {}", layer.path.display()))?;
        add(&mut archive, name, layer.bytes, file)?;
    }
    add(&mut archive, "manifest.json", manifest.len() as u64, manifest.as_bytes())?;
    archive.into_inner()?.flush()?;
    Ok(())
}

fn add(
    archive: &mut tar::Builder<&mut impl Write>,
    name: &str,
    bytes: u64,
    contents: impl io::Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(EPOCH);
    header.set_size(bytes);
    archive.append_data(&mut header, name, contents)
}

#[cfg(test)]
mod tests;
