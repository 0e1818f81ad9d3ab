//! What a file system does, behaviour by behaviour: a line each, so that two of them can be compared.

use super::sys;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FlockOperation, Mode, OFlags, RenameFlags, SeekFrom, Timespec,
    Timestamps, XattrFlags, copy_file_range, fallocate, fgetxattr, flistxattr, flock, fremovexattr,
    fsetxattr, ftruncate, futimens, linkat, mkdirat, mknodat, open, openat, renameat_with, seek,
    statat,
};
use rustix::fs::{FileType, makedev};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

type Behaviour = fn(&Path) -> io::Result<String>;

const BEHAVIOURS: &[(&str, Behaviour)] = &[
    ("a file that is renamed over another is what is open no more", rename_over),
    ("a rename that must not replace does not", rename_no_replace),
    ("two files are exchanged", rename_exchange),
    ("a directory is renamed over an empty one, and over no other", rename_directory),
    ("a file that is unlinked while it is open is read and written", unlinked_while_open),
    ("a file without a name gets one", nameless),
    ("a hole is found, and takes no room", hole),
    ("a hole is punched", punched),
    ("room is reserved beyond the end", reserved),
    ("times are kept to the nanosecond", nanoseconds),
    ("a time before 1970 and one after 2106", far_times),
    ("a lock keeps another out", locked),
    ("a hard link is the same file", hard_link),
    ("an extended attribute is set, read, replaced and removed", attribute),
    ("a mapping and the file are one", mapped),
    ("a directory is read whole while it shrinks", shrinking_directory),
    ("a directory's group is inherited where it says so", inherited_group),
    ("a set-user-ID bit goes with a new owner", special_bits),
    ("a name is 255 bytes of any kind, and not 256", names),
    ("a symbolic link has 4095 bytes, and leads in no circle", links),
    ("what is appended goes to the end", appended),
    ("what is longer than before is zeroes", extended),
    ("a pipe, a socket's name and a device are made", special_files),
    ("a range is copied by the kernel", copied_range),
    ("a file is written past the cache", direct),
    ("files and directories are synced", synced),
];

/// All of them, in a new directory below this one.
pub fn told(directory: &Path) -> io::Result<String> {
    let place = directory.join("posix");
    let mut lines = Vec::new();
    for (name, behaviour) in BEHAVIOURS {
        fs::create_dir(&place)?;
        let outcome = behaviour(&place).unwrap_or_else(|error| format!("fails: {error}"));
        fs::remove_dir_all(&place)?;
        lines.push(format!("{name}: {outcome}"));
    }
    Ok(lines.join("\n"))
}

/// "yes" where all of it is so, else what is not.
fn all(parts: &[(&str, bool)]) -> io::Result<String> {
    let wrong: Vec<&str> = parts.iter().filter(|(_, so)| !so).map(|(name, _)| *name).collect();
    Ok(if wrong.is_empty() { "yes".to_owned() } else { format!("not {}", wrong.join(", ")) })
}

fn both(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

fn rename_over(at: &Path) -> io::Result<String> {
    fs::write(at.join("old"), "old")?;
    let mut held = File::open(at.join("old"))?;
    fs::write(at.join("new"), "new")?;
    fs::rename(at.join("new"), at.join("old"))?;
    let mut text = String::new();
    held.read_to_string(&mut text)?;
    let now = fs::read_to_string(at.join("old"))?;
    all(&[("what was open", text == "old"), ("what is there", now == "new")])
}

fn rename_no_replace(at: &Path) -> io::Result<String> {
    fs::write(at.join("a"), "a")?;
    fs::write(at.join("b"), "b")?;
    let refused = renameat_with(CWD, at.join("a"), CWD, at.join("b"), RenameFlags::NOREPLACE);
    all(&[("refused", refused == Err(rustix::io::Errno::EXIST))])
}

fn rename_exchange(at: &Path) -> io::Result<String> {
    fs::write(at.join("a"), "a")?;
    fs::write(at.join("b"), "b")?;
    renameat_with(CWD, at.join("a"), CWD, at.join("b"), RenameFlags::EXCHANGE)?;
    all(&[("exchanged", fs::read(at.join("a"))? == b"b" && fs::read(at.join("b"))? == b"a")])
}

fn rename_directory(at: &Path) -> io::Result<String> {
    for name in ["a/inner", "empty", "full/inner"] {
        fs::create_dir_all(at.join(name))?;
    }
    let full = fs::rename(at.join("a"), at.join("full")).map_err(|error| error.kind());
    fs::rename(at.join("a"), at.join("empty"))?;
    all(&[
        ("refused", full == Err(io::ErrorKind::DirectoryNotEmpty)),
        ("moved", at.join("empty/inner").is_dir() && !at.join("a").exists()),
    ])
}

fn unlinked_while_open(at: &Path) -> io::Result<String> {
    let file = both(&at.join("a"))?;
    fs::remove_file(at.join("a"))?;
    file.write_all_at(b"still", 0)?;
    let mut bytes = [0; 5];
    file.read_exact_at(&mut bytes, 0)?;
    all(&[("read", &bytes == b"still"), ("without a link", file.metadata()?.nlink() == 0)])
}

fn nameless(at: &Path) -> io::Result<String> {
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    let mut file: File = open(at, flags, Mode::RUSR | Mode::WUSR)?.into();
    file.write_all(b"text")?;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, own, CWD, at.join("named"), AtFlags::SYMLINK_FOLLOW)?;
    all(&[("named", fs::read(at.join("named"))? == b"text")])
}

fn hole(at: &Path) -> io::Result<String> {
    let file = both(&at.join("a"))?;
    file.write_all_at(b"x", 4 << 20)?;
    let data = seek(&file, SeekFrom::Data(0))?;
    let end = seek(&file, SeekFrom::Hole(4 << 20))?;
    let room = file.metadata()?.blocks() * 512;
    all(&[("found", data == 4 << 20 && end == (4 << 20) + 1), ("room", room < 1 << 20)])
}

fn punched(at: &Path) -> io::Result<String> {
    let file = both(&at.join("a"))?;
    file.write_all_at(&vec![7; 1 << 20], 0)?;
    file.sync_all()?;
    let before = file.metadata()?.blocks();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, flags, 0, 512 << 10)?;
    file.sync_all()?;
    let mut bytes = [1; 16];
    file.read_exact_at(&mut bytes, 0)?;
    let less = file.metadata()?.blocks() + 900 < before;
    all(&[("zeroes", bytes == [0; 16]), ("room", less)])
}

fn reserved(at: &Path) -> io::Result<String> {
    let file = both(&at.join("a"))?;
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20)?;
    let metadata = file.metadata()?;
    all(&[("room", metadata.blocks() * 512 >= 1 << 20), ("length", metadata.len() == 0)])
}

fn time(seconds: i64, nanoseconds: i64) -> Timespec {
    Timespec { tv_sec: seconds, tv_nsec: nanoseconds }
}

fn nanoseconds(at: &Path) -> io::Result<String> {
    let file = both(&at.join("a"))?;
    let times = Timestamps { last_access: time(5, 7), last_modification: time(6, 123_456_789) };
    futimens(&file, &times)?;
    let metadata = file.metadata()?;
    all(&[
        ("access", (metadata.atime(), metadata.atime_nsec()) == (5, 7)),
        ("modification", (metadata.mtime(), metadata.mtime_nsec()) == (6, 123_456_789)),
    ])
}

fn far_times(at: &Path) -> io::Result<String> {
    let file = both(&at.join("a"))?;
    let (early, late) = (-1_000_000_000, 1 << 33);
    let times = Timestamps { last_access: time(early, 0), last_modification: time(late, 0) };
    futimens(&file, &times)?;
    let metadata = file.metadata()?;
    all(&[("before", metadata.atime() == early), ("after", metadata.mtime() == late)])
}

fn locked(at: &Path) -> io::Result<String> {
    let (one, other) = (both(&at.join("a"))?, both(&at.join("a"))?);
    flock(&one, FlockOperation::LockExclusive)?;
    let refused = flock(&other, FlockOperation::NonBlockingLockShared);
    drop(one);
    flock(&other, FlockOperation::NonBlockingLockExclusive)?;
    all(&[("refused", refused == Err(rustix::io::Errno::WOULDBLOCK))])
}

fn hard_link(at: &Path) -> io::Result<String> {
    fs::write(at.join("a"), "a")?;
    fs::create_dir(at.join("d"))?;
    fs::hard_link(at.join("a"), at.join("d/b"))?;
    fs::write(at.join("d/b"), "changed")?;
    let [one, other] = [fs::metadata(at.join("a"))?, fs::metadata(at.join("d/b"))?];
    all(&[
        ("one inode", one.ino() == other.ino() && one.nlink() == 2),
        ("one content", fs::read(at.join("a"))? == b"changed"),
    ])
}

fn attribute(at: &Path) -> io::Result<String> {
    let file = both(&at.join("a"))?;
    fsetxattr(&file, "user.a", b"one", XattrFlags::CREATE)?;
    fsetxattr(&file, "user.a", &[7; 3000], XattrFlags::REPLACE)?;
    let mut value = [0; 4096];
    let length = fgetxattr(&file, "user.a", &mut value)?;
    let mut names = [0; 256];
    let listed = flistxattr(&file, &mut names)?;
    let listed = names[..listed].split(|byte| *byte == 0).any(|name| name == b"user.a");
    fremovexattr(&file, "user.a")?;
    let gone = fgetxattr(&file, "user.a", &mut value).is_err();
    all(&[("read", length == 3000 && value[2999] == 7), ("listed", listed), ("removed", gone)])
}

fn mapped(at: &Path) -> io::Result<String> {
    let file = both(&at.join("a"))?;
    ftruncate(&file, 8192)?;
    let mut map = sys::SharedMap::of(&file, 8192)?;
    map.write(4096, 42);
    let mut byte = [0];
    file.read_exact_at(&mut byte, 4096)?;
    file.write_all_at(&[43], 5000)?;
    all(&[("read", byte == [42]), ("seen", map.read(5000) == 43)])
}

fn shrinking_directory(at: &Path) -> io::Result<String> {
    const COUNT: usize = 1000;
    for number in 0..COUNT {
        fs::write(at.join(number.to_string()), "")?;
    }
    let mut seen = Vec::new();
    for entry in fs::read_dir(at)? {
        let name = entry?.file_name();
        fs::remove_file(at.join(&name))?;
        seen.push(name);
    }
    let read = seen.len();
    seen.sort();
    seen.dedup();
    all(&[
        ("each once", (read, seen.len()) == (COUNT, COUNT)),
        ("empty", fs::read_dir(at)?.next().is_none()),
    ])
}

fn inherited_group(at: &Path) -> io::Result<String> {
    std::os::unix::fs::chown(at, None, Some(1234))?;
    fs::set_permissions(at, fs::Permissions::from_mode(0o2755))?;
    fs::write(at.join("a"), "")?;
    fs::create_dir(at.join("d"))?;
    let [file, directory] = [fs::metadata(at.join("a"))?, fs::metadata(at.join("d"))?];
    all(&[
        ("of a file", file.gid() == 1234),
        ("of a directory", directory.gid() == 1234 && directory.mode() & 0o2000 != 0),
    ])
}

fn special_bits(at: &Path) -> io::Result<String> {
    fs::write(at.join("a"), "")?;
    fs::set_permissions(at.join("a"), fs::Permissions::from_mode(0o6755))?;
    let before = fs::metadata(at.join("a"))?.mode() & 0o7777;
    std::os::unix::fs::chown(at.join("a"), Some(5), None)?;
    let after = fs::metadata(at.join("a"))?.mode() & 0o7777;
    all(&[("before", before == 0o6755), ("after", after == 0o755)])
}

fn names(at: &Path) -> io::Result<String> {
    let mut name = vec![0xff; 254];
    name.push(b'\n');
    fs::write(at.join(OsStr::from_bytes(&name)), "")?;
    let read = fs::read_dir(at)?.next().transpose()?.map(|entry| entry.file_name());
    name.push(b'x');
    let long = fs::write(at.join(OsStr::from_bytes(&name)), "");
    name.pop();
    all(&[
        ("kept", read.is_some_and(|read| read.as_bytes() == name)),
        ("refused", long.is_err_and(|error| error.raw_os_error() == Some(libc::ENAMETOOLONG))),
    ])
}

fn links(at: &Path) -> io::Result<String> {
    let long = "x/".repeat(2047) + "x";
    symlink(&long, at.join("long"))?;
    symlink("b", at.join("a"))?;
    symlink("a", at.join("b"))?;
    let circle = fs::read(at.join("a"));
    all(&[
        ("kept", fs::read_link(at.join("long"))?.as_os_str().len() == 4095),
        ("refused", circle.is_err_and(|error| error.raw_os_error() == Some(libc::ELOOP))),
    ])
}

fn appended(at: &Path) -> io::Result<String> {
    let open = || File::options().append(true).create(true).open(at.join("a"));
    let (mut one, mut other) = (open()?, open()?);
    one.write_all(b"one")?;
    other.write_all(b"two")?;
    one.rewind()?;
    one.write_all(b"three")?;
    all(&[("in order", fs::read(at.join("a"))? == b"onetwothree")])
}

fn extended(at: &Path) -> io::Result<String> {
    let file = both(&at.join("a"))?;
    file.write_all_at(&[7; 100], 0)?;
    ftruncate(&file, 10)?;
    ftruncate(&file, 100)?;
    let bytes = fs::read(at.join("a"))?;
    all(&[("zeroes", bytes[..10] == [7; 10] && bytes[10..] == [0; 90])])
}

fn special_files(at: &Path) -> io::Result<String> {
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, at.join("pipe"), FileType::Fifo, mode, 0)?;
    mknodat(CWD, at.join("socket"), FileType::Socket, mode, 0)?;
    mknodat(CWD, at.join("null"), FileType::CharacterDevice, mode, makedev(1, 3))?;
    let device = statat(CWD, at.join("null"), AtFlags::empty())?;
    all(&[("the device's number", device.st_rdev == makedev(1, 3))])
}

fn copied_range(at: &Path) -> io::Result<String> {
    fs::write(at.join("a"), vec![7; 100_000])?;
    let (from, to) = (File::open(at.join("a"))?, both(&at.join("b"))?);
    let mut copied = 0;
    while copied < 100_000 {
        match copy_file_range(&from, None, &to, None, 100_000 - copied)? {
            0 => break,
            count => copied += count,
        }
    }
    all(&[("whole", fs::read(at.join("b"))? == vec![7; 100_000])])
}

fn direct(at: &Path) -> io::Result<String> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::DIRECT;
    let file: File = open(at.join("a"), flags, Mode::RUSR | Mode::WUSR)?.into();
    sys::write_page(&file)?;
    all(&[("written", fs::metadata(at.join("a"))?.len() == 4096)])
}

fn synced(at: &Path) -> io::Result<String> {
    mkdirat(CWD, at.join("d"), Mode::RWXU)?;
    let directory = open(at.join("d"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let new = OFlags::WRONLY | OFlags::CREATE;
    let file: File = openat(&directory, "a", new, Mode::RUSR)?.into();
    file.sync_all()?;
    File::from(directory).sync_all()?;
    Ok("yes".to_owned())
}
