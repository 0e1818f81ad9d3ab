//! The image configuration: OCI image specification 1.1, config.md; Docker's is the same.
//!
//! Owns: its JSON, tolerant of what is `null` or missing, and the layers' diff IDs that it names. Never
//! does: merge it with what a user typed.

use crate::digest::Digest;
use crate::layer::Quoted;
use crate::manifest::{MAX_LAYERS, Platform};
use serde::Deserialize;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// How an image wants to be run. A text is empty, and a list too, where the image says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// `name|uid[:name|gid]`.
    pub user: String,
    /// NAME=value.
    pub env: Vec<String>,
    /// What is always run.
    pub entrypoint: Vec<String>,
    /// Its arguments, or what is run where there is no entrypoint.
    pub cmd: Vec<String>,
    /// Where.
    pub working_dir: String,
    /// By which signal it is asked to stop: a name or a number.
    pub stop_signal: Option<String>,
    /// Where it wants directories that are no part of its root.
    pub volumes: Vec<String>,
    /// By what it is known that it is well. Docker's own; the specification has none.
    pub health: HealthCheck,
}

/// A command by which it is known that a container is well. Zero and less are what the image does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthCheck {
    /// `CMD` and its arguments, `CMD-SHELL` and a text, or `NONE`.
    pub test: Vec<String>,
    /// From one to the next, in nanoseconds.
    #[serde(rename = "Interval")]
    pub interval_ns: i64,
    /// How long one may take, in nanoseconds.
    #[serde(rename = "Timeout")]
    pub timeout_ns: i64,
    /// How long failures do not count, in nanoseconds.
    #[serde(rename = "StartPeriod")]
    pub start_period_ns: i64,
    /// How many failures in a row are too many.
    pub retries: i64,
}

/// Why a document is no image configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no such JSON.
    #[error("malformed image configuration: {0}")]
    Json(Quoted),
    /// The image is for another platform.
    #[error("the image is for {found}, not for {wanted}")]
    Platform {
        /// What it is for.
        found: Platform,
        /// What is wanted.
        wanted: Platform,
    },
    /// It has no layers, or too many.
    #[error("the image has {0} layers, not 1 to {MAX_LAYERS}")]
    LayerCount(usize),
}

#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    config: Option<ConfigJson>,
    #[serde(default)]
    rootfs: Option<RootfsJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConfigJson {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    healthcheck: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RootfsJson {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

impl ImageConfig {
    /// Reads a configuration for `wanted`, and the diff IDs of its layers, lowest first.
    ///
    /// # Errors
    /// Any [`ConfigError`].
    pub fn parse(json: &[u8], wanted: &Platform) -> Result<(Self, Vec<Digest>), ConfigError> {
        // What serde says quotes the document at any length.
        let malformed = |error: serde_json::Error| Quoted::new(error.to_string().as_bytes());
        let json: Json =
            serde_json::from_slice(json).map_err(|error| ConfigError::Json(malformed(error)))?;
        // Old Dockers wrote neither; they knew one platform.
        let platform = Platform {
            os: json.os.filter(|os| !os.is_empty()).unwrap_or_else(|| wanted.os.clone()),
            architecture: json
                .architecture
                .filter(|architecture| !architecture.is_empty())
                .unwrap_or_else(|| wanted.architecture.clone()),
        };
        if platform != *wanted {
            return Err(ConfigError::Platform { found: platform, wanted: wanted.clone() });
        }
        let diff_ids = json.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
        if !(1..=MAX_LAYERS).contains(&diff_ids.len()) {
            return Err(ConfigError::LayerCount(diff_ids.len()));
        }
        let config = json.config.unwrap_or_default();
        let config = Self {
            user: config.user.unwrap_or_default(),
            env: config.env.unwrap_or_default(),
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            working_dir: config.working_dir.unwrap_or_default(),
            stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
            volumes: config.volumes.unwrap_or_default().into_keys().collect(),
            // No part of the specification: what cannot be read asks nothing.
            health: config
                .healthcheck
                .and_then(|it| serde_json::from_value(it).ok())
                .unwrap_or_default(),
        };
        Ok((config, diff_ids))
    }
}
