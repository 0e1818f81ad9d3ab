//! The format's structures and numbers, as `fs/erofs/erofs_fs.h` in Linux 6.12 has them. All numbers
//! are little-endian.

use super::super::tree::{Attributes, NodeKind};
use std::collections::BTreeMap;

/// The size of a block, in bytes.
pub(in super::super) const BLOCK_BYTES: u64 = 4096;
/// The same, for memory.
pub(super) const BLOCK: usize = 4096;
/// The size of an extended inode, in bytes. The compact form has no time and 16-bit owners.
pub(super) const INODE_BYTES: u64 = INODE as u64;
const INODE: usize = 64;
/// What an inode's number counts, in bytes.
pub(super) const SLOT_BYTES: u64 = 32;
/// No block: a hole in a table of chunks.
pub(super) const NO_BLOCK: u32 = u32::MAX;
/// The most that one inode's attributes may take: their size is counted in fours, in 16 bits.
pub(in super::super) const MAX_XATTR_BYTES: usize =
    XATTR_HEADER_BYTES + (u16::MAX as usize - 1) * 4;

pub(super) const FLAT_PLAIN: u16 = 0;
pub(super) const FLAT_INLINE: u16 = 2;
pub(super) const CHUNK_BASED: u16 = 4;

const SUPERBLOCK_OFFSET: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
/// Times are modification times.
const FEATURE_COMPAT_MTIME: u32 = 2;
const FEATURE_INCOMPAT_CHUNKED_FILE: u32 = 4;
/// `struct erofs_xattr_ibody_header`.
pub(super) const XATTR_HEADER_BYTES: usize = 12;

const S_IFMT: u16 = 0o170_000;
pub(super) const S_IFIFO: u16 = 0o010_000;
pub(super) const S_IFCHR: u16 = 0o020_000;
pub(super) const S_IFDIR: u16 = 0o040_000;
pub(super) const S_IFBLK: u16 = 0o060_000;
pub(super) const S_IFREG: u16 = 0o100_000;
pub(super) const S_IFLNK: u16 = 0o120_000;

/// The attribute by which overlayfs knows that a directory hides what lower layers have in it.
pub(super) const OPAQUE_NAME: &[u8] = b"trusted.overlay.opaque";

/// A file type, as inodes and as directories have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileType {
    mode: u16,
    pub(super) in_directory: u8,
}

pub(super) fn file_type(kind: &NodeKind) -> FileType {
    let (mode, in_directory) = match kind {
        NodeKind::File(_) => (S_IFREG, 1),
        NodeKind::Directory(_) => (S_IFDIR, 2),
        NodeKind::CharacterDevice { .. } | NodeKind::Whiteout => (S_IFCHR, 3),
        NodeKind::BlockDevice { .. } => (S_IFBLK, 4),
        NodeKind::Fifo => (S_IFIFO, 5),
        NodeKind::SymbolicLink(_) => (S_IFLNK, 7),
    };
    FileType { mode, in_directory }
}

/// Linux's `new_encode_dev`.
pub(super) fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The device of such a number.
pub(super) fn split_device_number(number: u32) -> (u32, u32) {
    ((number & 0xf_ff00) >> 8, (number & 0xff) | ((number >> 12) & 0xf_ff00))
}

/// What an inode has besides its attributes.
#[derive(Debug)]
pub(super) struct InodeHead {
    pub(super) data_layout: u16,
    pub(super) size: u64,
    /// The first block, the device number, or the format of chunks.
    pub(super) union: u32,
    pub(super) file_type: FileType,
    pub(super) links: u32,
    pub(super) number: u32,
}

/// `struct erofs_inode_extended`.
pub(super) fn encode_inode(
    head: &InodeHead,
    attributes: &Attributes,
    xattr_bytes: usize,
) -> [u8; INODE] {
    let mut out = Bytes([0; INODE]);
    let xattr_count = match xattr_bytes.checked_sub(XATTR_HEADER_BYTES) {
        None => 0,
        Some(entries) => u16::try_from(entries / 4 + 1).unwrap_or(u16::MAX),
    };
    out.put(0, &(1 | head.data_layout << 1).to_le_bytes());
    out.put(2, &xattr_count.to_le_bytes());
    out.put(4, &(head.file_type.mode | attributes.mode).to_le_bytes());
    out.put(8, &head.size.to_le_bytes());
    out.put(16, &head.union.to_le_bytes());
    out.put(20, &head.number.to_le_bytes());
    out.put(24, &attributes.uid.to_le_bytes());
    out.put(28, &attributes.gid.to_le_bytes());
    out.put(32, &attributes.mtime.seconds.to_le_bytes());
    out.put(40, &attributes.mtime.nanoseconds.to_le_bytes());
    out.put(44, &head.links.to_le_bytes());
    out.0
}

/// What stands in an inode that is read.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) data_layout: u16,
    /// `S_IFMT`'s part of its mode.
    pub(super) kind: u16,
    /// The rest of its mode.
    pub(super) mode: u16,
    pub(super) xattr_bytes: u64,
    pub(super) size: u64,
    pub(super) union: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

/// Reads a `struct erofs_inode_extended`; `None` of the compact form.
pub(super) fn decode_inode(bytes: &[u8]) -> Option<Head> {
    let form = u16_at(bytes, 0)?;
    let mode = u16_at(bytes, 4)?;
    let xattr_bytes = match u64::from(u16_at(bytes, 2)?) {
        0 => 0,
        count => XATTR_HEADER_BYTES as u64 + (count - 1) * 4,
    };
    let seconds = *bytes.get(32..)?.first_chunk()?;
    let size = *bytes.get(8..)?.first_chunk()?;
    (form & 1 == 1).then_some(Head {
        data_layout: form >> 1,
        kind: mode & S_IFMT,
        mode: mode & !S_IFMT,
        xattr_bytes,
        size: u64::from_le_bytes(size),
        union: u32_at(bytes, 16)?,
        uid: u32_at(bytes, 24)?,
        gid: u32_at(bytes, 28)?,
        seconds: i64::from_le_bytes(seconds),
        nanoseconds: u32_at(bytes, 40)?,
    })
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The root's number and the first block of the inodes, where the first block is one that [`Superblock`] makes.
pub(super) fn decode_superblock(block: &[u8]) -> Option<(u16, u32)> {
    let bytes = block.get(SUPERBLOCK_OFFSET..)?;
    let known = u32_at(bytes, 0)? == MAGIC
        && u32::from(*bytes.get(12)?) == BLOCK_BYTES.trailing_zeros()
        && u32_at(bytes, 80)? & !FEATURE_INCOMPAT_CHUNKED_FILE == 0;
    known.then_some((u16_at(bytes, 14)?, u32_at(bytes, 40)?))
}

/// What the superblock says that is not the same for every image.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) root_nid: u64,
    pub(super) inodes: u64,
    pub(super) blocks: u32,
    pub(super) metadata_block: u32,
    pub(super) uuid: [u8; 16],
    pub(super) has_chunks: bool,
}

impl Superblock {
    /// `struct erofs_super_block` in the first block.
    pub(super) fn encode(&self) -> [u8; BLOCK] {
        let mut out = Bytes([0; BLOCK]);
        let incompat = if self.has_chunks { FEATURE_INCOMPAT_CHUNKED_FILE } else { 0 };
        let root_nid = u16::try_from(self.root_nid).unwrap_or(u16::MAX);
        let block_bits = u8::try_from(BLOCK_BYTES.trailing_zeros()).unwrap_or(0);
        out.put(SUPERBLOCK_OFFSET, &MAGIC.to_le_bytes());
        out.put(SUPERBLOCK_OFFSET + 8, &FEATURE_COMPAT_MTIME.to_le_bytes());
        out.put(SUPERBLOCK_OFFSET + 12, &[block_bits]);
        out.put(SUPERBLOCK_OFFSET + 14, &root_nid.to_le_bytes());
        out.put(SUPERBLOCK_OFFSET + 16, &self.inodes.to_le_bytes());
        out.put(SUPERBLOCK_OFFSET + 36, &self.blocks.to_le_bytes());
        out.put(SUPERBLOCK_OFFSET + 40, &self.metadata_block.to_le_bytes());
        out.put(SUPERBLOCK_OFFSET + 48, &self.uuid);
        out.put(SUPERBLOCK_OFFSET + 80, &incompat.to_le_bytes());
        out.0
    }
}

/// How many bytes an inode's attributes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct XattrSize(usize);

impl XattrSize {
    /// Of these attributes, in a directory perhaps with one more.
    pub(in super::super) fn of(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>, opaque: bool) -> Self {
        let entry = |x: Xattr<'_>| (4 + x.name.len() + x.value.len()).next_multiple_of(4);
        let entries: usize = stored_xattrs(xattrs, opaque).map(entry).sum();
        Self(if entries == 0 { 0 } else { XATTR_HEADER_BYTES + entries })
    }

    /// The number.
    pub(in super::super) fn bytes(self) -> u64 {
        self.0 as u64
    }
}

/// The namespaces that the format knows: their number, and what of a name it stands for.
const XATTR_PREFIXES: [(u8, &[u8]); 5] = [
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (1, b"user."),
    (4, b"trusted."),
    (6, b"security."),
];

/// Whether the format, and so Linux on it, has a place for an attribute of this name.
pub(in super::super) fn xattr_namespace(name: &[u8]) -> Option<(u8, &[u8])> {
    XATTR_PREFIXES.iter().find_map(|(index, prefix)| {
        let rest = name.strip_prefix(*prefix)?;
        // ACLs are whole names, the others are prefixes of some.
        (rest.is_empty() != prefix.ends_with(b".")).then_some((*index, rest))
    })
}

/// One attribute as the format has it: its namespace's number, and the rest of its name.
struct Xattr<'a> {
    index: u8,
    name_bytes: u8,
    value_bytes: u16,
    name: &'a [u8],
    value: &'a [u8],
}

/// The attributes that the format has a place for, in a directory perhaps with one more.
fn stored_xattrs(
    xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
    opaque: bool,
) -> impl Iterator<Item = Xattr<'_>> {
    let mark: (&[u8], &[u8]) = (OPAQUE_NAME, b"y");
    let all = xattrs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    opaque.then_some(mark).into_iter().chain(all).filter_map(|(name, value)| {
        let (index, name) = xattr_namespace(name)?;
        let (name_bytes, value_bytes) = (name.len().try_into().ok()?, value.len().try_into().ok()?);
        Some(Xattr { index, name_bytes, value_bytes, name, value })
    })
}

/// `struct erofs_xattr_ibody_header` and its entries; nothing where there are no attributes.
pub(super) fn encode_xattrs(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>, opaque: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for Xattr { index, name_bytes, value_bytes, name, value } in stored_xattrs(xattrs, opaque) {
        if out.is_empty() {
            out.resize(XATTR_HEADER_BYTES, 0);
        }
        out.extend([name_bytes, index]);
        out.extend(value_bytes.to_le_bytes());
        out.extend(name);
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// Reads what [`encode_xattrs`] makes.
pub(super) fn decode_xattrs(bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut xattrs = BTreeMap::new();
    let mut left = bytes.get(XATTR_HEADER_BYTES..)?;
    while !left.is_empty() {
        let (&name_bytes, &index) = (left.first()?, left.get(1)?);
        let value_bytes = usize::from(u16_at(left, 2)?);
        let (_, prefix) = XATTR_PREFIXES.iter().find(|(known, _)| *known == index)?;
        let (name, behind) = left.get(4..)?.split_at_checked(usize::from(name_bytes))?;
        let value = behind.get(..value_bytes)?;
        xattrs.insert([prefix, name].concat(), value.to_vec());
        let bytes = (4 + name.len() + value_bytes).next_multiple_of(4);
        left = left.get(bytes..)?;
    }
    Some(xattrs)
}

/// A structure being filled at offsets that are constants.
struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> Bytes<N> {
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(field) = self.0.get_mut(offset..offset + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }
}
