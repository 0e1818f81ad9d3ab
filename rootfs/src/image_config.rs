//! What an image says about how it is run, in the JSON that OCI and Docker share.
//!
//! Specification: OCI image-spec v1.1, `config.md`.

use serde_json::{Map, Value, json};

use crate::layer::Layer;

/// The part of an image's configuration that our images use.
#[derive(Debug, Clone, Default)]
pub struct ImageConfig {
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// What always runs.
    pub entrypoint: Vec<String>,
    /// What runs by default, or its arguments.
    pub cmd: Vec<String>,
    /// User, or `UID:GID`; root where empty.
    pub user: String,
    /// Where it starts; `/` where empty.
    pub working_dir: String,
    /// Paths that an engine makes volumes of, with the contents and owner they have in the image.
    pub volumes: Vec<String>,
}

impl ImageConfig {
    /// How a Debian runs that is asked for nothing else: a shell, and where its programs are.
    #[must_use]
    pub fn debian() -> Self {
        Self {
            env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
            cmd: vec!["/bin/sh".into()],
            ..Self::default()
        }
    }

    /// The configuration file of an image of these `layers`, lowest first.
    #[must_use]
    pub fn to_json(&self, layers: &[Layer]) -> Vec<u8> {
        let mut config = Map::new();
        let mut set = |key: &str, value: Value, empty: bool| {
            if !empty {
                config.insert(key.to_owned(), value);
            }
        };
        set("Env", json!(self.env), self.env.is_empty());
        set("Entrypoint", json!(self.entrypoint), self.entrypoint.is_empty());
        set("Cmd", json!(self.cmd), self.cmd.is_empty());
        set("User", json!(self.user), self.user.is_empty());
        set("WorkingDir", json!(self.working_dir), self.working_dir.is_empty());
        let volumes: Map<_, _> = self.volumes.iter().map(|v| (v.clone(), json!({}))).collect();
        set("Volumes", Value::Object(volumes), self.volumes.is_empty());
        let diff_ids: Vec<_> = layers.iter().map(|l| format!("sha256:{}", l.sha256)).collect();
        json!({
            "created": "2026-01-01T00:00:00Z",
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        })
        .to_string()
        .into_bytes()
    }
}
