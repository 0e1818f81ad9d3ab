//! Pseudo-terminals: made inside the container, so that their names are right there, and proved to
//! be what they seem, because a container can put anything in their place.
//!
//! Follows devpts in the kernel (Documentation/filesystems/devpts.rst); the checks are those of
//! runc's answer to CVE-2025-52565.

use crate::error::{OsError, Tried};
use crate::process::launch::Reports;
use protocol::TerminalSize;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, fstatfs, major, minor, openat2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

const PTMX: &str = "/dev/pts/ptmx";
const CONSOLE: &str = "/dev/console";
const DEVPTS_MAGIC: i64 = 0x1cd1;
/// The device number of the master multiplexer.
const PTMX_DEVICE: (u32, u32) = (5, 2);

/// Makes a terminal, hands its master to the agent, and makes its slave this session's terminal and
/// this process's streams; with `console` also /dev/console.
///
/// # Errors
/// The first operation that fails.
pub fn enter(size: TerminalSize, console: bool, reports: &Reports) -> Result<(), OsError> {
    let master = open_master().tried("open", PTMX)?;
    unlockpt(&master).tried("unlock", "the terminal")?;
    let slave = open_slave(&master)?;
    resize(&master, size).tried("size", "the terminal")?;
    if console {
        show_as_console(&slave)?;
    }
    rustix::process::ioctl_tiocsctty(&slave).tried("take", "the controlling terminal")?;
    rustix::stdio::dup2_stdin(&slave).tried("duplicate", "the terminal")?;
    rustix::stdio::dup2_stdout(&slave).tried("duplicate", "the terminal")?;
    rustix::stdio::dup2_stderr(&slave).tried("duplicate", "the terminal")?;
    reports.send_terminal(&File::from(master)).tried("hand over", "the terminal")
}

/// Opens the slave of a terminal's master.
///
/// # Errors
/// What the kernel says.
pub fn open_slave(master: &OwnedFd) -> Result<OwnedFd, OsError> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    ioctl_tiocgptpeer(master, flags).tried("open", "the terminal's slave")
}

/// Tells a terminal its size.
///
/// # Errors
/// What the kernel says.
pub fn resize(terminal: impl AsFd, size: TerminalSize) -> rustix::io::Result<()> {
    let TerminalSize { rows, columns } = size;
    tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
}

fn open_master() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat2(CWD, PTMX, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let device = fstat(&master)?.st_rdev;
    let genuine =
        fstatfs(&master)?.f_type == DEVPTS_MAGIC && (major(device), minor(device)) == PTMX_DEVICE;
    if genuine { Ok(master) } else { Err(io::Error::other("it is no terminal multiplexer")) }
}

fn show_as_console(slave: &OwnedFd) -> Result<(), OsError> {
    let flags =
        OFlags::CREATE | OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    if rustix::fs::access(CONSOLE, rustix::fs::Access::EXISTS).is_err() {
        rustix::fs::open(CONSOLE, flags, Mode::from_raw_mode(0o600)).tried("make", CONSOLE)?;
    }
    let tree = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(slave, "", tree).tried("bind", CONSOLE)?;
    move_mount(&mount, "", CWD, CONSOLE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .tried("mount", CONSOLE)
}
