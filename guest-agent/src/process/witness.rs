//! A container's process that says what it finds around itself, so that what holds it can be judged by
//! what is and not by what was asked for.
//!
//! The agent's own program, executed from an open file under all that would hold the container's. Reads,
//! asks what it might write to, and changes nothing.

use crate::sys;
use protocol::{Testimony, frame};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::ffi::{CString, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;

/// The name under which it runs, and is recognised.
pub const WITNESS_NAME: &str = "/cofferdam-witness";

/// More than the kernel has to say of one process with any sensible number of mounts. What is longer is cut.
const LONGEST: u64 = 256 * 1024;

/// The witness's arguments.
pub fn arguments() -> Vec<CString> {
    CString::new(WITNESS_NAME).into_iter().collect()
}

/// Says it on standard output, and ends when standard input does.
pub fn run() -> ! {
    let said = say(&testimony()).is_ok();
    // Its surroundings stay for as long as somebody looks at them from outside.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    sys::exit_now(if said { 0 } else { 1 })
}

fn say(testimony: &Testimony) -> std::io::Result<()> {
    let bytes = frame::encode(testimony).map_err(std::io::Error::other)?;
    let mut out = std::io::stdout().lock();
    out.write_all(&bytes)?;
    out.flush()
}

fn testimony() -> Testimony {
    let mounts = read("/proc/self/mountinfo");
    let writable = mounts.lines().filter_map(mount_point).filter(|path| may_write(path));
    Testimony {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_release: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id").trim().to_owned(),
        status: read("/proc/self/status"),
        uid_map: read("/proc/self/uid_map"),
        label: read("/proc/self/attr/current").trim_end_matches(['\n', '\0']).to_owned(),
        writable: writable.map(str::to_owned).collect(),
        mounts,
    }
}

/// A file of the kernel's, or nothing.
fn read(path: &str) -> String {
    let mut text = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // What was read until an error is still what the kernel said.
        let _ = file.take(LONGEST).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The fifth field (proc_pid_mountinfo(5)).
fn mount_point(line: &str) -> Option<&str> {
    line.split(' ').nth(4)
}

fn may_write(path: &str) -> bool {
    let path = OsString::from_vec(unescaped(path.as_bytes()));
    accessat(CWD, path.as_os_str(), Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// The kernel writes blanks, line feeds and backslashes as a backslash and three octal digits.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\');
        let value = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match value.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_named_as_it_is() {
        assert_eq!(unescaped(b"/a\\040b\\134"), b"/a b\\");
        assert_eq!(unescaped(b"/a\\9"), b"/a\\9");
        assert_eq!(unescaped(b"\\777"), b"\\777");
    }

    #[test]
    fn it_says_what_is_so_of_this_process() {
        let said = testimony();
        assert!(said.status.contains("CapEff:") && !said.uid_map.is_empty(), "{said:?}");
        assert!(said.mounts.lines().count() > 1 && said.boot_id.len() == 36, "{said:?}");
        assert!(said.writable.len() < said.mounts.lines().count(), "{said:?}");
    }
}
