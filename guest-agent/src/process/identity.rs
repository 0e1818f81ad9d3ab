//! Who a process is: `name|uid[:name|gid]` looked up in passwd and group files.
//!
//! Pure parsing of hostile text; [`Databases`] reads such files within bounds. Follows
//! passwd(5), group(5) and Docker's (runc's) reading of them: a number needs no entry, a name does.

use protocol::ProcessSpec;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

/// The longest passwd or group file that is read, in bytes.
const MAX_DATABASE_BYTES: u64 = 4 * 1024 * 1024;
/// The kernel's limit on supplementary groups.
const MAX_GROUPS: usize = 65_536;

/// Why there is no such user.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdentityError {
    /// No entry has this user name.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// No entry has this group name.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
    /// Root, where that is refused.
    #[error("user {0:?} is root, which is refused")]
    Root(String),
}

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
    /// Its home directory.
    pub home: String,
}

/// The passwd and group files of a root file system.
#[derive(Debug, Default)]
pub struct Databases {
    passwd: String,
    group: String,
}

impl Databases {
    /// Those of the root file system that this process is in.
    pub fn read() -> Self {
        let read = |path| read_database(CWD, path, ResolveFlags::NO_MAGICLINKS);
        Self { passwd: read("/etc/passwd"), group: read("/etc/group") }
    }

    /// Those of another one, whatever links there lead to.
    pub fn read_below(root: impl AsFd) -> Self {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let read = |path| read_database(root.as_fd(), path, inside);
        Self { passwd: read("/etc/passwd"), group: read("/etc/group") }
    }

    /// Looks up whom a process is to be; empty is root.
    ///
    /// # Errors
    /// A name without an entry, or root where the process refuses that.
    pub fn identity_of(&self, process: &ProcessSpec) -> Result<Identity, IdentityError> {
        let identity = look_up(&process.user, &self.passwd, &self.group)?;
        if process.root_refused && identity.uid == 0 {
            return Err(IdentityError::Root(process.user.clone()));
        }
        Ok(identity)
    }
}

/// Reads a passwd or group file.
///
/// What is no regular file, is reached through /proc's magic links, cannot be opened, or is no
/// UTF-8, counts as empty where it is so: a container needs no such files.
fn read_database(directory: BorrowedFd<'_>, path: &str, resolve: ResolveFlags) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(file) = openat2(directory, path, flags, Mode::empty(), resolve) else {
        return String::new();
    };
    let regular = fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
    if !regular {
        return String::new();
    }
    let mut bytes = Vec::new();
    let _ = File::from(file).take(MAX_DATABASE_BYTES).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn users(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        let home = fields.nth(1).unwrap_or("");
        Some(Entry { name, uid, gid, home })
    })
}

/// Name, number and members of each group.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = number(fields.nth(1)?)?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

/// A number as a user or group id. -1 means "leave it" to the kernel, so it is none.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&id| id != u32::MAX)
}

/// Looks `user` up; empty is root.
///
/// # Errors
/// A name without an entry.
fn look_up(user: &str, passwd: &str, group: &str) -> Result<Identity, IdentityError> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let as_number = number(user);
    let entry = users(passwd)
        .find(|entry| entry.name == user)
        .or_else(|| users(passwd).find(|entry| as_number == Some(entry.uid)));
    let (uid, primary) = match (&entry, as_number) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => return Err(IdentityError::User(user.to_owned())),
    };
    let home = entry.as_ref().map_or("", |entry| entry.home);
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    if let Some(wanted) = wanted_group {
        let found = groups(group).find(|(name, _, _)| *name == wanted).map(|(_, gid, _)| gid);
        let gid = found.or_else(|| number(wanted));
        let gid = gid.ok_or_else(|| IdentityError::Group(wanted.to_owned()))?;
        return Ok(Identity { uid, gid, groups: vec![gid], home });
    }
    let mut joined = vec![primary];
    if let Some(Entry { name: member, .. }) = &entry {
        for (_, gid, members) in groups(group) {
            let belongs = members.split(',').any(|name| name == *member);
            if belongs && !joined.contains(&gid) && joined.len() < MAX_GROUPS {
                joined.push(gid);
            }
        }
    }
    Ok(Identity { uid, gid: primary, groups: joined, home })
}

#[cfg(test)]
mod tests;
