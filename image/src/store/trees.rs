//! Merged trees: of each image that has several layers, one file system that shows them all.
//!
//! Owns: `STATE_DIR/store/trees/`. A tree points into the layers' images, so its name has all of them, how long they are,
//! and the form in which they are written. Never does: make one, or need one: layers can be shown without.

use super::{LayerKey, Store, StoreError, StoredFile, make_directory};
use crate::digest::{Algorithm, Digest, Hasher};
use std::fs::File;
use std::path::PathBuf;

/// Raised by whoever changes how a layer's image is written: trees that were made before point elsewhere.
const LAYER_FORM: u32 = 1;

/// Names the tree of some layers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TreeKey(Digest);

impl TreeKey {
    /// Of layers, lowest first, and how long their images are; `None` of a single one, which is its own tree.
    pub fn of<'a>(layers: impl ExactSizeIterator<Item = (&'a LayerKey, u64)>) -> Option<Self> {
        if layers.len() < 2 {
            return None;
        }
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&LAYER_FORM.to_le_bytes());
        for (LayerKey { diff_id, blob }, length) in layers {
            // Bytes and not text: a hundred layers are hashed at each start.
            for digest in [diff_id, blob] {
                hasher.update(&[digest.algorithm() as u8]);
                hasher.update(&digest.bytes().collect::<Vec<_>>());
            }
            hasher.update(&length.to_le_bytes());
        }
        Some(Self(hasher.finish()))
    }

    /// What tells its file system from others.
    pub(crate) fn uuid(&self) -> [u8; 16] {
        self.0.uuid()
    }
}

/// A tree in the making. Gone when dropped.
#[derive(Debug)]
pub struct NewTree {
    file: super::NewFile,
    path: PathBuf,
}

impl NewTree {
    /// The file to write to.
    pub fn file(&self) -> &File {
        self.file.file()
    }

    /// Puts the tree into the store, for good. Whoever else could write to the file must be gone.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the store is as it was.
    pub fn publish(self) -> Result<StoredFile, StoreError> {
        self.file.publish_image(&self.path)
    }
}

impl Store {
    /// A tree, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn tree(&self, key: &TreeKey) -> Result<Option<StoredFile>, StoreError> {
        StoredFile::open(&self.tree_path(key))
    }

    /// An empty file to write a tree's image to. Whoever makes the same tree writes the same bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create_tree(&self, key: &TreeKey) -> Result<NewTree, StoreError> {
        make_directory(&self.root.join("trees"))?;
        Ok(NewTree { file: self.partial.create()?, path: self.tree_path(key) })
    }

    pub(super) fn tree_path(&self, key: &TreeKey) -> PathBuf {
        self.root.join("trees").join(format!("{}.erofs", key.0.hex()))
    }
}
