//! AppArmor in the guest: the one profile that the initramfs carries, which is given to the kernel when the
//! first container asks for it, and entered by a container's processes when they execute their program.
//!
//! Never decides who is confined: the launcher does.
//!
//! Follows the kernel's `security/apparmor/apparmorfs.c` and apparmor_parser(8), which made the profile.

use crate::disks::FileSystem;
use crate::error::{OsError, Tried};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2};
use rustix::mount::MountAttrFlags;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

/// The profile's name.
const PROFILE: &str = "cofferdam-default";
/// Its file in the initramfs.
const FILE: &str = "/cofferdam-default.apparmor";
/// Where the kernel takes profiles, below securityfs. It takes the same one again, too.
const REPLACE: &str = "apparmor/.replace";
/// Where a thread says what it will be confined by once it executes another program.
const AT_EXEC: &str = "thread-self/attr/apparmor/exec";
const PROC: &str = "/proc";
const PROC_MAGIC: i64 = 0x9fa0;

/// The profile, on its way from the initramfs to the kernel.
#[derive(Debug)]
pub struct Policy(Mutex<State>);

#[derive(Debug)]
enum State {
    /// In the initramfs, or not even there.
    Carried(io::Result<File>),
    /// The kernel has it.
    Loaded,
}

impl Policy {
    /// Opens the profile's file: only before the agent leaves the initramfs can it be named.
    pub fn find() -> Self {
        Self(Mutex::new(State::Carried(File::open(FILE))))
    }

    /// Gives the profile to the kernel, unless it has it.
    ///
    /// # Errors
    /// The first operation that fails.
    pub fn load(&self) -> Result<(), OsError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Carried(file) = &*state {
            let failed = |error: &io::Error| io::Error::from(error.kind());
            let mut file: &File = file.as_ref().map_err(failed).tried("open", FILE)?;
            let mut profile = Vec::new();
            file.read_to_end(&mut profile).tried("read", FILE)?;
            // Nobody needs to see it: it is not attached anywhere.
            let securityfs = FileSystem::open("securityfs")?.mount(MountAttrFlags::empty())?;
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let replace = openat(&securityfs, REPLACE, flags, Mode::empty());
            let mut replace = File::from(replace.tried("open", REPLACE)?);
            // The kernel takes a profile in one piece.
            let count = replace.write(&profile).tried("load the AppArmor profile", PROFILE)?;
            let whole = if count == profile.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero) };
            whole.tried("load all of the AppArmor profile", PROFILE)?;
            *state = State::Loaded;
        }
        Ok(())
    }
}

/// Has this thread confined by the profile from its next exec on.
///
/// # Errors
/// /proc is not what it should be, or the kernel has no such profile.
pub fn confine_at_exec() -> Result<(), OsError> {
    let mut file = open_at_exec().tried("open", format_args!("{PROC}/{AT_EXEC}"))?;
    let command = format!("exec {PROFILE}");
    file.write_all(command.as_bytes()).tried("enter the AppArmor profile", PROFILE)
}

/// A container may have put something else in the place of /proc, or of files in it, that would take the
/// words and do nothing (CVE-2019-16884): only one mount of that very kind will do.
fn open_at_exec() -> io::Result<File> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc: OwnedFd = openat(CWD, PROC, directory, Mode::empty())?;
    if fstatfs(&proc)?.f_type != PROC_MAGIC {
        return Err(io::Error::other("it is no proc file system"));
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(File::from(openat2(&proc, AT_EXEC, flags, Mode::empty(), resolve)?))
}
