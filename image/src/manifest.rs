//! Indexes and manifests: OCI image specification 1.1 (image-index.md, manifest.md), Docker's "image
//! manifest version 2, schema 2", and the `manifest.json` of `docker save`.
//!
//! Owns: their JSON, tolerant of what is `null` or unknown, strict about digests, sizes and counts; and
//! which manifest of an index is for a platform. Never does: fetch anything.

use crate::digest::Digest;
use crate::layer::Quoted;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;

#[cfg(test)]
mod tests;

/// The longest index, manifest or image configuration, in bytes: what registries take too.
pub const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
/// The most layers: each is an open file, handed from process to process. Docker makes 127 at most.
pub const MAX_LAYERS: usize = 200;
/// The most manifests of one index.
const MAX_MANIFESTS: usize = 4096;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// As containerd, and so Docker, writes it.
const IMAGE_NAME: &str = "io.containerd.image.name";
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// Why a document is no index or manifest of an image.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no such JSON.
    #[error("malformed manifest: {0}")]
    Json(Quoted),
    /// It is index and manifest at once, or neither (CVE-2021-41190).
    #[error("the document is neither an index nor a manifest, or claims to be both")]
    Ambiguous,
    /// It lists too much.
    #[error("the manifest lists {count} {what}, over the limit of {limit}")]
    TooMany {
        /// Layers, or manifests.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// It is of something that is not a container image.
    #[error("it holds no container image: its configuration is of type {0}")]
    NotAnImage(Quoted),
    /// No manifest is for the platform.
    #[error("there is no image for {wanted}, only for: {found}")]
    NoPlatform {
        /// What was looked for.
        wanted: Platform,
        /// What is there.
        found: String,
    },
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// As Go names it: `amd64`, `arm64`.
    pub architecture: String,
}

impl Platform {
    /// Linux on this machine's architecture.
    pub fn native() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".into(), architecture: architecture.into() }
    }
}

impl fmt::Display for Platform {
    /// Cut and escaped where it is unlike any platform there is: images write it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&platform_text(&self.os, &self.architecture))
    }
}

fn platform_text(os: &str, architecture: &str) -> String {
    let text = format!("{os}/{architecture}");
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if text.len() <= 40 && text.bytes().all(ordinary) {
        return text;
    }
    Quoted::new(text.as_bytes()).to_string()
}

/// A content descriptor: what is meant, and how to know it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of content.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length, in bytes.
    pub size: u64,
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
    #[serde(default)]
    platform: Option<PlatformJson>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct PlatformJson {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

impl Descriptor {
    /// The name an OCI image layout gives it.
    pub fn ref_name(&self) -> Option<&str> {
        self.annotations.as_ref()?.get(REF_NAME).map(String::as_str)
    }

    /// What whoever wrote it calls the image, whole where that is said.
    pub fn image_name(&self) -> Option<&str> {
        let annotations = self.annotations.as_ref()?;
        annotations.get(IMAGE_NAME).map(String::as_str).or_else(|| self.ref_name())
    }

    /// What is said of it besides.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Whether another says that it is for the same platform, or both say nothing.
    pub fn has_platform_of(&self, other: &Self) -> bool {
        self.platform == other.platform
    }
}

/// An index or a manifest.
#[derive(Debug)]
pub enum Document {
    /// Manifests to choose from, or further indexes.
    Index(Vec<Descriptor>),
    /// One image.
    Manifest {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, lowest first.
        layers: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
struct DocumentJson {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

impl Document {
    /// Reads an index or a manifest; which of both is told by what it has.
    ///
    /// # Errors
    /// Any [`ManifestError`] but [`ManifestError::NoPlatform`].
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let document: DocumentJson = serde_json::from_slice(json).map_err(malformed)?;
        match document {
            DocumentJson { manifests: Some(manifests), config: None, layers: None } => {
                check_count("manifests", manifests.len(), MAX_MANIFESTS)?;
                Ok(Self::Index(manifests))
            }
            DocumentJson { manifests: None, config: Some(config), layers } => {
                if !CONFIG_TYPES.contains(&config.media_type.as_str()) {
                    let media_type = Quoted::new(config.media_type.as_bytes());
                    return Err(ManifestError::NotAnImage(media_type));
                }
                let layers = layers.unwrap_or_default();
                check_count("layers", layers.len(), MAX_LAYERS)?;
                Ok(Self::Manifest { config, layers })
            }
            _ => Err(ManifestError::Ambiguous),
        }
    }
}

/// A manifest for a configuration and layers that came without one: digests and lengths.
pub fn written(config: (&Digest, u64), layers: &[(Digest, u64)]) -> Vec<u8> {
    let descriptor = |kind: &str, digest: &Digest, size: u64| {
        serde_json::json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size,
        })
    };
    let layers: Vec<_> =
        layers.iter().map(|(digest, size)| descriptor("layer.v1.tar", digest, *size)).collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config.0, config.1),
        "layers": layers,
    });
    manifest.to_string().into_bytes()
}

/// The first manifest for a platform; failing that, the first that names none.
///
/// # Errors
/// [`ManifestError::NoPlatform`].
pub fn choose<'a>(
    manifests: &[&'a Descriptor],
    wanted: &Platform,
) -> Result<&'a Descriptor, ManifestError> {
    let fits = |manifest: &&&Descriptor| {
        let platform = manifest.platform.as_ref();
        platform.is_some_and(|p| p.os == wanted.os && p.architecture == wanted.architecture)
    };
    let unnamed = |manifest: &&&Descriptor| manifest.platform.is_none();
    let found = manifests.iter().find(fits).or_else(|| manifests.iter().find(unnamed));
    found.copied().ok_or_else(|| {
        let platforms = manifests.iter().filter_map(|manifest| manifest.platform.as_ref());
        let names: Vec<String> =
            platforms.take(20).map(|p| platform_text(&p.os, &p.architecture)).collect();
        ManifestError::NoPlatform { wanted: wanted.clone(), found: names.join(", ") }
    })
}

/// One image of a docker-archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerImage {
    /// The name of its configuration in the archive.
    pub config: String,
    /// What it is called.
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    /// The names of its layers in the archive, lowest first.
    #[serde(default)]
    pub layers: Option<Vec<String>>,
}

/// Reads the `manifest.json` of a docker-archive.
///
/// # Errors
/// [`ManifestError::Json`] and [`ManifestError::TooMany`].
pub fn parse_docker_archive(json: &[u8]) -> Result<Vec<DockerImage>, ManifestError> {
    let images: Vec<DockerImage> = serde_json::from_slice(json).map_err(malformed)?;
    check_count("images", images.len(), MAX_MANIFESTS)?;
    for image in &images {
        check_count("layers", image.layers.as_ref().map_or(0, Vec::len), MAX_LAYERS)?;
    }
    Ok(images)
}

/// What serde says quotes the document at any length.
fn malformed(error: serde_json::Error) -> ManifestError {
    ManifestError::Json(Quoted::new(error.to_string().as_bytes()))
}

fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), ManifestError> {
    if count > limit { Err(ManifestError::TooMany { what, count, limit }) } else { Ok(()) }
}
