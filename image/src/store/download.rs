//! Blobs on their way from a registry: files that grow, and outlive whoever fetched them.
//!
//! Owns: one file for each blob, locked by whoever fetches it. Nothing in it is believed: once it is as long as it
//! should be, its digest is computed as any layer's is.

use super::{Store, StoreError, failed, make_directory, retry};
use crate::digest::Digest;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A blob being fetched. Kept when dropped.
#[derive(Debug)]
pub(crate) struct Download {
    file: File,
    path: PathBuf,
}

impl Store {
    /// What there is of a blob, after waiting for whoever is fetching it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn download(&self, blob: &Digest) -> Result<Download, StoreError> {
        let directory = self.root.join("downloads");
        make_directory(&directory)?;
        let path = self.download_path(blob);
        loop {
            let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file: File = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
                .map_err(|errno| failed("make", &path)(errno.into()))?
                .into();
            retry(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
                .map_err(|errno| failed("lock", &path)(errno.into()))?;
            let metadata = file.metadata().map_err(failed("look at", &path))?;
            if !metadata.is_file() {
                let source = std::io::ErrorKind::InvalidInput.into();
                return Err(StoreError::Io { action: "write", path, source });
            }
            // Whoever had it may have removed it meanwhile.
            if metadata.nlink() > 0 {
                return Ok(Download { file, path });
            }
        }
    }

    /// Removes what was fetched in part and nobody fetches now. Gives how many bytes that were.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(super) fn remove_downloads(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for path in super::entries(&self.root.join("downloads"))? {
            bytes += remove_idle(&path)?;
        }
        Ok(bytes)
    }

    /// Removes what there is of a blob that is not needed any more, unless somebody fetches it now.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn remove_download(&self, blob: &Digest) -> Result<(), StoreError> {
        remove_idle(&self.download_path(blob)).map(drop)
    }

    fn download_path(&self, blob: &Digest) -> PathBuf {
        self.root.join("downloads").join(format!("{}-{}", blob.algorithm().name(), blob.hex()))
    }
}

/// Removes a file that nobody fetches to. Gives how many bytes that were.
fn remove_idle(path: &Path) -> Result<u64, StoreError> {
    let Some((file, _)) = super::open_own(path)? else { return Ok(0) };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(0);
    }
    super::remove(path)?;
    Ok(file.metadata().map_or(0, |metadata| metadata.blocks() * 512))
}

impl Download {
    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// How much of it there is, in bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn length(&self) -> Result<u64, StoreError> {
        Ok(self.file.metadata().map_err(failed("look at", &self.path))?.len())
    }

    /// Begins anew.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn clear(&self) -> Result<(), StoreError> {
        self.file.set_len(0).map_err(failed("cut", &self.path))
    }

    /// It is not needed any more.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(crate) fn remove(self) -> Result<(), StoreError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }
}
