//! An image layer: a tar archive in a file, and its digest.
//!
//! [`LayerBuilder`] writes one from nothing, entry by entry, always in the same bytes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::EPOCH;

/// An uncompressed layer on disk. Its digest is its diff ID too.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The archive.
    pub path: PathBuf,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

impl Layer {
    /// Takes the archive at `path` as a layer.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file =
            File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut hash = Sha256::new();
        let bytes = io::copy(&mut file, &mut hash)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path: path.to_path_buf(), sha256: format!("{:x}", hash.finalize()), bytes })
    }
}

/// Who owns an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u64,
    /// Group.
    pub gid: u64,
}

impl Owner {
    /// 0:0.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// Writes a layer; entries appear in the order of the calls.
pub struct LayerBuilder<W: Write> {
    archive: tar::Builder<W>,
}

impl<W: Write> LayerBuilder<W> {
    /// A layer that is written to `out`.
    pub fn new(out: W) -> Self {
        Self { archive: tar::Builder::new(out) }
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// Those of writing, here and below; and a path too long or absolute.
    pub fn directory(&mut self, path: &str, mode: u32, owner: Owner) -> io::Result<()> {
        let mut header = header(EntryType::Directory, mode, owner, 0);
        self.archive.append_data(&mut header, format!("{path}/"), io::empty())
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn file(&mut self, path: &str, mode: u32, owner: Owner, contents: &[u8]) -> io::Result<()> {
        let mut header = header(EntryType::Regular, mode, owner, contents.len() as u64);
        self.archive.append_data(&mut header, path, contents)
    }

    /// Adds a regular file, root's, with the contents of `source` on this machine.
    ///
    /// # Errors
    /// As [`Self::directory`], and those of reading `source`.
    pub fn copy_of(&mut self, path: &str, mode: u32, source: &Path) -> Result<()> {
        let mut contents = Vec::new();
        File::open(source)
            .and_then(|mut file| file.read_to_end(&mut contents))
            .with_context(|| format!("cannot read {}", source.display()))?;
        Ok(self.file(path, mode, Owner::ROOT, &contents)?)
    }

    /// Adds a symbolic link to `target`.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.archive.append_link(
            &mut header(EntryType::Symlink, 0o777, Owner::ROOT, 0),
            path,
            target,
        )
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn finish(self) -> io::Result<()> {
        self.archive.into_inner()?.flush()
    }
}

fn header(kind: EntryType, mode: u32, owner: Owner, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.uid);
    header.set_gid(owner.gid);
    header.set_mtime(EPOCH);
    header.set_size(bytes);
    header
}
