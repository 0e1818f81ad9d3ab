//! A peer that runs OCI bundles (crun, runc, youki, runsc): each start has a bundle of its own, with the configuration
//! of the one that was named and another program.

use super::scratch::Scratch;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// A configuration that is longer is none.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Its name in a bundle (OCI runtime specification).
const CONFIG: &str = "config.json";
/// Where the runtime's own state is kept.
const STATE: &str = "runtime";

/// An OCI bundle: a configuration, and the tree that it is for.
#[derive(Debug, Clone)]
pub struct Bundle {
    config: Value,
    /// The tree.
    pub root: PathBuf,
}

/// Why it is none.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read.
    #[error("cannot read {0:?}")]
    Read(PathBuf, #[source] io::Error),
    /// It is no JSON.
    #[error("{0:?} is no configuration of a bundle")]
    Json(PathBuf, #[source] serde_json::Error),
    /// It names no tree, or no process.
    #[error("{0:?} has no {1}")]
    Missing(PathBuf, &'static str),
}

impl Bundle {
    /// Reads the bundle of a directory.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn read(directory: &Path) -> Result<Self, BundleError> {
        let path = directory.join(CONFIG);
        let mut text = Vec::new();
        let file = File::open(&path);
        file.and_then(|file| file.take(MAX_CONFIG_BYTES).read_to_end(&mut text))
            .map_err(|error| BundleError::Read(path.clone(), error))?;
        let mut config: Value = serde_json::from_slice(&text)
            .map_err(|error| BundleError::Json(path.clone(), error))?;
        let root = config["root"]["path"].as_str().map(|root| directory.join(root));
        let root = root.ok_or_else(|| BundleError::Missing(path.clone(), "root.path"))?;
        let root = std::fs::canonicalize(&root).map_err(|error| BundleError::Read(root, error))?;
        if !config["process"].is_object() {
            return Err(BundleError::Missing(path, "process"));
        }
        config["root"]["path"] = json!(root);
        config["process"]["terminal"] = json!(false);
        Ok(Self { config, root })
    }

    /// Its configuration, for this program.
    fn running(&self, program: &[&str]) -> String {
        let mut config = self.config.clone();
        config["process"]["args"] = json!(program);
        config.to_string()
    }
}

/// A runtime, and what it is to run.
#[derive(Debug)]
pub struct Runtime {
    /// Its program.
    pub program: String,
    /// What it runs.
    pub bundle: Bundle,
    /// Where each start's bundle is kept.
    pub scratch: Arc<Scratch>,
}

impl Runtime {
    /// The words that start this program in a container: its bundle is made by this.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn words(&self, program: &[&str]) -> io::Result<Vec<OsString>> {
        let name = self.scratch.name();
        let bundle = self.scratch.place(&name);
        std::fs::create_dir(&bundle)?;
        std::fs::write(bundle.join(CONFIG), self.bundle.running(program))?;
        let mut words = self.to_runtime();
        words.extend(["run", "--bundle"].map(OsString::from));
        words.extend([bundle.into_os_string(), container(&name).into()]);
        Ok(words)
    }

    /// Removes the containers that are left: one may outlive the runtime that started it.
    pub fn tidy(&self) {
        let Ok(left) = std::fs::read_dir(self.scratch.place(STATE)) else { return };
        for container in left.flatten() {
            let words = self.to_runtime();
            let Some((first, rest)) = words.split_first() else { return };
            let mut command = Command::new(first);
            let _ =
                command.args(rest).args(["delete", "--force"]).arg(container.file_name()).output();
        }
    }

    fn to_runtime(&self) -> Vec<OsString> {
        let state = self.scratch.place(STATE).into_os_string();
        vec![(&self.program).into(), "--root".into(), state]
    }
}

/// What a container is called: a control group of the whole machine may bear its name.
fn container(name: &str) -> String {
    format!("cofferdam-bench-{}-{name}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(config: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("rootfs")).unwrap();
        std::fs::write(directory.path().join(CONFIG), config).unwrap();
        directory
    }

    #[test]
    fn each_start_has_a_bundle_of_its_own() {
        let directory = directory(
            r#"{"root": {"path": "rootfs"}, "process": {"terminal": true, "args": ["bash"], "cwd": "/"}}"#,
        );
        let scratch = Arc::new(Scratch::take(directory.path()).unwrap());
        let bundle = Bundle::read(directory.path()).unwrap();
        let runtime = Runtime { program: "crun".to_owned(), bundle, scratch };
        let words = |program: &[&str]| runtime.words(program).unwrap();
        let (first, second) = (words(&["echo", "x"]), words(&["sh"]));
        assert_eq!(first[..2], [OsString::from("crun"), "--root".into()]);
        assert_ne!(first.last(), second.last());
        let config = std::fs::read(Path::new(&first[5]).join(CONFIG)).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let root = directory.path().canonicalize().unwrap().join("rootfs");
        let process = json!({"terminal": false, "args": ["echo", "x"], "cwd": "/"});
        assert_eq!(config, json!({"root": {"path": root}, "process": process}));
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        let refused = |config: &str| {
            Bundle::read(directory(config).path()).unwrap_err().to_string().replace('"', "")
        };
        assert!(refused("[").ends_with("is no configuration of a bundle"));
        assert!(refused("[]").ends_with("config.json has no root.path"));
        assert!(refused(r#"{"root": {"path": "rootfs"}}"#).ends_with("config.json has no process"));
        let nowhere = refused(r#"{"root": {"path": "no/such"}, "process": {}}"#);
        assert!(nowhere.starts_with("cannot read") && nowhere.ends_with("no/such"), "{nowhere}");
    }
}
