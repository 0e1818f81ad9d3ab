//! The merging of an image's layers: one tree that shows them all, made elsewhere and kept in the store.
//!
//! Owns: when an image has a tree. One whose layers are together over the limits of one has none, and none can be made in
//! a store that is only read: its layers are shown one over the other then.

use super::making::{Bench, whole};
use super::{Layer, LayerError, UnpackFailure};
use crate::layer::{MergeJob, UnpackError};
use crate::store::{StoreError, StoredFile, TreeKey};
use std::io::ErrorKind;

impl Bench<'_> {
    /// The tree of these layers, where they have one: the store's, or else a new one.
    pub(super) fn tree(&self, layers: &[Layer]) -> Result<Option<StoredFile>, LayerError> {
        let named = layers.iter().map(|layer| (&layer.key, layer.image.length));
        let Some(key) = TreeKey::of(named) else { return Ok(None) };
        if let Some(tree) = self.store.tree(&key)? {
            return Ok(Some(tree));
        }
        let new = match self.store.create_tree(&key) {
            Err(StoreError::Io { source, .. }) if is_only_read(source.kind()) => return Ok(None),
            other => other?,
        };
        let mut limits = self.limits.clone();
        limits.written_bytes = limits.written_bytes.min(self.store.room_bytes()?);
        let lengths = layers.iter().map(|layer| layer.image.length).collect();
        let job = MergeJob { lengths, uuid: key.uuid(), limits };
        let files: Vec<_> = layers.iter().map(|layer| &layer.image.file).collect();
        let reported = match self.unpacker.merge(&job, &files, new.file()) {
            Err(UnpackFailure::Layer(UnpackError::Limit { .. })) => return Ok(None),
            Err(UnpackFailure::Layer(UnpackError::NoRoom)) => {
                self.store.is_full_by_its_volume()?;
                return Err(UnpackFailure::Layer(UnpackError::NoRoom).into());
            }
            merged => merged?,
        };
        self.store.may_take(whole(reported, new.file())?)?;
        Ok(Some(new.publish()?))
    }
}

fn is_only_read(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}
