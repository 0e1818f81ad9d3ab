//! Where a copy comes from and where it lands, by the rules of `cp` and `docker cp`.
//!
//! | destination | a file lands | a directory lands |
//! |---|---|---|
//! | a directory | in it, by its own name | in it, by its own name; with `/.` behind its name, what is in it does |
//! | a file, or a link to one | in its place | nowhere |
//! | a device, a pipe, a socket | nowhere | nowhere |
//! | nothing, in a directory | by that name | by that name |
//! | nothing, with a slash behind | nowhere | by that name |

use crate::error::CopyError;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a path names.
pub(crate) struct Named {
    /// The directory that it lies in.
    pub(crate) parent: PathBuf,
    /// What it is called there.
    pub(crate) name: OsString,
    /// What it is called in an archive.
    pub(crate) label: OsString,
    /// It can only be a directory, or a link to one.
    pub(crate) is_directory: bool,
}

/// What the first entry of an archive of this path is called.
pub fn label(path: &Path) -> OsString {
    named(path).label
}

/// Takes a path apart.
pub(crate) fn named(path: &Path) -> Named {
    let bytes = path.as_os_str().as_bytes();
    let dot = || OsString::from(".");
    let ends = |with: &[u8]| bytes == with || bytes.ends_with(&[b"/", with].concat());
    // Of what is above, the path does not tell the name: what is in it is meant, too.
    let name = path.file_name().filter(|_| !ends(b".") && !ends(b".."));
    let Some(name) = name.map(OsStr::to_owned) else {
        return Named { parent: path.to_owned(), name: dot(), label: dot(), is_directory: true };
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new(".")).to_owned();
    Named { parent, label: name.clone(), name, is_directory: bytes.ends_with(b"/") }
}

/// Where a copy lands: in an open directory, by a name; or the directory itself.
#[derive(Debug)]
pub(crate) struct Place {
    /// The directory.
    pub(crate) directory: OwnedFd,
    /// Its path, for whoever reads why something failed.
    pub(crate) path: PathBuf,
    /// The name; none where it is the directory's own.
    pub(crate) name: Option<OsString>,
}

impl Place {
    /// A directory that is there, into which an archive goes as it is.
    pub(crate) fn within(path: &Path) -> Result<Self, CopyError> {
        match open(path) {
            Ok(directory) => Ok(Self { directory, path: path.to_owned(), name: None }),
            Err(Errno::NOTDIR) => Err(CopyError::NoDirectory(path.to_owned())),
            Err(errno) => Err(CopyError::of("open", path)(errno)),
        }
    }

    /// Where what is called `label`, a directory or not, lands at `path`.
    pub(crate) fn find(path: &Path, label: &OsStr, is_directory: bool) -> Result<Self, CopyError> {
        let found = match rustix::fs::stat(path) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(CopyError::of("look at", path)(errno)),
        };
        let slash = path.as_os_str().as_bytes().ends_with(b"/");
        match found {
            Some(FileType::Directory) => {
                let directory = open(path).map_err(CopyError::of("open", path))?;
                let name = (label != ".").then(|| label.to_owned());
                let place = Self { directory, path: path.to_owned(), name };
                place.may_become(is_directory)?;
                Ok(place)
            }
            Some(_) if is_directory => {
                Err(CopyError::InTheWay { path: path.to_owned(), is: "no directory" })
            }
            Some(FileType::RegularFile) => Self::by_its_path(&real(path)?),
            // What becomes of a device that is replaced is nobody's wish.
            Some(_) => Err(CopyError::InTheWay { path: path.to_owned(), is: "no file" }),
            None if slash && !is_directory => Err(CopyError::NoDirectory(path.to_owned())),
            None => Self::by_its_path(path),
        }
    }

    fn by_its_path(path: &Path) -> Result<Self, CopyError> {
        let Named { parent, name, .. } = named(path);
        let directory = open(&parent).map_err(CopyError::of("open", &parent))?;
        let parent = if parent == Path::new(".") { PathBuf::new() } else { parent };
        Ok(Self { directory, path: parent, name: Some(name) })
    }

    /// Whether what has its name already can be, or become, what is to come.
    fn may_become(&self, is_directory: bool) -> Result<(), CopyError> {
        let Some(name) = &self.name else { return Ok(()) };
        let Ok(stat) = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(());
        };
        let there = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if there == is_directory {
            return Ok(());
        }
        let is = if there { "a directory" } else { "no directory" };
        Err(CopyError::InTheWay { path: self.path.join(name), is })
    }
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A file's path without links.
fn real(path: &Path) -> Result<PathBuf, CopyError> {
    std::fs::canonicalize(path).map_err(|source| CopyError::Io {
        action: "find",
        path: path.to_owned(),
        source,
    })
}
