//! A tree as an archive: what it is itself first, then what lies in it, in the order of names.
//!
//! Owns: what of a file is told. Never does: follow a link, but the one that is named, where that is asked for: what
//! lies in a tree may change meanwhile, and by others.

use crate::Copied;
use crate::error::CopyError;
use crate::place::{Named, named};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// The longest list of attributes' names, and the longest attribute, that Linux has.
const XATTR_BYTES: usize = 64 << 10;
/// The longest target of a link.
const LINK_BYTES: usize = 100;

/// Writes what `path` names to `out`, as an archive whose entries begin with its name; with `.` where the path ends
/// with it, and so means what is in a directory. A link is followed where `follow` says so, or the path ends with a slash.
/// Sockets are left out.
///
/// # Errors
/// Any [`CopyError`]; what was written is no whole archive then.
pub fn pack(path: &Path, follow: bool, out: &mut dyn Write) -> Result<Copied, CopyError> {
    let Named { parent, name, label, is_directory } = named(path);
    let follow = follow || is_directory;
    let parent = rustix::fs::open(
        &parent,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(CopyError::of("open", &parent))?;
    let how = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    let stat = rustix::fs::statat(&parent, &name, how).map_err(CopyError::of("look at", path))?;
    if is_directory && FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(CopyError::NoDirectory(path.to_owned()));
    }
    let mut packer =
        Packer { out: Builder::new(out), links: HashMap::new(), copied: Copied::default() };
    let place = Place { parent: parent.as_fd(), name: &name, path: path.to_owned(), follow };
    packer.entry(&place, &stat, label.as_bytes())?;
    packer.out.finish().map_err(CopyError::Write)?;
    Ok(packer.copied)
}

struct Packer<'a> {
    out: Builder<&'a mut dyn Write>,
    /// Files of several names, by the first of them that was met.
    links: HashMap<(u64, u64), Vec<u8>>,
    copied: Copied,
}

/// Where a file is.
struct Place<'a> {
    parent: BorrowedFd<'a>,
    name: &'a OsStr,
    /// For whoever reads why it could not be had.
    path: PathBuf,
    follow: bool,
}

impl Place<'_> {
    fn failed(&self, action: &'static str) -> impl FnOnce(Errno) -> CopyError {
        CopyError::of(action, &self.path)
    }

    /// Opens what was looked at; what is there by now may be something else.
    fn open(&self, stat: &Stat, flags: OFlags) -> Result<OwnedFd, CopyError> {
        let follow = if self.follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags =
            flags | follow | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::openat(self.parent, self.name, flags, Mode::empty())
            .map_err(self.failed("open"))?;
        let now = rustix::fs::fstat(&file).map_err(self.failed("look at"))?;
        if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(CopyError::Changed(self.path.clone()));
        }
        Ok(file)
    }
}

impl Packer<'_> {
    fn entry(&mut self, place: &Place<'_>, stat: &Stat, label: &[u8]) -> Result<(), CopyError> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut told = Told::of(stat, label);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                told.header.set_entry_type(EntryType::Link);
                told.link(first);
                return self.write(&mut told, io::empty());
            }
            self.links.insert(inode, label.to_vec());
        }
        match kind {
            FileType::RegularFile => self.file(place, stat, told),
            FileType::Directory => self.directory(place, stat, told, label),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(place.parent, place.name, Vec::new())
                    .map_err(place.failed("read"))?;
                told.header.set_entry_type(EntryType::Symlink);
                told.link(target.as_bytes());
                self.write(&mut told, io::empty())
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                let kind =
                    if kind == FileType::BlockDevice { EntryType::Block } else { EntryType::Char };
                told.header.set_entry_type(kind);
                let (major, minor) =
                    (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                let set = told
                    .header
                    .set_device_major(major)
                    .and_then(|()| told.header.set_device_minor(minor));
                set.map_err(CopyError::Write)?;
                self.write(&mut told, io::empty())
            }
            FileType::Fifo => {
                told.header.set_entry_type(EntryType::Fifo);
                self.write(&mut told, io::empty())
            }
            FileType::Socket | FileType::Unknown => Ok(()),
        }
    }

    fn file(&mut self, place: &Place<'_>, stat: &Stat, mut told: Told) -> Result<(), CopyError> {
        let file = File::from(place.open(stat, OFlags::empty())?);
        told.attributes(file.as_fd()).map_err(place.failed("read the attributes of"))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        told.header.set_entry_type(EntryType::Regular);
        told.header.set_size(size);
        let mut exact = Exact { file, left: size, short: false };
        let written = self.write(&mut told, &mut exact);
        if exact.short {
            return Err(CopyError::Changed(place.path.clone()));
        }
        self.copied.bytes += size;
        written
    }

    fn directory(
        &mut self,
        place: &Place<'_>,
        stat: &Stat,
        mut told: Told,
        label: &[u8],
    ) -> Result<(), CopyError> {
        let directory = place.open(stat, OFlags::DIRECTORY)?;
        told.attributes(directory.as_fd()).map_err(place.failed("read the attributes of"))?;
        told.header.set_entry_type(EntryType::Directory);
        self.write(&mut told, io::empty())?;
        let mut names: Vec<OsString> = Vec::new();
        for entry in Dir::read_from(&directory).map_err(place.failed("list"))? {
            let entry = entry.map_err(place.failed("list"))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        for name in names {
            let path = place.path.join(&name);
            let stat = match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Gone since it was listed.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(CopyError::of("look at", &path)(errno)),
            };
            let label = [label, b"/", name.as_bytes()].concat();
            let place = Place { parent: directory.as_fd(), name: &name, path, follow: false };
            self.entry(&place, &stat, &label)?;
        }
        Ok(())
    }

    fn write(&mut self, told: &mut Told, data: impl Read) -> Result<(), CopyError> {
        told.header.set_cksum();
        let records =
            told.records.iter().map(|(keyword, value)| (keyword.as_str(), value.as_slice()));
        let written =
            if told.records.is_empty() { Ok(()) } else { self.out.append_pax_extensions(records) };
        written.and_then(|()| self.out.append(&told.header, data)).map_err(CopyError::Write)?;
        self.copied.entries += 1;
        Ok(())
    }
}

/// What is told of a file: a header, and what does not fit into it.
struct Told {
    header: Header,
    records: Vec<(String, Vec<u8>)>,
}

impl Told {
    fn of(stat: &Stat, label: &[u8]) -> Self {
        let mut told = Self { header: Header::new_ustar(), records: Vec::new() };
        let header = &mut told.header;
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        header.set_size(0);
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        if stat.st_mtime < 0 || stat.st_mtime_nsec != 0 {
            told.records.push(("mtime".to_owned(), time(stat.st_mtime, stat.st_mtime_nsec)));
        }
        let field = &mut told.header.as_old_mut().name;
        if !fits(field, label) {
            told.records.push(("path".to_owned(), label.to_vec()));
        }
        told
    }

    fn link(&mut self, target: &[u8]) {
        let field: &mut [u8; LINK_BYTES] = &mut self.header.as_old_mut().linkname;
        if !fits(field, target) {
            self.records.push(("linkpath".to_owned(), target.to_vec()));
        }
    }

    /// The attributes of a file that [mean the same elsewhere](means_the_same).
    fn attributes(&mut self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut names = vec![0; XATTR_BYTES];
        let length = match rustix::fs::flistxattr(file, &mut names[..]) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(errno) => return Err(errno),
        };
        let mut value = Vec::new();
        for name in names.get(..length).unwrap_or_default().split(|&byte| byte == 0) {
            let Ok(text) = std::str::from_utf8(name) else { continue };
            if !means_the_same(name) {
                continue;
            }
            value.resize(XATTR_BYTES, 0);
            match rustix::fs::fgetxattr(file, name, &mut value[..]) {
                Ok(length) => {
                    let value = value.get(..length).unwrap_or_default().to_vec();
                    self.records.push((format!("SCHILY.xattr.{text}"), value));
                }
                // Taken away since they were listed.
                Err(Errno::NODATA) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// Whether an attribute means the same elsewhere: a user's, a program's capabilities, a list of access.
pub(crate) fn means_the_same(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 3] =
        [b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"];
    name.starts_with(b"user.") || NAMES.contains(&name)
}

/// Puts a text into a field of a header, as far as it goes. Whether all of it did.
fn fits(field: &mut [u8], text: &[u8]) -> bool {
    field.iter_mut().zip(text).for_each(|(to, byte)| *to = *byte);
    text.len() <= field.len()
}

/// A time as extended headers write it: a decimal fraction, below zero as well.
fn time(seconds: i64, nanoseconds: u64) -> Vec<u8> {
    match (seconds < 0, nanoseconds) {
        (true, 1..) => {
            let (seconds, nanoseconds) = (-(seconds + 1), 1_000_000_000 - nanoseconds);
            format!("-{seconds}.{nanoseconds:09}")
        }
        _ => format!("{seconds}.{nanoseconds:09}"),
    }
    .into_bytes()
}

/// So many bytes of a file, whatever becomes of it.
struct Exact {
    file: File,
    left: u64,
    /// There were not so many.
    short: bool,
}

impl Read for &mut Exact {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(into) = into.get_mut(..most).filter(|into| !into.is_empty()) else { return Ok(0) };
        let count = self.file.read(into)?;
        self.left -= count as u64;
        if count == 0 {
            self.short = true;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(count)
    }
}
