//! What surrounds this process: the kernel, its Landlock, the state directory, shared memory, QEMU.

use rustix::fs::{Access, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Whether Landlock can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LandlockFacts {
    /// In this version.
    Abi(i64),
    /// The kernel does not know it (ENOSYS).
    NotBuilt,
    /// The kernel knows it, and it was not switched on at boot (EOPNOTSUPP).
    Disabled,
    /// A system call filter forbids it (EPERM), as Docker's did before 20.10.12.
    Filtered,
    /// Something else.
    Failed(i32),
}

impl LandlockFacts {
    /// Asks.
    pub fn ask() -> Self {
        match crate::host::sys::landlock_abi() {
            Ok(abi) => LandlockFacts::Abi(abi),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOSYS) => LandlockFacts::NotBuilt,
                Some(libc::EOPNOTSUPP) => LandlockFacts::Disabled,
                Some(libc::EPERM) => LandlockFacts::Filtered,
                other => LandlockFacts::Failed(other.unwrap_or(0)),
            },
        }
    }
}

/// The state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDirFacts {
    /// Where.
    pub path: PathBuf,
    /// It is there. Where it is not, what was found is its nearest ancestor, in which `run` makes it.
    pub exists: bool,
    /// What is true of it, or the errno of the first question that failed.
    pub found: Result<StateDir, Errno>,
}

/// A state directory that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    /// Whether a file can be made in it; else why not.
    pub writable: Result<(), Errno>,
    /// Whether files without a name can be made in it (O_TMPFILE).
    pub nameless_files: bool,
    /// Bytes free for this user.
    pub free_bytes: u64,
    /// Its file system's type.
    pub file_system: String,
    /// What is in it that `run` cannot use, in words.
    pub foreign: Option<String>,
}

impl StateDirFacts {
    /// Asks. Leaves nothing behind.
    pub fn ask(path: &Path) -> Self {
        let nearest = path.ancestors().find(|it| it.as_os_str().is_empty() || it.exists());
        let nearest = nearest.filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found = state_dir(nearest);
        if let (true, Ok(found)) = (path.exists(), &mut found) {
            found.foreign = foreign(path);
        }
        Self { path: path.to_owned(), exists: path.exists(), found }
    }
}

fn state_dir(path: &Path) -> Result<StateDir, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let space = rustix::fs::fstatvfs(&directory)?;
    let kind = rustix::fs::fstatfs(&directory)?;
    let nameless = rustix::fs::openat(
        &directory,
        ".",
        OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    );
    let writable = match &nameless {
        Ok(_) => Ok(()),
        Err(_) => make_and_remove(&directory),
    };
    Ok(StateDir {
        writable,
        nameless_files: nameless.is_ok(),
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        file_system: file_system_name(i128::from(kind.f_type)),
        foreign: None,
    })
}

/// Where the file system has no nameless files, a named one tells.
fn make_and_remove(directory: impl rustix::fd::AsFd) -> Result<(), Errno> {
    // Always the same: what a killed doctor has left, the next removes.
    const NAME: &str = ".doctor";
    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&directory, NAME, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::unlinkat(&directory, NAME, AtFlags::empty())
}

/// What stands in the state directory and is not of this user, or of this version.
fn foreign(state_dir: &Path) -> Option<String> {
    for part in ["store", "store/partial", "sandboxes"] {
        let path = state_dir.join(part);
        match rustix::fs::access(&path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Some(format!("cannot use {}: {errno}", path.display())),
        }
    }
    let store = state_dir.join("store");
    // Opened only where it stands, so that asking makes nothing.
    let opened = store.exists().then(|| image::Store::open(state_dir));
    opened.and_then(Result::err).map(|error| crate::error::chain(&error))
}

/// The names of the magic numbers of linux/magic.h that a state directory may have.
fn file_system_name(magic: i128) -> String {
    const KNOWN: [(i128, &str); 10] = [
        (0xef53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x794c_7630, "overlayfs"),
        (0x6969, "nfs"),
        (0x6573_5546, "fuse"),
        (0x2fc1_2fc1, "zfs"),
        (0x0102_1997, "9p"),
        (0xf2f5_2010, "f2fs"),
    ];
    let found = KNOWN.iter().find(|(number, _)| *number == magic);
    found.map_or_else(|| format!("file system {magic:#x}"), |(_, name)| (*name).to_owned())
}

/// QEMU, for where there is no usable KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuFacts {
    /// The program.
    pub path: PathBuf,
    /// What it calls its version; `None` where it does not run.
    pub version: Option<String>,
}

/// How long QEMU may take to say its version: it links and reads much.
const VERSION_PATIENCE: Duration = Duration::from_secs(10);

/// The program's name.
pub const QEMU: &str = "qemu-system-x86_64";

impl QemuFacts {
    /// Looks for it in `search_path` (PATH), and runs it for its version.
    pub fn ask(search_path: &str) -> Option<Self> {
        let path = find_program(QEMU, search_path)?;
        let version = version(&path, VERSION_PATIENCE);
        Some(Self { path, version })
    }
}

/// What QEMU says of its version, if it runs and says so in time.
fn version(qemu: &Path, patience: Duration) -> Option<String> {
    let mut command = Command::new(qemu);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().ok()?;
    let pidfd = rustix::process::pidfd_open(Pid::from_child(&process), PidfdFlags::empty());
    let ended = pidfd.is_ok_and(|it| crate::wait::readable_within(it, patience) == Ok(true));
    if !ended {
        // Not waited for: it may be stuck.
        let _ = process.kill();
        return None;
    }
    let status = process.wait().ok()?;
    let mut text = [0; 4096];
    let count = process.stdout.take()?.read(&mut text).ok()?;
    let text = String::from_utf8_lossy(text.get(..count)?).into_owned();
    let first = text.lines().next().filter(|_| status.success())?;
    Some(first.trim_start_matches("QEMU emulator version ").to_owned())
}

/// Looks for a program in the directories of PATH.
pub fn find_program(name: &str, search_path: &str) -> Option<PathBuf> {
    let directories = search_path.split(':').filter(|directory| directory.starts_with('/'));
    directories
        .map(|directory| Path::new(directory).join(name))
        .find(|program| rustix::fs::access(program, Access::EXEC_OK).is_ok() && program.is_file())
}

/// The size of the file system at `path`, in bytes.
pub(super) fn file_system_bytes(path: &str) -> Option<u64> {
    let space = rustix::fs::statvfs(path).ok()?;
    Some(space.f_blocks.saturating_mul(space.f_frsize))
}

#[cfg(test)]
mod tests;
