//! Files that get their name only when they are whole.
//!
//! Where the file system can, a file in the making has no name at all (O_TMPFILE). Where it cannot (some
//! overlay and network file systems), it has one in a directory of its own, and is locked as long as
//! its maker lives.

use super::{StoreError, StoredFile, failed, make_directory, open_own, retry};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::GetRandomFlags;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where files are made.
#[derive(Debug)]
pub(super) struct PartialDirectory {
    path: PathBuf,
    /// Whether files can be made without a name.
    unnamed: AtomicBool,
}

/// A file in the making. Gone when dropped.
#[derive(Debug)]
pub(super) struct NewFile {
    file: File,
    name: Option<PathBuf>,
    directory: PathBuf,
}

impl PartialDirectory {
    /// Makes the directory where there is none, and removes what no one works on.
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        make_directory(&path)?;
        let directory = Self { path, unnamed: AtomicBool::new(true) };
        directory.sweep()?;
        Ok(directory)
    }

    /// The directory of a file of the user's, which is somebody's and stays as it is.
    pub(super) fn of_user(path: PathBuf) -> Self {
        Self { path, unnamed: AtomicBool::new(true) }
    }

    /// The same without O_TMPFILE.
    #[cfg(test)]
    pub(super) fn use_names(&self) {
        self.unnamed.store(false, Ordering::Relaxed);
    }

    fn sweep(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.path).map_err(failed("list", &self.path))? {
            let path = entry.map_err(failed("list", &self.path))?.path();
            let Ok(Some((file, _))) = open_own(&path) else { continue };
            // Its maker holds it locked. Between making and locking it may be taken for a leftover;
            // its maker looks whether it still is there, once it is locked.
            let free = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            match if free { fs::remove_file(&path) } else { Ok(()) } {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// An empty file, open for reading and writing.
    pub(super) fn create(&self) -> Result<NewFile, StoreError> {
        if self.unnamed.load(Ordering::Relaxed) {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match rustix::fs::open(&self.path, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => {
                    let directory = self.path.clone();
                    return Ok(NewFile { file: file.into(), name: None, directory });
                }
                // Also ENOENT and EISDIR, by kernels that do not know the flag.
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                    self.unnamed.store(false, Ordering::Relaxed);
                }
                Err(errno) => return Err(failed("make a file in", &self.path)(errno.into())),
            }
        }
        self.create_named()
    }

    fn create_named(&self) -> Result<NewFile, StoreError> {
        loop {
            let name = new_name(&self.path)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
            let file: File = match rustix::fs::open(&name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => file.into(),
                Err(errno) => return Err(failed("make", &name)(errno.into())),
            };
            retry(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
                .map_err(|errno| failed("lock", &name)(errno.into()))?;
            if file.metadata().map_err(failed("look at", &name))?.nlink() > 0 {
                return Ok(NewFile { file, name: Some(name), directory: self.path.clone() });
            }
        }
    }
}

/// A name that nothing has.
fn new_name(directory: &Path) -> Result<PathBuf, StoreError> {
    // No number of a process would do: in containers that share a volume all are the same.
    let mut random = [0; 16];
    retry(|| rustix::rand::getrandom(&mut random, GetRandomFlags::empty()))
        .map_err(|errno| failed("make a name in", directory)(errno.into()))?;
    Ok(directory.join(format!("{:032x}", u128::from_ne_bytes(random))))
}

impl NewFile {
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, in place of whatever has it: at every moment the name means the one or the other. It must be
    /// on disk already, or not matter.
    pub(super) fn publish(mut self, path: &Path) -> Result<(), StoreError> {
        let made = |errno: Errno| failed("make", path)(errno.into());
        let mut action = "make";
        if self.name.is_none() {
            match self.link(path) {
                // A link replaces nothing, and a rename does.
                Err(Errno::EXIST) => {
                    let name = new_name(&self.directory)?;
                    retry(|| rustix::fs::flock(&self.file, FlockOperation::LockExclusive))
                        .map_err(made)?;
                    self.link(&name).map_err(made)?;
                    self.name = Some(name);
                    action = "replace";
                }
                linked => return linked.map_err(made),
            }
        }
        if let Some(name) = &self.name {
            fs::rename(name, path).map_err(failed(action, path))?;
            self.name = None;
        }
        Ok(())
    }

    /// The same of a file system image, which is on disk before and is never written after. Whoever else could write to
    /// it must be gone.
    pub(super) fn publish_image(self, path: &Path) -> Result<StoredFile, StoreError> {
        let mode = fs::Permissions::from_mode(0o444);
        self.file.set_permissions(mode).map_err(failed("change the mode of", path))?;
        self.file.sync_data().map_err(failed("write", path))?;
        let length = self.file.metadata().map_err(failed("look at", path))?.len();
        self.publish(path)?;
        let file = File::open(path).map_err(failed("open", path))?;
        Ok(StoredFile { file, length })
    }

    /// Linking by descriptor alone takes a capability; through /proc it does not.
    fn link(&self, path: &Path) -> Result<(), Errno> {
        let from = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, &from, CWD, path, AtFlags::SYMLINK_FOLLOW)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Failing that, the next to open the store removes it.
            let _ = fs::remove_file(name);
        }
    }
}
