//! Whose a file is to the guest, and what it may be done to it.
//!
//! All that a guest makes belongs, outside, to whoever runs this. What the guest was told to make of it, an owner or a
//! mode, stands in an extended attribute that podman's tools write and read too (`user.containers.override_stat`,
//! `UID:GID:MODE`): so it is there again for the next sandbox. Where there are no such attributes, in some file systems and
//! for links, pipes and sockets in all, it is known until this process ends.
//!
//! | outside | to the guest |
//! |---|---|
//! | who runs this | root |
//! | root, where that is somebody else | nobody |
//! | any other | the same number |
//!
//! Outside, no file gets a set-user-ID bit by a guest, nor a mode by which its owner, who serves it, could not read and
//! write it.

use crate::inodes::Identity;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// The extended attribute.
pub(crate) const ATTRIBUTE: &CStr = c"user.containers.override_stat";
/// Longer than any value of it that is understood, in bytes.
const MOST_TEXT_BYTES: usize = 64;
/// Whom nobody knows.
const NOBODY: u32 = 65534;
/// The most files whose owners are kept here, for want of attributes.
const MOST_KEPT: usize = 1 << 16;
const PERMISSIONS: u32 = 0o7777;
pub(crate) const SET_USER: u32 = 0o4000;
pub(crate) const SET_GROUP: u32 = 0o2000;
const GROUP_EXECUTES: u32 = 0o010;

/// An owner, a group, and permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl Shown {
    /// What an attribute says; `None` where it makes no sense.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split(':');
        let (uid, gid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let mode = u32::from_str_radix(parts.next()?, 8).ok()?;
        Some(Self { uid, gid, mode: mode & PERMISSIONS })
    }

    fn text(self) -> String {
        format!("{}:{}:{:o}", self.uid, self.gid, self.mode)
    }

    /// What is left of it once somebody else has changed the file.
    pub fn without_privileges(self) -> Self {
        let group = if self.mode & GROUP_EXECUTES == 0 { 0 } else { SET_GROUP };
        Self { mode: self.mode & !(SET_USER | group), ..self }
    }
}

/// The permissions that a file has outside.
pub(crate) fn outside(kind: FileType, mode: u32) -> Mode {
    let owners = match kind {
        FileType::Directory => 0o700,
        _ => 0o600,
    };
    Mode::from_raw_mode(mode & 0o777 | owners)
}

/// A file whose owner is asked for.
pub(crate) struct Owned<'a> {
    pub identity: Identity,
    pub kind: FileType,
    pub file: &'a OwnedFd,
    pub stat: &'a Stat,
}

/// Who owns what.
#[derive(Debug)]
pub(crate) struct Owners {
    own: (u32, u32),
    kept: Mutex<HashMap<Identity, Shown>>,
}

impl Owners {
    pub fn new() -> Self {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { own, kept: Mutex::default() }
    }

    /// What the guest is shown.
    pub fn of(&self, owned: &Owned<'_>) -> Shown {
        self.overridden(owned).unwrap_or_else(|| self.plain(owned.stat))
    }

    fn plain(&self, stat: &Stat) -> Shown {
        let known = |id, own| match id {
            id if id == own => 0,
            0 => NOBODY,
            id => id,
        };
        let mode = stat.st_mode & PERMISSIONS;
        Shown { uid: known(stat.st_uid, self.own.0), gid: known(stat.st_gid, self.own.1), mode }
    }

    /// Nobody but the owner can have said anything of a file.
    fn overridden(&self, owned: &Owned<'_>) -> Option<Shown> {
        let kept = || self.kept().get(&owned.identity).copied();
        if owned.stat.st_uid != self.own.0 {
            return None;
        }
        if !takes_attributes(owned.kind) {
            return kept();
        }
        let mut text = [0; MOST_TEXT_BYTES];
        match rustix::fs::getxattr(again(owned.file), ATTRIBUTE, &mut text[..]) {
            Ok(length) => Shown::parse(text.get(..length)?),
            Err(Errno::OPNOTSUPP) => kept(),
            Err(_) => None,
        }
    }

    /// Has the guest be shown this from now on.
    ///
    /// # Errors
    /// What the kernel says; EPERM of a file that belongs to somebody else.
    pub fn set(&self, owned: &Owned<'_>, shown: Shown) -> Result<(), Errno> {
        if owned.stat.st_uid != self.own.0 {
            return Err(Errno::PERM);
        }
        if !takes_attributes(owned.kind) {
            // Outside, a link has no mode, and nobody is let in by that of a pipe or a socket whom its directory keeps out.
            if shown == self.plain(owned.stat) {
                self.forget(owned.identity);
                return Ok(());
            }
            return match self.keep(owned.identity, shown) {
                // Whose a link is makes no difference to anybody.
                Err(Errno::NOSPC) if owned.kind == FileType::Symlink => Ok(()),
                kept => kept,
            };
        }
        let mode = outside(owned.kind, shown.mode);
        let plain = Shown { uid: 0, gid: 0, mode: mode.bits() };
        let is_plain = shown == plain && owned.stat.st_gid == self.own.1;
        let has_mode = mode.bits() == owned.stat.st_mode & PERMISSIONS;
        if is_plain && has_mode && self.overridden(owned).is_none() {
            return Ok(());
        }
        // What is changed is changed by a file that could be opened: a name might lead anywhere.
        let file = opened_again(owned.file, OFlags::RDONLY | OFlags::NONBLOCK)?;
        if !has_mode {
            rustix::fs::fchmod(&file, mode)?;
        }
        let done = if is_plain {
            match rustix::fs::fremovexattr(&file, ATTRIBUTE) {
                Err(Errno::NODATA) => Ok(()),
                done => done,
            }
        } else {
            let text = shown.text();
            rustix::fs::fsetxattr(&file, ATTRIBUTE, text.as_bytes(), XattrFlags::empty())
        };
        match done {
            Err(Errno::OPNOTSUPP) if is_plain => {
                self.forget(owned.identity);
                Ok(())
            }
            Err(Errno::OPNOTSUPP) => self.keep(owned.identity, shown),
            done => done,
        }
    }

    fn keep(&self, identity: Identity, shown: Shown) -> Result<(), Errno> {
        let mut kept = self.kept();
        if kept.len() >= MOST_KEPT && !kept.contains_key(&identity) {
            return Err(Errno::NOSPC);
        }
        kept.insert(identity, shown);
        Ok(())
    }

    /// Forgets a file that is no more.
    pub fn forget(&self, identity: Identity) {
        self.kept().remove(&identity);
    }

    /// Each entry is whole, whatever panics.
    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Identity, Shown>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn takes_attributes(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Directory)
}

/// Opens a file again that is open to be looked at.
///
/// # Errors
/// What the kernel says.
pub(crate) fn opened_again(file: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::openat(CWD, again(file), flags, Mode::empty())
}

/// A path that leads to an open file itself, whatever became of its name.
pub(crate) fn again(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
