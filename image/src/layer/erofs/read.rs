//! Reads back what of an image [`super::ErofsWriter`] wrote is no file data: inodes, names, attributes, tails.
//!
//! Owns: the bounds of everything an image says. Never does: read file data in blocks, or believe that an image is as
//! it was written: whoever wrote it parsed hostile bytes, and others may have changed it since.

use super::super::error::UnpackError;
use super::super::tree::{Attributes, Directory, FileData, FileLayout, NodeKind};
use super::format::{self, BLOCK_BYTES, INODE_BYTES, NO_BLOCK, SLOT_BYTES, XATTR_HEADER_BYTES};
use super::{MAX_CHUNKS, directory};
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use tarball::Mtime;

/// So much is read at once where inodes stand side by side.
const WINDOW_BYTES: u64 = 64 << 10;
/// No directory that a layer may have is longer.
const MAX_DIRECTORY_BYTES: u64 = 256 << 20;
const MAX_LINK_BYTES: u64 = 4095;

/// An inode, and of a directory what is in it: names and inodes' numbers.
#[derive(Debug)]
pub(in super::super) struct Inode {
    pub(in super::super) kind: NodeKind,
    pub(in super::super) attributes: Attributes,
    pub(in super::super) entries: Vec<(Box<[u8]>, u64)>,
}

/// An image that is read.
#[derive(Debug)]
pub(in super::super) struct ErofsReader<R> {
    input: R,
    length: u64,
    inodes_at: u64,
    root: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<R: Read + Seek> ErofsReader<R> {
    /// Reads the superblock of an image of so many bytes.
    ///
    /// # Errors
    /// [`UnpackError::Input`], and [`UnpackError::Image`] of one that is none of ours.
    pub(in super::super) fn new(input: R, length: u64) -> Result<Self, UnpackError> {
        let mut reader =
            Self { input, length, inodes_at: 0, root: 0, window: Vec::new(), window_at: 0 };
        let block = reader.bytes(0, BLOCK_BYTES)?;
        let (root, metadata_block) =
            format::decode_superblock(&block).ok_or_else(|| damaged("its superblock"))?;
        reader.inodes_at = u64::from(metadata_block) * BLOCK_BYTES;
        reader.root = u64::from(root);
        Ok(reader)
    }

    /// The number of the root directory.
    pub(in super::super) fn root(&self) -> u64 {
        self.root
    }

    /// Reads an inode.
    ///
    /// # Errors
    /// [`UnpackError::Input`], and [`UnpackError::Image`] of one that makes no sense.
    pub(in super::super) fn inode(&mut self, number: u64) -> Result<Inode, UnpackError> {
        let at = number.checked_mul(SLOT_BYTES).and_then(|at| at.checked_add(self.inodes_at));
        let at = at.ok_or_else(|| damaged("an inode's number"))?;
        let bytes = self.bytes(at, INODE_BYTES)?;
        let head = format::decode_inode(&bytes).ok_or_else(|| damaged("an inode"))?;
        let mut behind = at + INODE_BYTES;
        let (xattrs, opaque) = self.xattrs(behind, head.xattr_bytes)?;
        behind += head.xattr_bytes;
        let mut entries = Vec::new();
        let kind = match head.kind {
            format::S_IFREG => NodeKind::File(FileData {
                size: head.size,
                layout: match head.data_layout {
                    format::CHUNK_BASED => self.chunks(behind, head.size, head.union)?,
                    layout => self.flat(behind, head.size, head.union, layout)?,
                },
            }),
            format::S_IFDIR if head.size <= MAX_DIRECTORY_BYTES => {
                let body = self.body(behind, &head)?;
                entries = directory::decode(&body).ok_or_else(|| damaged("a directory"))?;
                NodeKind::Directory(Directory::new(opaque))
            }
            format::S_IFLNK if (1..=MAX_LINK_BYTES).contains(&head.size) => {
                NodeKind::SymbolicLink(self.body(behind, &head)?)
            }
            format::S_IFCHR if head.union == 0 => NodeKind::Whiteout,
            format::S_IFCHR | format::S_IFBLK => {
                let (major, minor) = format::split_device_number(head.union);
                match head.kind {
                    format::S_IFCHR => NodeKind::CharacterDevice { major, minor },
                    _ => NodeKind::BlockDevice { major, minor },
                }
            }
            format::S_IFIFO => NodeKind::Fifo,
            _ => return Err(damaged("an inode's type")),
        };
        let mtime = Mtime { seconds: head.seconds, nanoseconds: head.nanoseconds };
        let attributes =
            Attributes { mode: head.mode, uid: head.uid, gid: head.gid, mtime, xattrs };
        Ok(Inode { kind, attributes, entries })
    }

    /// A file that lies in one piece: where that begins, and the tail beside the inode.
    fn flat(
        &mut self,
        behind: u64,
        size: u64,
        block: u32,
        layout: u16,
    ) -> Result<FileLayout, UnpackError> {
        let tail_bytes = match layout {
            format::FLAT_INLINE => size % BLOCK_BYTES,
            format::FLAT_PLAIN => 0,
            _ => return Err(damaged("a file's form")),
        };
        let in_blocks = size - tail_bytes;
        if in_blocks > 0 {
            self.check_blocks(block, in_blocks)?;
        }
        let tail = self.bytes(behind, tail_bytes)?.into();
        Ok(FileLayout::Flat { block: if in_blocks > 0 { block } else { NO_BLOCK }, tail })
    }

    /// A file with holes.
    fn chunks(&mut self, behind: u64, size: u64, form: u32) -> Result<FileLayout, UnpackError> {
        let chunk_bits = form.saturating_add(BLOCK_BYTES.trailing_zeros());
        if chunk_bits > 43 || size.div_ceil(1 << chunk_bits) > MAX_CHUNKS {
            return Err(damaged("a file's chunks"));
        }
        let count = size.div_ceil(1 << chunk_bits);
        let bytes = self.bytes(behind, count * 4)?;
        let table: Box<[u32]> =
            bytes.as_chunks::<4>().0.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect();
        for (index, &block) in (0u64..).zip(&table) {
            if block != NO_BLOCK {
                let left = size - (index << chunk_bits);
                self.check_blocks(block, left.min(1 << chunk_bits))?;
            }
        }
        let chunk_bits = u8::try_from(chunk_bits).map_err(|_| damaged("a file's chunks"))?;
        Ok(FileLayout::Chunked { chunk_bits, table })
    }

    /// The bytes of a directory or a symbolic link.
    fn body(&mut self, behind: u64, head: &format::Head) -> Result<Vec<u8>, UnpackError> {
        let beside = match head.data_layout {
            format::FLAT_INLINE => head.size % BLOCK_BYTES,
            format::FLAT_PLAIN => 0,
            _ => return Err(damaged("a directory's form")),
        };
        let in_blocks = head.size - beside;
        let mut body = match in_blocks {
            0 => Vec::new(),
            _ => self.bytes(u64::from(head.union) * BLOCK_BYTES, in_blocks)?,
        };
        body.extend(self.bytes(behind, beside)?);
        Ok(body)
    }

    /// Attributes, and whether one of them marks an opaque directory.
    #[allow(clippy::type_complexity, reason = "attributes are what they are")]
    fn xattrs(
        &mut self,
        at: u64,
        length: u64,
    ) -> Result<(BTreeMap<Vec<u8>, Vec<u8>>, bool), UnpackError> {
        let mut xattrs = BTreeMap::new();
        if length > XATTR_HEADER_BYTES as u64 {
            let bytes = self.bytes(at, length)?;
            xattrs = format::decode_xattrs(&bytes).ok_or_else(|| damaged("attributes"))?;
        }
        let opaque = xattrs.remove(format::OPAQUE_NAME).is_some();
        Ok((xattrs, opaque))
    }

    fn check_blocks(&self, block: u32, bytes: u64) -> Result<(), UnpackError> {
        let bytes = bytes.checked_next_multiple_of(BLOCK_BYTES);
        let end = bytes.and_then(|bytes| bytes.checked_add(u64::from(block) * BLOCK_BYTES));
        match end {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(damaged("a file's place")),
        }
    }

    /// So many bytes of the image, of which there must be so many.
    fn bytes(&mut self, at: u64, count: u64) -> Result<Vec<u8>, UnpackError> {
        let end = at.checked_add(count).filter(|&end| end <= self.length);
        let end = end.ok_or_else(|| damaged("what lies beyond its end"))?;
        if at < self.window_at || end > self.window_at + self.window.len() as u64 {
            let start = at - at % BLOCK_BYTES;
            let length = (end - start).max(WINDOW_BYTES).min(self.length - start);
            self.window.resize(usize::try_from(length).map_err(|_| damaged("its length"))?, 0);
            let read = self.input.seek(SeekFrom::Start(start));
            let read = read.and_then(|_| self.input.read_exact(&mut self.window));
            read.map_err(|error| UnpackError::input(&error))?;
            self.window_at = start;
        }
        let from = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        let to = usize::try_from(end - self.window_at).unwrap_or(usize::MAX);
        self.window.get(from..to).map(<[u8]>::to_vec).ok_or_else(|| damaged("its length"))
    }
}

pub(in super::super) fn damaged(what: &'static str) -> UnpackError {
    UnpackError::Image(what.into())
}
