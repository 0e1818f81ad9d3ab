//! Writes EROFS images, as Linux's `fs/erofs/erofs_fs.h` defines them: uncompressed, 4 KiB blocks.
//!
//! ```text
//!   block 0           │ file data, as it comes │ directories and long links │ inodes, each with its
//!   superblock @ 1024 │                        │ that do not fit beside     │ attributes and tail
//! ```
//!
//! The image of a merged tree has the same form, without file data: that lies behind it, in the layers' own images.
//!
//! Owns: the format. Never does: hold file data, save tails up to a budget. The same tree and the same
//! data in the same order give the same bytes. Every Linux since 5.15 reads them (chunk-based files).

mod blocks;
mod directory;
mod format;
mod layout;
mod read;

pub(super) use format::{BLOCK_BYTES, MAX_XATTR_BYTES, XattrSize, xattr_namespace};
pub(super) use read::{ErofsReader, damaged};

use super::error::{Limited, UnpackError};
use super::limits::Limits;
use super::recipe::{self, Recipe};
use super::tree::{FileData, FileLayout, Node, NodeId, NodeKind, ROOT, Tree};
use blocks::BlockWriter;
use format::{InodeHead, NO_BLOCK, Superblock, XATTR_HEADER_BYTES};
use layout::{Body, Layout};
use std::io::{Seek, Write};
use tarball::{Segment, TarInput, TarReader};

/// Tails of files up to this length lie beside their inode: a block of their own would be mostly waste.
const MAX_TAIL_BYTES: u64 = 2048;
/// And this much of them is kept in memory at most; later tails take a block.
const TAILS_BUDGET_BYTES: u64 = 64 << 20;
/// The most chunks of one sparse file: their table stays in memory.
const MAX_CHUNKS: u64 = 1 << 16;

/// Writes one image.
#[derive(Debug)]
pub(super) struct ErofsWriter<W> {
    blocks: BlockWriter<W>,
    tails_left: u64,
    has_chunks: bool,
}

impl<W: Write + Seek> ErofsWriter<W> {
    /// Begins an image at the begin of `out`, which must be empty.
    pub(super) fn new(out: W, limits: &Limits) -> Result<Self, UnpackError> {
        let mut blocks = BlockWriter::new(out, limits);
        blocks.zeroes(BLOCK_BYTES)?; // the superblock's
        Ok(Self { blocks, tails_left: TAILS_BUDGET_BYTES, has_chunks: false })
    }

    /// Writes the data of an ordinary file, which is all that `reader` has of its entry.
    pub(super) fn file<I: TarInput>(
        &mut self,
        reader: &mut TarReader<I>,
        size: u64,
        xattrs: XattrSize,
    ) -> Result<FileData, UnpackError> {
        let tail_bytes = size % BLOCK_BYTES;
        let beside = tail_bytes > 0
            && tail_bytes <= MAX_TAIL_BYTES.min(self.tails_left)
            && layout::fits_beside(xattrs, tail_bytes);
        let in_blocks = if beside { size - tail_bytes } else { size };
        let block = if in_blocks > 0 { self.blocks.block()? } else { NO_BLOCK };
        self.copy(reader, in_blocks)?;
        self.blocks.align()?;
        let mut tail = Vec::new();
        if beside {
            self.tails_left -= tail_bytes;
            loop {
                let bytes = reader.data()?;
                if bytes.is_empty() {
                    break;
                }
                tail.extend_from_slice(bytes);
                let count = bytes.len();
                reader.consume(count);
            }
        }
        Ok(FileData { size, layout: FileLayout::Flat { block, tail: tail.into() } })
    }

    /// Writes the data of a sparse file, whose stored data is all that `reader` has of its entry.
    pub(super) fn sparse_file<I: TarInput>(
        &mut self,
        reader: &mut TarReader<I>,
        size: u64,
        segments: &[Segment],
    ) -> Result<FileData, UnpackError> {
        self.has_chunks = true;
        let chunk_bits = chunk_bits(size);
        let chunk_bytes = 1u64 << chunk_bits;
        let count = usize::try_from(size.div_ceil(chunk_bytes)).unwrap_or(0);
        let mut table = vec![NO_BLOCK; count];
        // Chunks are filled in order; each ends where the next may begin, or at the file's last block.
        let mut chunk_end = self.blocks.position();
        for segment in segments {
            let mut offset = segment.offset;
            let end = segment.offset + segment.length;
            while offset < end {
                let index = usize::try_from(offset / chunk_bytes).unwrap_or(usize::MAX);
                let Some(chunk) = table.get_mut(index) else { break };
                let within = offset % chunk_bytes;
                if *chunk == NO_BLOCK {
                    self.blocks.zeroes(chunk_end - self.blocks.position())?;
                    *chunk = self.blocks.block()?;
                    let left = (size - (offset - within)).next_multiple_of(BLOCK_BYTES);
                    chunk_end = self.blocks.position() + left.min(chunk_bytes);
                }
                let at = u64::from(*chunk) * BLOCK_BYTES + within;
                self.blocks.zeroes(at - self.blocks.position())?;
                let step = (end - offset).min(chunk_bytes - within);
                self.copy(reader, step)?;
                offset += step;
            }
        }
        self.blocks.zeroes(chunk_end - self.blocks.position())?;
        let chunk_bits = u8::try_from(chunk_bits).unwrap_or(u8::MAX);
        Ok(FileData { size, layout: FileLayout::Chunked { chunk_bits, table: table.into() } })
    }

    /// Copies `count` bytes of the entry's data, or what there is of them.
    fn copy<I: TarInput>(
        &mut self,
        reader: &mut TarReader<I>,
        mut count: u64,
    ) -> Result<(), UnpackError> {
        while count > 0 {
            let bytes = reader.data()?;
            if bytes.is_empty() {
                break;
            }
            let step = bytes.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            let position = self.blocks.position();
            self.blocks.write(bytes.get(..step).unwrap_or(bytes))?;
            reader.consume_placed(step, position);
            count -= step as u64;
        }
        Ok(())
    }

    /// Writes inodes and superblock, and behind them how the archive is made again; gives the image's length.
    pub(super) fn finish(
        mut self,
        tree: &Tree,
        uuid: [u8; 16],
        recipe: Recipe,
    ) -> Result<u64, UnpackError> {
        let layout = Layout::of(tree, self.blocks.block()?)?;
        let superblock = self.inodes(tree, &layout, 0, uuid)?;
        if let Some((recipe, archive_bytes)) = recipe.finish() {
            let (offset, length) = (self.blocks.position(), recipe.len() as u64);
            self.blocks.write(&recipe)?;
            let end = self.blocks.position() + recipe::TRAILER_BYTES as u64;
            self.blocks.zeroes(end.wrapping_neg() % BLOCK_BYTES)?;
            self.blocks.write(&recipe::trailer(offset, length, archive_bytes))?;
        }
        self.blocks.finish(&superblock.encode())
    }

    /// Writes the image of a tree whose file data lies in `data_blocks` blocks that will stand behind it, the first of
    /// which the tree counts as 0; gives its own length.
    pub(super) fn finish_before_data(
        mut self,
        tree: &Tree,
        uuid: [u8; 16],
        data_blocks: u32,
    ) -> Result<u64, UnpackError> {
        self.has_chunks = true;
        let layout = Layout::of(tree, self.blocks.block()?)?;
        let own_blocks = layout.end_block();
        let too_large = || {
            let limit = u64::from(NO_BLOCK) * BLOCK_BYTES;
            UnpackError::Limit { what: Limited::ImageBytes, limit }
        };
        let all = own_blocks.checked_add(data_blocks).filter(|&all| all < NO_BLOCK);
        let all = all.ok_or_else(too_large)?;
        let mut superblock = self.inodes(tree, &layout, own_blocks, uuid)?;
        // Files' blocks are counted from there.
        if superblock.blocks != own_blocks {
            return Err(damaged("what was merged"));
        }
        superblock.blocks = all;
        self.blocks.finish(&superblock.encode())
    }

    /// Writes directories and inodes. Files' blocks are counted from `data_from`.
    fn inodes(
        &mut self,
        tree: &Tree,
        layout: &Layout,
        data_from: u32,
        uuid: [u8; 16],
    ) -> Result<Superblock, UnpackError> {
        for &id in layout.order() {
            let Some((node, place)) = tree.node(id).zip(layout.place(id)) else { continue };
            let Body::Here { size, beside, .. } = place.body else { continue };
            let body = body(tree, layout, node, id)?;
            let in_blocks = usize::try_from(size - beside).unwrap_or(usize::MAX);
            self.blocks.write(body.get(..in_blocks).unwrap_or(&body))?;
            self.blocks.align()?;
        }
        let metadata = self.blocks.block()?;
        for (number, &id) in (1u32..).zip(layout.order()) {
            let Some(node) = tree.node(id) else { continue };
            let Some(place) = layout.place(id) else { continue };
            let at = u64::from(metadata) * BLOCK_BYTES + place.offset;
            self.blocks.zeroes(at.saturating_sub(self.blocks.position()))?;
            let opaque = matches!(&node.kind, NodeKind::Directory(d) if d.opaque);
            let head = inode_head(node, place, number, data_from);
            let xattrs = format::encode_xattrs(&node.attributes.xattrs, opaque);
            self.blocks.write(&format::encode_inode(&head, &node.attributes, xattrs.len()))?;
            self.blocks.write(&xattrs)?;
            self.beside(tree, layout, (node, id), data_from)?;
        }
        // erofs-utils read a header of attributes behind every inode, also where it has none.
        self.blocks.zeroes(XATTR_HEADER_BYTES as u64)?;
        self.blocks.align()?;
        Ok(Superblock {
            root_nid: layout.nid(ROOT),
            inodes: layout.order().len() as u64,
            blocks: self.blocks.block()?,
            metadata_block: metadata,
            uuid,
            has_chunks: self.has_chunks,
        })
    }

    /// What lies behind an inode and its attributes: a tail, or a table of chunks.
    fn beside(
        &mut self,
        tree: &Tree,
        layout: &Layout,
        (node, id): (&Node, NodeId),
        data_from: u32,
    ) -> Result<(), UnpackError> {
        match &node.kind {
            NodeKind::File(FileData { layout: FileLayout::Flat { tail, .. }, .. }) => {
                self.blocks.write(tail)
            }
            NodeKind::File(FileData { layout: FileLayout::Chunked { table, .. }, .. }) => {
                for &block in table {
                    self.blocks.write(&counted_from(data_from, block).to_le_bytes())?;
                }
                Ok(())
            }
            NodeKind::Directory(_) | NodeKind::SymbolicLink(_) => {
                let Some(Body::Here { size, beside, .. }) = layout.place(id).map(|p| &p.body)
                else {
                    return Ok(());
                };
                if *beside == 0 {
                    return Ok(());
                }
                let body = body(tree, layout, node, id)?;
                let from = usize::try_from(size - beside).unwrap_or(usize::MAX);
                self.blocks.write(body.get(from..).unwrap_or(&[]))
            }
            _ => Ok(()),
        }
    }
}

/// The smallest chunks of which a file has no more than there may be.
fn chunk_bits(size: u64) -> u32 {
    let mut bits = BLOCK_BYTES.trailing_zeros();
    while size.div_ceil(1 << bits) > MAX_CHUNKS {
        bits += 1;
    }
    bits
}

/// How many bytes of memory a sparse file of this size takes.
pub(super) fn table_bytes(size: u64) -> u64 {
    4 * size.div_ceil(1 << chunk_bits(size))
}

/// The bytes of a directory or a symbolic link.
fn body<'a>(
    tree: &'a Tree,
    layout: &Layout,
    node: &'a Node,
    id: NodeId,
) -> Result<std::borrow::Cow<'a, [u8]>, UnpackError> {
    Ok(match &node.kind {
        NodeKind::SymbolicLink(target) => target.into(),
        NodeKind::Directory(entries) => directory::encode(tree, layout, id, entries).into(),
        _ => (&[][..]).into(),
    })
}

/// A block's number, where it is one, in an image that has so many before it.
pub(super) fn counted_from(first: u32, block: u32) -> u32 {
    if block == NO_BLOCK { NO_BLOCK } else { block.saturating_add(first) }
}

fn inode_head(node: &Node, place: &layout::Place, number: u32, data_from: u32) -> InodeHead {
    let (data_layout, size, union) = match (&node.kind, &place.body) {
        (NodeKind::File(FileData { size, layout }), _) => match layout {
            FileLayout::Flat { block, tail } if tail.is_empty() => {
                (format::FLAT_PLAIN, *size, counted_from(data_from, *block))
            }
            FileLayout::Flat { block, .. } => {
                (format::FLAT_INLINE, *size, counted_from(data_from, *block))
            }
            FileLayout::Chunked { chunk_bits, .. } => {
                let bits = u32::from(*chunk_bits) - BLOCK_BYTES.trailing_zeros();
                (format::CHUNK_BASED, *size, bits)
            }
        },
        (_, Body::Here { size, beside, block }) => {
            let layout = if *beside > 0 { format::FLAT_INLINE } else { format::FLAT_PLAIN };
            (layout, *size, *block)
        }
        (
            NodeKind::CharacterDevice { major, minor } | NodeKind::BlockDevice { major, minor },
            Body::None,
        ) => (format::FLAT_PLAIN, 0, format::device_number(*major, *minor)),
        (_, Body::None) => (format::FLAT_PLAIN, 0, 0),
    };
    InodeHead {
        data_layout,
        size,
        union,
        file_type: format::file_type(&node.kind),
        links: place.links,
        number,
    }
}
