//! Where every inode goes. Breadth first, so that what one directory names lies together.

use super::super::error::{Limited, UnpackError};
use super::super::tree::{Directory, FileData, FileLayout, Node, NodeId, NodeKind, ROOT, Tree};
use super::directory;
use super::format::{
    BLOCK_BYTES, INODE_BYTES, NO_BLOCK, SLOT_BYTES, XATTR_HEADER_BYTES, XattrSize,
};

/// Where the first inode lies: not at 0, because an inode numbered 0 is no file to C libraries.
const FIRST_OFFSET: u64 = 2 * INODE_BYTES;

/// Whether a tail can lie in one block with its inode. (Linux asks for the tail alone; older ones,
/// for a symbolic link, for both.)
pub(super) fn fits_beside(xattrs: XattrSize, tail_bytes: u64) -> bool {
    INODE_BYTES + xattrs.bytes() + tail_bytes <= BLOCK_BYTES
}

/// Where one inode and what belongs to it lies.
#[derive(Debug)]
pub(super) struct Place {
    /// In bytes from the begin of the inodes.
    pub(super) offset: u64,
    pub(super) links: u32,
    pub(super) body: Body,
}

/// The bytes of a directory or a symbolic link.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    /// It has none, or they were written when they came.
    None,
    /// `size` bytes, of which the last `beside` lie behind the inode and the others from `block` on.
    Here { size: u64, beside: u64, block: u32 },
}

/// Where everything lies.
#[derive(Debug)]
pub(super) struct Layout {
    order: Vec<NodeId>,
    places: Vec<Option<Place>>,
    end_block: u32,
}

impl Layout {
    /// Lays out a tree whose directories and links begin at `block`.
    pub(super) fn of(tree: &Tree, block: u32) -> Result<Self, UnpackError> {
        let mut layout = Self { order: Vec::new(), places: Vec::new(), end_block: block };
        layout.places.resize_with(tree.len(), || None);
        layout.visit(tree);
        layout.place_all(tree, block)?;
        Ok(layout)
    }

    /// All inodes that have a name, each once.
    pub(super) fn order(&self) -> &[NodeId] {
        &self.order
    }

    pub(super) fn place(&self, id: NodeId) -> Option<&Place> {
        self.places.get(id.index())?.as_ref()
    }

    /// The first block behind all inodes.
    pub(super) fn end_block(&self) -> u32 {
        self.end_block
    }

    /// The number of an inode.
    pub(super) fn nid(&self, id: NodeId) -> u64 {
        self.place(id).map_or(0, |place| place.offset / SLOT_BYTES)
    }

    /// Finds all that is in use, and counts links.
    fn visit(&mut self, tree: &Tree) {
        self.reach(ROOT, 2);
        let mut next = 0;
        while let Some(&id) = self.order.get(next) {
            next += 1;
            let Some(NodeKind::Directory(Directory { entries, .. })) = kind(tree, id) else {
                continue;
            };
            for &child in entries.values() {
                if matches!(kind(tree, child), Some(NodeKind::Directory(_))) {
                    self.reach(child, 2);
                    // Its "..".
                    self.reach(id, 1);
                } else {
                    self.reach(child, 1);
                }
            }
        }
    }

    fn reach(&mut self, id: NodeId, links: u32) {
        match self.places.get_mut(id.index()) {
            Some(Some(place)) => place.links = place.links.saturating_add(links),
            Some(slot) => {
                *slot = Some(Place { offset: 0, links, body: Body::None });
                self.order.push(id);
            }
            None => {}
        }
    }

    fn place_all(&mut self, tree: &Tree, first_block: u32) -> Result<(), UnpackError> {
        let mut block = u64::from(first_block);
        let mut offset = FIRST_OFFSET;
        let mut inodes_end = offset;
        for &id in &self.order {
            let (Some(node), Some(Some(place))) = (tree.node(id), self.places.get_mut(id.index()))
            else {
                continue;
            };
            let opaque = matches!(&node.kind, NodeKind::Directory(d) if d.opaque);
            let xattrs = XattrSize::of(&node.attributes.xattrs, opaque);
            let mut behind = 0;
            if let Some(size) = body_bytes(node, id) {
                let tail = size % BLOCK_BYTES;
                let beside = if fits_beside(xattrs, tail) { tail } else { 0 };
                let blocks = (size - beside).div_ceil(BLOCK_BYTES);
                let at =
                    if blocks > 0 { u32::try_from(block).unwrap_or(NO_BLOCK) } else { NO_BLOCK };
                block += blocks;
                behind = beside;
                place.body = Body::Here { size, beside, block: at };
            }
            let mut bytes = INODE_BYTES + xattrs.bytes();
            match &node.kind {
                NodeKind::File(FileData { layout: FileLayout::Chunked { table, .. }, .. }) => {
                    bytes += 4 * table.len() as u64;
                }
                NodeKind::File(FileData { layout: FileLayout::Flat { tail, .. }, .. }) => {
                    behind = tail.len() as u64;
                }
                _ => {}
            }
            bytes += behind;
            if behind > 0 && offset % BLOCK_BYTES + bytes > BLOCK_BYTES {
                offset = offset.next_multiple_of(BLOCK_BYTES);
            }
            place.offset = offset;
            inodes_end = offset + bytes;
            offset = inodes_end.next_multiple_of(SLOT_BYTES);
        }
        // A header of attributes stands behind the last, too.
        let end = block + (inodes_end + XATTR_HEADER_BYTES as u64).div_ceil(BLOCK_BYTES);
        self.end_block = u32::try_from(end).unwrap_or(NO_BLOCK);
        if end >= u64::from(NO_BLOCK) {
            let limit = u64::from(NO_BLOCK) * BLOCK_BYTES;
            return Err(UnpackError::Limit { what: Limited::ImageBytes, limit });
        }
        Ok(())
    }
}

fn kind(tree: &Tree, id: NodeId) -> Option<&NodeKind> {
    tree.node(id).map(|node| &node.kind)
}

fn body_bytes(node: &Node, id: NodeId) -> Option<u64> {
    match &node.kind {
        NodeKind::Directory(entries) => Some(directory::size(entries, id)),
        NodeKind::SymbolicLink(target) => Some(target.len() as u64),
        _ => None,
    }
}
