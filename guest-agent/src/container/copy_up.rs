//! Gives an empty directory what the image has in its place, as Docker gives it to an empty volume: all kinds of files,
//! with owners, modes, times, extended attributes, hard links and holes.
//!
//! What is copied is hostile: no link is followed, on either side, and no name leads out of the two directories. The
//! container does not run yet, so nothing changes meanwhile.

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RawMode, ResolveFlags, SeekFrom, Stat, Timespec,
    Timestamps, chmodat, chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat,
    ftruncate, futimens, linkat, mkdirat, mknodat, openat, openat2, readlinkat, seek, statat,
    symlinkat, utimensat,
};
use rustix::fs::{Gid, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PERMISSIONS: RawMode = 0o7777;
/// The most that the kernel gives of names or of one value (linux/limits.h: XATTR_LIST_MAX, XATTR_SIZE_MAX).
const MAX_XATTR_BYTES: usize = 1 << 16;

/// A copy at work.
struct Copy<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    /// Directories whose contents are still to be copied, and all of them, those above others first.
    pending: Vec<PathBuf>,
    directories: Vec<(PathBuf, Stat)>,
    /// Where the first name of a file with several has been copied to.
    links: HashMap<(u64, u64), PathBuf>,
}

/// Whether a directory has nothing in it.
///
/// # Errors
/// Where it cannot be read.
pub fn is_empty(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    for entry in Dir::read_from(openat(directory, ".", DIRECTORY, Mode::empty())?)? {
        if !is_dot(entry?.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies what is in one directory, and what that itself is, to another that is empty.
///
/// # Errors
/// The first operation that fails.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    // It may be open for no more than to be looked at.
    let from = openat(from, ".", DIRECTORY, Mode::empty())?;
    let from = from.as_fd();
    let itself = PathBuf::from(".");
    let stat = fstat(from)?;
    let mut copy = Copy {
        from,
        to,
        pending: vec![itself.clone()],
        directories: vec![(itself, stat)],
        links: HashMap::new(),
    };
    while let Some(path) = copy.pending.pop() {
        copy.contents(&path)?;
    }
    // What is made in a directory changes its times.
    for (path, stat) in copy.directories.iter().rev() {
        let (source, target) = (inside(from, path)?, inside(to, path)?);
        attributes(source.as_fd(), target.as_fd(), stat)?;
    }
    Ok(())
}

impl Copy<'_> {
    fn contents(&mut self, path: &Path) -> io::Result<()> {
        let (source, target) = (inside(self.from, path)?, inside(self.to, path)?);
        for entry in Dir::read_from(&source)? {
            let entry = entry?;
            let name = entry.file_name();
            if !is_dot(name) {
                let stat = statat(&source, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let place = path.join(OsStr::from_bytes(name.to_bytes()));
                self.entry(&source, &target, name, place, &stat)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        source: &OwnedFd,
        target: &OwnedFd,
        name: &CStr,
        place: PathBuf,
        stat: &Stat,
    ) -> io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            mkdirat(target, name, Mode::RWXU)?;
            self.pending.push(place.clone());
            self.directories.push((place, *stat));
            return Ok(());
        }
        if stat.st_nlink > 1 {
            let known = self.links.get(&(stat.st_dev, stat.st_ino));
            if let Some(known) = known {
                return Ok(linkat(self.to, known, target, name, AtFlags::empty())?);
            }
            self.links.insert((stat.st_dev, stat.st_ino), place);
        }
        match kind {
            FileType::RegularFile => regular(source, target, name, stat),
            FileType::Symlink => {
                let leads = readlinkat(source, name, Vec::new())?;
                symlinkat(&leads, target, name)?;
                Ok(owner_and_times(target, name, stat)?)
            }
            _ => {
                let mode = Mode::from_raw_mode(stat.st_mode & PERMISSIONS);
                mknodat(target, name, kind, mode, stat.st_rdev)?;
                owner_and_times(target, name, stat)?;
                Ok(chmodat(target, name, mode, AtFlags::empty())?)
            }
        }
    }
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// A directory within one of the two.
fn inside(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, DIRECTORY, Mode::empty(), resolve)
}

fn regular(source: &OwnedFd, target: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let common = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from: File = openat(source, name, OFlags::RDONLY | common, Mode::empty())?.into();
    let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | common;
    let to: File = openat(target, name, new, Mode::RUSR | Mode::WUSR)?.into();
    data(&from, &to, u64::try_from(stat.st_size).unwrap_or(0))?;
    Ok(attributes(from.as_fd(), to.as_fd(), stat)?)
}

/// What is not a hole.
fn data(mut from: &File, mut to: &File, length: u64) -> io::Result<()> {
    ftruncate(to, length)?;
    let mut at = 0;
    while at < length {
        let begin = match seek(from, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            found => found?,
        };
        let end = seek(from, SeekFrom::Hole(begin))?;
        seek(from, SeekFrom::Start(begin))?;
        seek(to, SeekFrom::Start(begin))?;
        io::copy(&mut Read::take(&mut from, end.saturating_sub(begin)), &mut to)?;
        at = end.max(begin + 1);
    }
    Ok(())
}

/// Owner, mode, extended attributes and times of an open file or directory. In this order: a new owner takes special
/// bits and capabilities away.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
    fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & PERMISSIONS))?;
    let mut names = vec![0; MAX_XATTR_BYTES];
    let length = flistxattr(from, &mut names)?;
    names.truncate(length);
    let mut value = if length == 0 { Vec::new() } else { vec![0; MAX_XATTR_BYTES] };
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let length = fgetxattr(from, name, &mut value)?;
        fsetxattr(to, name, value.get(..length).unwrap_or_default(), XattrFlags::empty())?;
    }
    futimens(to, &times(stat))
}

fn owner_and_times(directory: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(directory, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(directory, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

#[allow(clippy::cast_possible_wrap, reason = "fewer than a second has")]
fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as i64 },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as i64 },
    }
}

#[cfg(test)]
mod tests;
