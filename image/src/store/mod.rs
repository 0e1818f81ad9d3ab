//! The content store: unpacked layers, each kept once, shared by all sandboxes and processes.
//!
//! ```text
//!   STATE_DIR/store/format                                  "cofferdam store 1"
//!   STATE_DIR/store/layers/ALGORITHM/DIFF-ID/BLOB.erofs     a layer; its directory is its lock
//!   STATE_DIR/store/trees/DIGEST.erofs                      the merged tree of an image's layers
//!   STATE_DIR/store/names/NAME.json                         what an image's name means here
//!   STATE_DIR/store/documents/ALGORITHM/DIGEST              indexes, manifests, configurations
//!   STATE_DIR/store/downloads/ALGORITHM-DIGEST              blobs on their way from a registry
//!   STATE_DIR/store/limit                                   how many bytes it may take, where that was said
//!   STATE_DIR/store/recorded/NAME                           the digest of a layer within an archive
//!   STATE_DIR/store/partial/                                files in the making without O_TMPFILE
//! ```
//!
//! Owns: these files. Never does: know what is in them.
//!
//! Invariants. A layer's file is whole and on disk before it has its name, and is never written after.
//! Whoever makes one holds its directory's lock (flock(2), which ends with its holder), so that others
//! wait rather than do the work again. Nothing has to be undone after a kill: files without a name
//! vanish, and those in `partial/` that no one has locked are removed by whoever opens the store next.
//!
//! A layer's name has both digests: the diff ID is reported by a process that parsed hostile bytes,
//! and only the blob's digest was computed by one that did not. If that parser is ever subverted, it
//! can so spoil its own blob's layer, and no other image's.

mod collect;
mod download;
#[cfg(test)]
mod hostile;
mod limit;
mod names;
mod partial;
mod recorded;
#[cfg(test)]
mod tests;
mod trees;

use crate::digest::Digest;
use crate::layer::error::is_full;
pub use collect::{Hold, Needed, Removed, Usage};
pub(crate) use download::Download;
pub use names::NamedImage;
use partial::{NewFile, PartialDirectory};
pub(crate) use recorded::Stretch;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
pub use trees::{NewTree, TreeKey};

const FORMAT: &str = "cofferdam store 1\n";
const IMAGE_UNIT_BYTES: u64 = 4096;
/// More than any small file of the store's has.
const MAX_NOTE_BYTES: u64 = 1024;
/// What is left free for others on the volume: at most this much, and at most a sixteenth of it.
const RESERVE_BYTES: u64 = 64 << 20;

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The store was made by another version.
    #[error("the store {path} has the format {found:?}, and this program knows {FORMAT:?}")]
    Format {
        /// Which.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// It may take no more.
    #[error("the store may take {limit} bytes, and has no room left within them")]
    Limit {
        /// How much it may take.
        limit: u64,
    },
    /// What limits it makes no sense.
    #[error("{path} is no number of bytes")]
    NoLimit {
        /// Its file.
        path: PathBuf,
    },
}

impl StoreError {
    /// Whether its reason is that the store's volume, or this user's share of it, is full.
    pub fn is_out_of_room(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    partial: PartialDirectory,
    #[cfg(test)]
    pretended_room: std::sync::atomic::AtomicU64,
}

/// Names one layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LayerKey {
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// The digest of the bytes it was unpacked from.
    pub blob: Digest,
}

/// A layer of the store.
#[derive(Debug)]
pub struct StoredLayer {
    /// Its image.
    pub image: StoredFile,
    /// What it was unpacked from.
    pub blob: Digest,
}

/// A file system image of the store.
#[derive(Debug)]
pub struct StoredFile {
    /// Open for reading.
    pub file: File,
    /// How long it is, in bytes: a multiple of 4096.
    pub length: u64,
}

impl StoredFile {
    /// Opens one, where there is one that can be.
    fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let Some((file, length)) = open_own(path)? else { return Ok(None) };
        // Someone else may have cut it. One that cannot be an image is none, and is made again.
        let whole = length > 0 && length.is_multiple_of(IMAGE_UNIT_BYTES);
        Ok(whole.then_some(Self { file, length }))
    }
}

impl Store {
    /// Opens the store in a state directory, makes it where there is none, and removes what killed
    /// processes left.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let root = state_dir.join("store");
        make_directory(&root)?;
        let partial = PartialDirectory::open(root.join("partial"))?;
        let store = Self {
            root,
            partial,
            #[cfg(test)]
            pretended_room: u64::MAX.into(),
        };
        store.check_format()?;
        Ok(store)
    }

    /// A layer, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn find(&self, key: &LayerKey) -> Result<Option<StoredLayer>, StoreError> {
        let image = StoredFile::open(&self.layer_path(key))?;
        Ok(image.map(|image| StoredLayer { image, blob: key.blob.clone() }))
    }

    /// How many bytes of layers there is room for just now. Others may take it too.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn room_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.volume_bytes()?.min(self.left_bytes()?))
    }

    /// How many bytes of layers its volume has room for.
    fn volume_bytes(&self) -> Result<u64, StoreError> {
        let volume = rustix::fs::statvfs(&self.root)
            .map_err(|errno| failed("look for room in", &self.root)(errno.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        let room = room(bytes(volume.f_blocks), bytes(volume.f_bavail));
        #[cfg(test)]
        let room = room.min(self.pretended_room.load(std::sync::atomic::Ordering::Relaxed));
        Ok(room)
    }

    /// As if there were no more.
    #[cfg(test)]
    pub(crate) fn pretend_room(&self, bytes: u64) {
        self.pretended_room.store(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    /// Waits until no one else makes this layer. Look for it again before making it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn lock(&self, key: &LayerKey) -> Result<LayerLock<'_>, StoreError> {
        let directory = self.layer_directory(key);
        make_directory(&directory)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&directory, flags, Mode::empty())
            .map_err(|errno| failed("open", &directory)(errno.into()))?;
        retry(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive))
            .map_err(|errno| failed("lock", &directory)(errno.into()))?;
        let blob = key.blob.clone();
        Ok(LayerLock { store: self, path: self.layer_path(key), blob, _lock: lock })
    }

    /// An empty file that is gone when dropped.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        Ok(Scratch(self.partial.create()?))
    }

    fn layer_directory(&self, key: &LayerKey) -> PathBuf {
        let mut path = self.root.join("layers");
        path.push(key.diff_id.algorithm().name());
        path.push(key.diff_id.hex());
        path
    }

    fn layer_path(&self, key: &LayerKey) -> PathBuf {
        let mut path = self.layer_directory(key);
        path.push([key.blob.algorithm().name(), "-", key.blob.hex(), ".erofs"].concat());
        path
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let path = self.root.join("format");
        let found = read_note(&path)?.unwrap_or_default();
        match String::from_utf8_lossy(&found).as_ref() {
            FORMAT => Ok(()),
            // Also what a crash may leave where names reach the disk before bytes do.
            "" => self.write_format(&path),
            found => {
                let found = found.chars().take(80).collect();
                Err(StoreError::Format { path: self.root.clone(), found })
            }
        }
    }

    fn write_format(&self, path: &Path) -> Result<(), StoreError> {
        let new = self.partial.create()?;
        let mut file = new.file();
        file.write_all(FORMAT.as_bytes()).map_err(failed("write", path))?;
        file.sync_data().map_err(failed("write", path))?;
        new.publish(path)
    }
}

/// Of a volume of so many bytes, of which so many are free, what layers may take. One that does not know
/// its size has no limit of its own: a tmpfs without one.
fn room(total: u64, free: u64) -> u64 {
    if total == 0 { u64::MAX } else { free.saturating_sub(RESERVE_BYTES.min(total / 16)) }
}

/// A file that is gone when dropped.
#[derive(Debug)]
pub struct Scratch(NewFile);

impl Scratch {
    /// The file.
    pub fn file(&self) -> &File {
        self.0.file()
    }

    /// Where this process can open it again.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file().as_raw_fd()).into()
    }
}

/// A file of the user's in the making. Gone when dropped.
#[derive(Debug)]
pub(crate) struct UserFile<'a> {
    new: NewFile,
    path: &'a Path,
}

impl<'a> UserFile<'a> {
    /// Begins one.
    pub(crate) fn create(path: &'a Path) -> Result<Self, StoreError> {
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new(".")).to_owned();
        Ok(Self { new: PartialDirectory::of_user(directory).create()?, path })
    }

    /// The file to write to.
    pub(crate) fn file(&self) -> &File {
        self.new.file()
    }

    /// Gives it its name, in place of whatever has it.
    pub(crate) fn publish(self) -> Result<(), StoreError> {
        self.new.file().sync_data().map_err(failed("write", self.path))?;
        self.new.publish(self.path)
    }
}

/// The right to make a layer. Ends when dropped, or with the process.
#[derive(Debug)]
pub struct LayerLock<'a> {
    store: &'a Store,
    path: PathBuf,
    blob: Digest,
    _lock: OwnedFd,
}

impl LayerLock<'_> {
    /// An empty file to write the layer's image to.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create(&self) -> Result<NewLayer<'_>, StoreError> {
        Ok(NewLayer { file: self.store.partial.create()?, path: &self.path, blob: &self.blob })
    }
}

/// A layer in the making. Gone when dropped.
#[derive(Debug)]
pub struct NewLayer<'a> {
    file: NewFile,
    path: &'a Path,
    blob: &'a Digest,
}

impl NewLayer<'_> {
    /// The file to write to.
    pub fn file(&self) -> &File {
        self.file.file()
    }

    /// Puts the layer into the store, for good. Whoever else could write to the file must be gone.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the store is as it was.
    pub fn publish(self) -> Result<StoredLayer, StoreError> {
        Ok(StoredLayer { image: self.file.publish_image(self.path)?, blob: self.blob.clone() })
    }
}

/// Opens a file of the store's for reading; gives how long it is, too. What is no file is none of ours, and is not there.
fn open_own(path: &Path) -> Result<Option<(File, u64)>, StoreError> {
    match open_measured(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map_err(failed("open", path)),
    }
}

/// Opens a file of a state directory's for reading; `None` where what is there is no file: a link is not
/// followed, a pipe or a device not waited for.
///
/// # Errors
/// The kernel's, also where nothing is there.
pub fn open_regular(path: &Path) -> io::Result<Option<File>> {
    Ok(open_measured(path)?.map(|(file, _)| file))
}

fn open_measured(path: &Path) -> io::Result<Option<(File, u64)>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: File = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file.into(),
        // A link; a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata.len())))
}

/// Reads a file of a line or so; of one that is longer, the beginning.
fn read_note(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let Some((file, _)) = open_own(path)? else { return Ok(None) };
    let mut note = Vec::new();
    file.take(MAX_NOTE_BYTES).read_to_end(&mut note).map_err(failed("read", path))?;
    Ok(Some(note))
}

/// What a directory of the store's has; nothing where it is not there.
fn entries(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listing = match fs::read_dir(path) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        other => other.map_err(failed("list", path))?,
    };
    let paths = listing.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = paths.map_err(failed("list", path))?;
    paths.sort();
    Ok(paths)
}

/// Removes a file, which may be gone already.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

/// A signal that is handled elsewhere interrupts a wait, and nothing more.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
