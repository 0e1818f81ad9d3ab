//! A tree, told whole: what two ways of unpacking an image are compared by.
//!
//! One line for each file: name, kind, mode, owner, time, size, device, extended attributes, what a link leads to,
//! the first name of the same file, and the digest of what is in it. Mounts below are left out, and what an engine
//! puts in an image's place.

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What engines put over an image's own.
const ENGINES: [&str; 4] = ["etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv"];

/// Tells of all files below a directory.
pub fn tell(root: &Path) -> io::Result<String> {
    let mut told = String::new();
    let mut first: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mounts = mounts(root)?;
    let mut waiting = vec![PathBuf::new()];
    while let Some(name) = waiting.pop() {
        let path = root.join(&name);
        if mounts.contains(&path) || ENGINES.iter().any(|engine| name == Path::new(engine)) {
            continue;
        }
        let flags = StatxFlags::BASIC_STATS;
        let status = rustix::fs::statx(CWD, &path, AtFlags::SYMLINK_NOFOLLOW, flags)?;
        let kind = FileType::from_raw_mode(u32::from(status.stx_mode));
        if kind == FileType::Directory {
            let mut names: Vec<PathBuf> = fs::read_dir(&path)?
                .map(|entry| Ok(name.join(entry?.file_name())))
                .collect::<io::Result<_>>()?;
            names.sort_by(|one, other| other.cmp(one));
            waiting.extend(names);
        }
        let same = if kind != FileType::Directory && status.stx_nlink > 1 {
            first.entry(status.stx_ino).or_insert_with(|| name.clone()).clone()
        } else {
            PathBuf::new()
        };
        let named = if name.as_os_str().is_empty() { OsStr::new(".") } else { name.as_os_str() };
        let _ = writeln!(told, "{} {}", shown(named), line(&path, kind, &status, &same)?);
    }
    Ok(told)
}

fn line(path: &Path, kind: FileType, status: &Statx, same: &Path) -> io::Result<String> {
    let mut line = format!(
        "{kind:?} {:o} {}:{} {}.{:09} {}",
        status.stx_mode & 0o7777,
        status.stx_uid,
        status.stx_gid,
        status.stx_mtime.tv_sec,
        status.stx_mtime.tv_nsec,
        // How large directories and links are is the file system's own business.
        if kind == FileType::RegularFile { status.stx_size } else { 0 },
    );
    if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        let _ = write!(line, " device {}:{}", status.stx_rdev_major, status.stx_rdev_minor);
    }
    for (name, value) in attributes(path)? {
        let _ = write!(line, " {name}={}", hexadecimal(&value));
    }
    if !same.as_os_str().is_empty() {
        let _ = write!(line, " same {}", shown(same.as_os_str()));
    }
    if kind == FileType::Symlink {
        let _ = write!(line, " -> {}", shown(fs::read_link(path)?.as_os_str()));
    }
    if kind == FileType::RegularFile {
        let _ = write!(line, " {}", digest(path)?);
    }
    Ok(line)
}

/// What an overlay keeps for itself is no attribute of the image's.
fn attributes(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut names = vec![0u8; 64 << 10];
    let count = match rustix::fs::llistxattr(path, &mut names) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut found = BTreeMap::new();
    for name in names.get(..count).unwrap_or_default().split(|&byte| byte == 0) {
        let text = shown(OsStr::from_bytes(name));
        if name.is_empty()
            || text.starts_with("trusted.overlay")
            || text.starts_with("security.selinux")
        {
            continue;
        }
        let mut value = vec![0u8; 64 << 10];
        let count = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value)?;
        value.truncate(count);
        found.insert(text, value);
    }
    Ok(found)
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A name without anything that would be taken for more than one.
fn shown(name: &OsStr) -> String {
    name.as_bytes().escape_ascii().to_string().replace(' ', "\\x20")
}

/// What is mounted below.
fn mounts(root: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(places.map(PathBuf::from).filter(|place| place != root).collect())
}
