//! The unpacking of one layer: tar, perhaps compressed → entries → one EROFS image (OCI image
//! specification 1.1, layer.md).
//!
//! Owns: what becomes of every byte of a layer. Never does: open a path, use a name of the layer for
//! anything on this machine, or keep file data in memory. [`unpack`] is what a jailed process runs
//! with two open files; it may be told anything by those bytes.
//!
//! Whiteouts become overlayfs's: a character device 0/0, and `trusted.overlay.opaque`. Attributes that
//! would make overlayfs look elsewhere (`trusted.overlay.*`) are not taken from a layer. An opaque
//! root hides nothing, in overlayfs as here.

mod erofs;
pub(crate) mod error;
mod input;
mod limits;
mod merge;
pub(crate) mod path;
mod recipe;
#[cfg(test)]
pub(crate) mod tests;
mod tree;

pub use error::{EntryError, Limited, Quoted, TarError, UnpackError};
pub use input::Compression;
pub use limits::Limits;
pub use merge::{MergeJob, merge};
pub use recipe::{Archive, RecipeError};

use crate::digest::{Algorithm, Digest, HashingReader};
use erofs::{ErofsWriter, MAX_XATTR_BYTES, XattrSize};
use input::Decoder;
use path::Role;
use recipe::{Recipe, Recorded};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use tarball::{Entry, EntryKind, Stream, TarInput, TarReader};
use tree::{Attributes, Directory, Failure, NodeKind, Tree};

const INPUT_BUFFER_BYTES: usize = 256 << 10;
const ARCHIVE_BUFFER_BYTES: usize = 256 << 10;
const MAX_LINK_BYTES: usize = 4095;
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

/// What is to be unpacked, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackJob {
    /// Where in the input the layer begins, in bytes.
    pub offset: u64,
    /// How long it is there, in bytes.
    pub length: u64,
    /// By which algorithm the diff ID is wanted.
    pub diff_algorithm: Algorithm,
    /// What the layer may cost.
    pub limits: Limits,
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackReport {
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// How long the image is, in bytes: a multiple of 4096.
    pub image_bytes: u64,
}

/// Unpacks the layer that lies in `input`, and writes its image to `output`, which must be empty.
/// Reads `input` in order from `job.offset`, so that its file position tells how far it is.
///
/// # Errors
/// Any [`UnpackError`]; `output` then holds nothing of worth.
pub fn unpack(job: &UnpackJob, input: &File, output: &File) -> Result<UnpackReport, UnpackError> {
    let mut input = input;
    input.seek(SeekFrom::Start(job.offset)).map_err(|error| UnpackError::input(&error))?;
    unpack_stream(input.take(job.length), output, job.diff_algorithm, &job.limits)
}

/// Unpacks a layer from anything to anything: what [`unpack`] does with files.
///
/// # Errors
/// Any [`UnpackError`].
pub fn unpack_stream(
    input: impl Read,
    output: impl Write + Seek,
    algorithm: Algorithm,
    limits: &Limits,
) -> Result<UnpackReport, UnpackError> {
    let decoder = Decoder::new(BufReader::with_capacity(INPUT_BUFFER_BYTES, input))?;
    let limited = input::Limited { inner: decoder, left: limits.archive_bytes };
    let mut hashing = HashingReader::new(limited, algorithm);
    let (unpacked, recipe) =
        unpack_archive(&mut hashing, output, limits).map_err(|error| match error {
            UnpackError::Tar(TarError::TooLong) => {
                UnpackError::Limit { what: Limited::ArchiveBytes, limit: limits.archive_bytes }
            }
            other => other,
        })?;
    unpacked.finish(recipe, hashing)
}

/// What is left to do once the archive is read: only then is its digest known.
struct Unpacked<W> {
    tree: Tree,
    writer: ErofsWriter<W>,
}

impl<W: Write + Seek> Unpacked<W> {
    fn finish<R: Read>(
        mut self,
        recipe: Recipe,
        hashing: HashingReader<R>,
    ) -> Result<UnpackReport, UnpackError> {
        let (diff_id, _) = hashing.finish();
        self.tree.drop_idle_whiteouts();
        // Overlayfs wants UUIDs unlike.
        let image_bytes = self.writer.finish(&self.tree, diff_id.uuid(), recipe)?;
        Ok(UnpackReport { diff_id, image_bytes })
    }
}

fn unpack_archive<W: Write + Seek>(
    archive: impl Read,
    output: W,
    limits: &Limits,
) -> Result<(Unpacked<W>, Recipe), UnpackError> {
    let stream = Stream(BufReader::with_capacity(ARCHIVE_BUFFER_BYTES, archive));
    let mut reader = TarReader::new(Recorded::new(stream));
    let writer = ErofsWriter::new(output, limits)?;
    let mut unpacked = Unpacked { tree: Tree::new(limits), writer };
    let mut entries = 0;
    while let Some(entry) = reader.next_entry()? {
        entries += 1;
        if entries > limits.entries {
            return Err(UnpackError::Limit { what: Limited::Entries, limit: limits.entries });
        }
        let path = entry.path.clone();
        unpacked.entry(&mut reader, entry).map_err(|failure| match failure {
            Failure::Layer(error) => error,
            Failure::Entry(source) => UnpackError::Entry { path: Quoted::new(&path), source },
        })?;
    }
    // The digest is of all bytes, also those behind the archive's end.
    let recipe = reader.into_input().into_recipe().map_err(|error| TarError::read(&error))?;
    Ok((unpacked, recipe))
}

impl<W: Write + Seek> Unpacked<W> {
    fn entry(
        &mut self,
        reader: &mut TarReader<impl TarInput>,
        mut entry: Entry,
    ) -> Result<(), Failure> {
        let path = std::mem::take(&mut entry.path);
        match Role::of(&path)? {
            Role::Ignored => Ok(()),
            Role::Opaque { directory } => self.tree.opaque(&directory),
            Role::Whiteout { directory, name } => self.tree.whiteout(&directory, name),
            Role::Plain(components) if entry.kind == EntryKind::HardLink => {
                let target = path::components(&entry.link)?;
                self.tree.link(&components, &target)
            }
            Role::Plain(components) => {
                let (attributes, opaque) = attributes(&mut entry)?;
                let kind = self.kind(reader, entry, &attributes, opaque)?;
                self.tree.put(&components, kind, attributes)
            }
        }
    }

    fn kind(
        &mut self,
        reader: &mut TarReader<impl TarInput>,
        entry: Entry,
        attributes: &Attributes,
        opaque: bool,
    ) -> Result<NodeKind, Failure> {
        let (major, minor) = entry.device;
        let device_fits = major <= MAX_MAJOR && minor <= MAX_MINOR;
        Ok(match entry.kind {
            EntryKind::Directory => NodeKind::Directory(Directory::new(opaque)),
            EntryKind::Fifo => NodeKind::Fifo,
            EntryKind::CharacterDevice | EntryKind::BlockDevice if !device_fits => {
                return Err(EntryError::Device.into());
            }
            EntryKind::CharacterDevice => NodeKind::CharacterDevice { major, minor },
            EntryKind::BlockDevice => NodeKind::BlockDevice { major, minor },
            EntryKind::SymbolicLink => {
                let length_fits = (1..=MAX_LINK_BYTES).contains(&entry.link.len());
                if !length_fits || entry.link.contains(&0) {
                    return Err(EntryError::LinkTarget.into());
                }
                NodeKind::SymbolicLink(entry.link)
            }
            EntryKind::File | EntryKind::HardLink => NodeKind::File(match &entry.segments {
                None => {
                    let xattrs = XattrSize::of(&attributes.xattrs, false);
                    self.writer.file(reader, entry.size, xattrs)?
                }
                Some(segments) => {
                    self.tree.charge(erofs::table_bytes(entry.size))?;
                    self.writer.sparse_file(reader, entry.size, segments)?
                }
            }),
        })
    }
}

/// What an inode has of its entry, and whether the entry is marked opaque already.
fn attributes(entry: &mut Entry) -> Result<(Attributes, bool), EntryError> {
    let mut xattrs = std::mem::take(&mut entry.xattrs);
    let mark = xattrs.get(b"trusted.overlay.opaque".as_slice());
    let opaque = mark.is_some_and(|value| value == b"y");
    // Linux has no place for attributes of other namespaces; Docker leaves them out too.
    xattrs.retain(|name, _| {
        erofs::xattr_namespace(name).is_some() && !name.starts_with(b"trusted.overlay.")
    });
    for (name, value) in &xattrs {
        if name.len() > 255 || value.len() > usize::from(u16::MAX) || name.contains(&0) {
            return Err(EntryError::Xattr);
        }
    }
    if XattrSize::of(&xattrs, true).bytes() > MAX_XATTR_BYTES as u64 {
        return Err(EntryError::XattrTotal);
    }
    let Entry { mode, uid, gid, mtime, .. } = *entry;
    Ok((Attributes { mode, uid, gid, mtime, xattrs }, opaque))
}
