//! An archive as a tree again.
//!
//! Owns: what its bytes may do: lie in the tree that is copied, whatever their names and links say. Never does: follow a
//! link on the way to an entry unless told so, write through one, or write to a file that is there: what is replaced is
//! removed first.

use crate::Copied;
use crate::error::{CopyError, Quoted};
use crate::pack::means_the_same;
use crate::place::Place;
use crate::reader::{Entry, EntryKind, Stream, TarReader};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// So many zeroes are left out of a file.
const BLOCK_BYTES: usize = 4096;
/// What a directory that no entry names is made with.
const IMPLIED: Mode = Mode::from_raw_mode(0o755);
/// Set-user-ID and set-group-ID.
const SPECIAL: u16 = 0o6000;

/// Where an archive goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into<'a> {
    /// It is one tree, as [`crate::pack`] writes it, which lands as `cp` has it. Where the [label](crate::label) is
    /// known that it must have, no other is taken: by its name it lands in a directory.
    Place(Option<&'a OsStr>),
    /// Into a directory that is there, as it is.
    Directory,
}

/// How much of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Give files the owners that they had, and not this process's; and let programs be set-user-ID, which is somebody
    /// else's to say without.
    pub owners: bool,
    /// Let links lead on the way to an entry. Only where no link leads anywhere that it should not.
    pub follow: bool,
}

/// Makes the archive in `input` a tree.
///
/// # Errors
/// Any [`CopyError`]. What was made before stays.
pub fn unpack(
    input: impl BufRead,
    path: &Path,
    into: Into<'_>,
    options: Options,
) -> Result<Copied, CopyError> {
    let mut reader = TarReader::new(Stream(input));
    let mut copied = Copied::default();
    let Some(first) = reader.next_entry()? else {
        return if into == Into::Directory { Ok(copied) } else { Err(CopyError::Empty) };
    };
    let (place, prefix) = match into {
        Into::Directory => (Place::within(path)?, Vec::new()),
        Into::Place(expected) => {
            let label =
                components(&first.path)?.first().map_or(b".".to_vec(), |name| name.to_vec());
            if expected.is_some_and(|expected| expected.as_bytes() != label) {
                return Err(CopyError::Outside(Quoted::new(&first.path)));
            }
            let is_directory = first.kind == EntryKind::Directory;
            (Place::find(path, OsStr::from_bytes(&label), is_directory)?, label)
        }
    };
    let prefix = Some(prefix).filter(|_| into != Into::Directory);
    let mut tree = Tree { place, prefix, options, open: Vec::new() };
    let mut next = Some(first);
    while let Some(entry) = next {
        tree.make(&entry, &mut reader)?;
        copied.entries += 1;
        if entry.kind == EntryKind::File {
            copied.bytes += entry.size;
        }
        next = reader.next_entry()?;
    }
    tree.leave(0)?;
    // Whoever writes is not to find nobody at the other end.
    let mut rest = reader.into_input().0;
    while let Ok(bytes) = rest.fill_buf()
        && !bytes.is_empty()
    {
        let length = bytes.len();
        rest.consume(length);
    }
    Ok(copied)
}

/// The names on an entry's way, without those that lead nowhere.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, CopyError> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    let names: Vec<_> = names.collect();
    if names.contains(&&b".."[..]) || path.contains(&0) {
        return Err(CopyError::Outside(Quoted::new(path)));
    }
    Ok(names)
}

/// The tree in the making.
struct Tree {
    place: Place,
    /// The name that every entry's begins with, where it is one tree: `.` is no name.
    prefix: Option<Vec<u8>>,
    options: Options,
    /// The directories in which the last entry lies, each in the one before.
    open: Vec<Open>,
}

/// A directory that is being filled.
struct Open {
    name: Vec<u8>,
    directory: OwnedFd,
    /// What it is to be like once it is full.
    then: Option<Entry>,
}

/// Where an entry is to be.
struct Spot<'a> {
    parent: BorrowedFd<'a>,
    name: &'a OsStr,
    path: PathBuf,
}

impl Spot<'_> {
    fn failed(&self, action: &'static str) -> impl FnOnce(Errno) -> CopyError {
        CopyError::of(action, &self.path)
    }

    /// Makes something, in the place of what is there; a directory stays, and is in the way.
    fn make<T>(&self, make: impl Fn() -> Result<T, Errno>) -> Result<T, CopyError> {
        let made = match make() {
            Err(Errno::EXIST) => {
                match rustix::fs::unlinkat(self.parent, self.name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => make(),
                    Err(Errno::ISDIR) => {
                        return Err(CopyError::InTheWay {
                            path: self.path.clone(),
                            is: "a directory",
                        });
                    }
                    Err(errno) => return Err(self.failed("replace")(errno)),
                }
            }
            other => other,
        };
        made.map_err(self.failed("make"))
    }
}

impl Tree {
    /// Makes one entry.
    fn make(
        &mut self,
        entry: &Entry,
        reader: &mut TarReader<Stream<impl BufRead>>,
    ) -> Result<(), CopyError> {
        let names = self.names(&entry.path)?;
        let Some((name, parents)) = names.split_last() else {
            // The directory itself, which is somebody else's; or nothing that could be one.
            return match entry.kind {
                EntryKind::Directory => Ok(()),
                _ => Err(CopyError::Outside(Quoted::new(&entry.path))),
            };
        };
        self.enter(parents)?;
        let name = name.as_slice();
        if entry.kind == EntryKind::Directory {
            return self.directory(name, entry);
        }
        let link = match entry.kind {
            EntryKind::HardLink => Some(self.linked(&entry.link)?),
            _ => None,
        };
        let spot = self.spot(name);
        let mode = Mode::from_raw_mode(u32::from(entry.mode & 0o777));
        let device = |kind| {
            let (major, minor) = entry.device;
            let device = rustix::fs::makedev(major, minor);
            spot.make(|| rustix::fs::mknodat(spot.parent, spot.name, kind, mode, device))
        };
        match entry.kind {
            EntryKind::File => return self.file(&spot, entry, reader),
            EntryKind::HardLink => {
                let Some((directory, target)) = link else { return Ok(()) };
                let (target, flags) = (OsStr::from_bytes(&target), AtFlags::empty());
                return spot.make(|| {
                    rustix::fs::linkat(&directory, target, spot.parent, spot.name, flags)
                });
            }
            EntryKind::SymbolicLink => {
                let target = OsStr::from_bytes(&entry.link);
                spot.make(|| rustix::fs::symlinkat(target, spot.parent, spot.name))?;
            }
            EntryKind::CharacterDevice => device(FileType::CharacterDevice)?,
            EntryKind::BlockDevice => device(FileType::BlockDevice)?,
            EntryKind::Fifo => device(FileType::Fifo)?,
            EntryKind::Directory => {}
        }
        self.attributes_at(&spot, entry)
    }

    /// The names on the way from the directory in which the tree lies, whatever that is called there.
    fn names(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, CopyError> {
        let names = components(path)?;
        let mut below = names.as_slice();
        if let Some(prefix) = self.prefix.as_deref().filter(|prefix| *prefix != b".") {
            below = match names.split_first() {
                Some((first, rest)) if *first == prefix => rest,
                _ => return Err(CopyError::Outside(Quoted::new(path))),
            };
        }
        let own = self.place.name.iter().map(|name| name.as_bytes());
        Ok(own.chain(below.iter().copied()).map(<[u8]>::to_vec).collect())
    }

    fn spot<'a>(&'a self, name: &'a [u8]) -> Spot<'a> {
        let name = OsStr::from_bytes(name);
        let names = self.open.iter().map(|open| OsStr::from_bytes(&open.name));
        let path = self.place.path.iter().chain(names).chain([name]).collect();
        Spot { parent: self.innermost(), name, path }
    }

    fn innermost(&self) -> BorrowedFd<'_> {
        self.open.last().map_or(self.place.directory.as_fd(), |open| open.directory.as_fd())
    }

    /// Goes to the directory that the next entry lies in. Those that are left get what they are to be like.
    fn enter(&mut self, parents: &[Vec<u8>]) -> Result<(), CopyError> {
        let common = self.open.iter().zip(parents).take_while(|(open, name)| open.name == **name);
        let common = common.count();
        self.leave(common)?;
        for name in parents.iter().skip(common) {
            let directory = self.open_or_make(name, IMPLIED)?;
            self.open.push(Open { name: name.clone(), directory, then: None });
        }
        Ok(())
    }

    fn leave(&mut self, depth: usize) -> Result<(), CopyError> {
        while self.open.len() > depth
            && let Some(Open { name, directory, then }) = self.open.pop()
        {
            let Some(entry) = then else { continue };
            let spot = self.spot(&name);
            self.attributes(directory.as_fd(), &entry)
                .map_err(spot.failed("set the attributes of"))?;
        }
        Ok(())
    }

    fn directory(&mut self, name: &[u8], entry: &Entry) -> Result<(), CopyError> {
        let directory = self.open_or_make(name, Mode::RWXU)?;
        self.open.push(Open { name: name.to_vec(), directory, then: Some(entry.clone()) });
        Ok(())
    }

    fn open_or_make(&self, name: &[u8], mode: Mode) -> Result<OwnedFd, CopyError> {
        let spot = self.spot(name);
        let follow = if self.options.follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let open = |follow| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | follow;
            rustix::fs::openat(spot.parent, spot.name, flags, Mode::empty())
        };
        match open(follow) {
            Ok(directory) => Ok(directory),
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(spot.parent, spot.name, mode).map_err(spot.failed("make"))?;
                open(OFlags::NOFOLLOW).map_err(spot.failed("open"))
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                Err(CopyError::InTheWay { path: spot.path, is: "no directory" })
            }
            Err(errno) => Err(spot.failed("open")(errno)),
        }
    }

    /// The directory and the name of what a hard link leads to, which lies in the tree as well.
    fn linked(&self, target: &[u8]) -> Result<(OwnedFd, Vec<u8>), CopyError> {
        let mut names = self.names(target)?;
        let outside = || CopyError::Outside(Quoted::new(target));
        let name = names.pop().ok_or_else(outside)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let flags = if self.options.follow { flags } else { flags | OFlags::NOFOLLOW };
        let mut directory = rustix::io::fcntl_dupfd_cloexec(&self.place.directory, 0)
            .map_err(CopyError::of("open", &self.place.path))?;
        for name in &names {
            let path = self.place.path.join(OsStr::from_bytes(target));
            directory =
                rustix::fs::openat(&directory, OsStr::from_bytes(name), flags, Mode::empty())
                    .map_err(CopyError::of("find", &path))?;
        }
        Ok((directory, name))
    }

    fn file(
        &self,
        spot: &Spot<'_>,
        entry: &Entry,
        reader: &mut TarReader<Stream<impl BufRead>>,
    ) -> Result<(), CopyError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = spot.make(|| rustix::fs::openat(spot.parent, spot.name, flags, mode))?;
        let file = File::from(file);
        let filled = self.fill(&file, spot, entry, reader);
        if filled.is_err() {
            // Nobody takes a half for the whole.
            let _ = rustix::fs::unlinkat(spot.parent, spot.name, AtFlags::empty());
        }
        filled
    }

    fn fill(
        &self,
        file: &File,
        spot: &Spot<'_>,
        entry: &Entry,
        reader: &mut TarReader<Stream<impl BufRead>>,
    ) -> Result<(), CopyError> {
        let written = |source| CopyError::Io { action: "write", path: spot.path.clone(), source };
        match &entry.segments {
            None => write(file, (0, entry.size), reader, &written)?,
            Some(segments) => {
                for segment in segments {
                    write(file, (segment.offset, segment.length), reader, &written)?;
                }
            }
        }
        // What ends with a hole is that much longer.
        file.set_len(entry.size).map_err(written)?;
        self.attributes(file.as_fd(), entry).map_err(spot.failed("set the attributes of"))
    }

    /// What a file or a directory is to be like.
    fn attributes(&self, file: BorrowedFd<'_>, entry: &Entry) -> Result<(), Errno> {
        let mut mode = entry.mode;
        if self.options.owners {
            let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
            rustix::fs::fchown(file, owner.0, owner.1)?;
        } else {
            mode &= !SPECIAL;
        }
        for (name, value) in &entry.xattrs {
            // A program's capabilities are as good as its being root's.
            let wanted = self.options.owners || !name.starts_with(b"security.");
            if !wanted || !means_the_same(name) || name.contains(&0) {
                continue;
            }
            match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                // Not every file system has them, and not everybody may set each.
                Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode.into()))?;
        rustix::fs::futimens(file, &times(entry))
    }

    /// What anything else is to be like.
    fn attributes_at(&self, spot: &Spot<'_>, entry: &Entry) -> Result<(), CopyError> {
        let failed = |errno| spot.failed("set the attributes of")(errno);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if self.options.owners {
            let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
            rustix::fs::chownat(spot.parent, spot.name, owner.0, owner.1, flags).map_err(failed)?;
        }
        rustix::fs::utimensat(spot.parent, spot.name, &times(entry), flags).map_err(failed)
    }
}

fn times(entry: &Entry) -> Timestamps {
    let at = Timespec { tv_sec: entry.mtime.seconds, tv_nsec: entry.mtime.nanoseconds.into() };
    Timestamps { last_access: at, last_modification: at }
}

/// Writes the next bytes of an entry to a stretch of a file; blocks of zeroes are left out.
fn write(
    file: &File,
    (mut at, mut left): (u64, u64),
    reader: &mut TarReader<Stream<impl BufRead>>,
    failed: &impl Fn(std::io::Error) -> CopyError,
) -> Result<(), CopyError> {
    while left > 0 {
        let bytes = reader.data()?;
        let bytes = bytes
            .get(..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)))
            .unwrap_or(bytes);
        let count = bytes.len();
        if count == 0 {
            // The reader has checked that a map fits what is stored.
            return Ok(());
        }
        let mut position = at;
        for block in bytes.chunks(BLOCK_BYTES) {
            if block.iter().any(|&byte| byte != 0) {
                file.write_all_at(block, position).map_err(failed)?;
            }
            position += block.len() as u64;
        }
        reader.consume(count);
        at += count as u64;
        left -= count as u64;
    }
    Ok(())
}
