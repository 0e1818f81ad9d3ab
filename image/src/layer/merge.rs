//! The merging of an image's layers: their images → one tree, as an image without file data that stands before them on
//! one device.
//!
//! ```text
//!   merged: superblock, directories, inodes with their tails │ layer 1 │ layer 2 │ …   one file system
//!                                          └── blocks ──▶ file data where it is already
//! ```
//!
//! A sandbox so mounts one file system however many layers its image has, and a path is looked up once rather than in
//! each. What the tree shows is what overlayfs would show of the layers one over the other.
//!
//! Owns: what upper layers do to lower ones. Never does: copy file data, but tails. Runs in a jailed process, as
//! [`super::unpack`] does: those who made the layers parsed hostile bytes.

use super::erofs::{BLOCK_BYTES, ErofsReader, ErofsWriter, counted_from, damaged};
use super::error::UnpackError;
use super::limits::Limits;
use super::tree::{FileData, FileLayout, Node, NodeId, NodeKind, ROOT, Tree};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, Write};

/// What is to be merged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeJob {
    /// How long each layer's image is, in bytes, lowest first.
    pub lengths: Vec<u64>,
    /// What tells the merged file system from others.
    pub uuid: [u8; 16],
    /// What all of it may cost.
    pub limits: Limits,
}

/// Merges the layers whose images are in `layers`, lowest first, and writes the tree's image to `output`, which must be
/// empty. Gives how long that is, in bytes: a multiple of 4096.
///
/// # Errors
/// Any [`UnpackError`]; `output` then holds nothing of worth.
pub fn merge<R: Read + Seek>(
    job: &MergeJob,
    layers: impl IntoIterator<Item = R>,
    output: impl Write + Seek,
) -> Result<u64, UnpackError> {
    let mut tree = Tree::new(&job.limits);
    let mut blocks = 0;
    for (layer, &length) in layers.into_iter().zip(&job.lengths) {
        let reader = ErofsReader::new(layer, length)?;
        Upper { reader, first_block: blocks, tree: &mut tree, links: BTreeMap::new() }.lay()?;
        blocks = u32::try_from(length / BLOCK_BYTES)
            .ok()
            .and_then(|more| blocks.checked_add(more))
            .ok_or_else(|| damaged("its length"))?;
    }
    ErofsWriter::new(output, &job.limits)?.finish_before_data(&tree, job.uuid, blocks)
}

/// A layer that is laid over a tree.
struct Upper<'a, R> {
    reader: ErofsReader<R>,
    /// Where its blocks begin among those of all layers.
    first_block: u32,
    tree: &'a mut Tree,
    /// Its inodes that may have several names.
    links: BTreeMap<u64, NodeId>,
}

impl<R: Read + Seek> Upper<'_, R> {
    fn lay(mut self) -> Result<(), UnpackError> {
        let root = self.reader.inode(self.reader.root())?;
        if !matches!(root.kind, NodeKind::Directory(_)) {
            return Err(damaged("its root"));
        }
        self.tree.lay_root(root.attributes);
        let mut directories = BTreeSet::from([self.reader.root()]);
        let mut pending = vec![(ROOT, root.entries)];
        while let Some((parent, entries)) = pending.pop() {
            for (name, number) in entries {
                if let Some(&id) = self.links.get(&number) {
                    self.tree.name(parent, &name, id)?;
                    continue;
                }
                let inode = self.reader.inode(number)?;
                let kind = match inode.kind {
                    NodeKind::Whiteout => {
                        self.tree.hide(parent, &name);
                        continue;
                    }
                    NodeKind::File(file) => NodeKind::File(self.moved(file)?),
                    other => other,
                };
                let is_directory = matches!(kind, NodeKind::Directory(_));
                // One that is in two places may be within itself.
                if is_directory && !directories.insert(number) {
                    return Err(damaged("a directory in two places"));
                }
                let attributes = inode.attributes;
                let id = self.tree.lay(parent, &name, Node { kind, attributes })?;
                if is_directory {
                    pending.push((id, inode.entries));
                } else {
                    self.links.insert(number, id);
                }
            }
        }
        Ok(())
    }

    /// A file's place among the blocks of all layers. What of it stays in memory is counted.
    fn moved(&mut self, mut file: FileData) -> Result<FileData, UnpackError> {
        let first = self.first_block;
        let kept = match &mut file.layout {
            FileLayout::Flat { block, tail } => {
                *block = counted_from(first, *block);
                tail.len()
            }
            FileLayout::Chunked { table, .. } => {
                table.iter_mut().for_each(|block| *block = counted_from(first, *block));
                table.len() * 4
            }
        };
        self.tree.charge(kept as u64)?;
        Ok(file)
    }
}
