//! What every case stands on.
//!
//! Owns: the places where cases run, the images they run, and the real binary. Never does: decides
//! what is right; a case does.
//!
//! ```text
//!   this machine ── tcg::… cases ──▶ dist/cofferdam --accel tcg
//!       │
//!       ├─ boots the reference host once ── this binary again ── kvm::… cases ──▶ --accel kvm
//!       └─ and once more ── docker, podman ── outer::… cases
//!
//! An emulated host has a core of this machine for all its life, a native case for as long as it runs.
//! ```

pub mod agent;
pub mod canary;
pub mod copied;
pub mod cores;
pub mod detached;
pub mod docker;
pub mod engine;
pub mod expectations;
pub mod filter_list;
pub mod image;
pub mod kernel;
pub mod layered;
pub mod leftovers;
pub mod living;
pub mod names;
pub mod native_kvm;
pub mod nets;
pub mod product;
pub mod random;
pub mod real_servers;
pub mod reference_host;
pub mod registry;
pub mod signals;
pub mod small_disk;
pub mod soak;
pub mod strace;
pub mod talk;
pub mod tap;
pub mod terminal;
pub mod tokens;
pub mod trees;
pub mod trial;
pub mod watch;

pub use image::Images;
pub use leftovers::Kind;
pub use native_kvm::NativeKvm;
pub use product::{Accelerator, Output, Running, Sandbox};
pub use random::Random;
pub use trial::{Case, Outcome, Where};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate has a folder around it")
}

/// The folder that `make build` fills.
pub fn dist() -> PathBuf {
    std::env::var_os("COFFERDAM_DIST").map_or_else(|| workspace().join("dist"), PathBuf::from)
}

/// The launcher that tries its own walls, or has one less (`cargo xtask trial`).
pub fn trial_product() -> PathBuf {
    let product = workspace().join("target/trial-cofferdam");
    assert!(product.is_file(), "{} is not there: run cargo xtask trial", product.display());
    product
}

/// The place where a case runs, with all that it shares with others there.
#[derive(Debug)]
pub struct World {
    /// Who runs VMs here.
    pub accelerator: Accelerator,
    /// The real binary.
    pub product: PathBuf,
    /// The outer image, as a Docker archive.
    pub outer_image: PathBuf,
    /// The images.
    pub images: Images,
    /// What all choices that look random grow from.
    pub seed: u64,
    /// The sandbox beside those in which something bad is done.
    pub sibling: canary::Sibling,
    /// The words of a trial, where all runs are one.
    pub trial: Option<String>,
    scratch: PathBuf,
    files: AtomicU32,
}

impl World {
    /// A place with a directory of its own.
    pub fn new(
        accelerator: Accelerator,
        images: Images,
        dist: &Path,
        scratch: &Path,
        seed: u64,
    ) -> Self {
        let [product, outer_image] = ["cofferdam", "cofferdam-image.tar"].map(|it| dist.join(it));
        assert!(product.is_file(), "{} is not there: run make build", product.display());
        let scratch = scratch.join(accelerator.name());
        std::fs::create_dir_all(scratch.join("state")).expect("a directory for the state");
        let (sibling, files) = (canary::Sibling::default(), AtomicU32::new(0));
        let trial = None;
        Self { accelerator, product, outer_image, images, seed, sibling, trial, scratch, files }
    }

    /// The same place, where every run is a trial of these words.
    pub fn on_trial(&self, words: &str) -> Self {
        let scratch = self.scratch_file("trial");
        std::fs::create_dir_all(scratch.join("state")).expect("a directory for the state");
        Self {
            accelerator: self.accelerator,
            product: trial_product(),
            outer_image: self.outer_image.clone(),
            images: self.images.clone(),
            seed: self.seed,
            sibling: canary::Sibling::default(),
            trial: Some(words.to_owned()),
            scratch,
            files: AtomicU32::new(0),
        }
    }

    /// The state directory that cases share: an image is unpacked there once.
    pub fn state(&self) -> PathBuf {
        self.scratch.join("state")
    }

    /// A state directory that nobody has used.
    pub fn fresh_state(&self) -> PathBuf {
        let path = self.scratch_file("state");
        std::fs::create_dir_all(&path).expect("a directory for the state");
        path
    }

    /// The path of a file that is not there yet.
    pub fn scratch_file(&self, name: &str) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.scratch.join(format!("{number}-{name}"))
    }

    /// A file with this text.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.scratch_file(name);
        std::fs::write(&path, text).expect("a file is written");
        path
    }
}
