//! Which file a process's first argument means, and why it cannot be run.
//!
//! Follows execvp(3) and the words and exit codes of `docker run`.

use protocol::{Failure, FailureKind};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use std::ffi::CString;
use std::path::Path;

/// Where programs are looked for by a process whose environment has no PATH.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file that `name` means: itself where it has a slash, else the first in PATH.
///
/// Asks with the rights that this process has in effect.
///
/// # Errors
/// What Docker would say.
pub fn find(name: &str, path: &str) -> Result<CString, Failure> {
    if name.contains('/') {
        return match check(name) {
            Ok(()) => c_string(name),
            Err(errno) => Err(refused(name, errno)),
        };
    }
    for directory in path.split(':').filter(|_| !name.is_empty()) {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{directory}/{name}");
        if check(&candidate).is_ok() {
            return c_string(&candidate);
        }
    }
    // One that is there but may not be run is none: Docker looks on past it, and says just this.
    Err(Failure {
        kind: FailureKind::NotFound,
        message: format!("exec: {name:?}: executable file not found in $PATH"),
    })
}

/// The failure of running `name`.
pub fn refused(name: &str, errno: Errno) -> Failure {
    let (kind, why) = match errno {
        Errno::NOENT | Errno::NOTDIR => (FailureKind::NotFound, "no such file or directory"),
        Errno::ISDIR => (FailureKind::CannotInvoke, "is a directory"),
        Errno::ACCESS | Errno::PERM => (FailureKind::CannotInvoke, "permission denied"),
        Errno::NOEXEC => (FailureKind::CannotInvoke, "exec format error"),
        Errno::LOOP => (FailureKind::CannotInvoke, "too many levels of symbolic links"),
        other => {
            let message = format!("exec: {name:?}: {}", std::io::Error::from(other));
            return Failure { kind: FailureKind::CannotInvoke, message };
        }
    };
    Failure { kind, message: format!("exec: {name:?}: {why}") }
}

fn check(path: &str) -> Result<(), Errno> {
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?;
    if Path::new(path).is_dir() { Err(Errno::ISDIR) } else { Ok(()) }
}

/// Texts as C has them.
///
/// # Errors
/// Where one holds a zero byte: none of `what` can.
pub fn c_strings(texts: &[String], what: &str) -> Result<Vec<CString>, Failure> {
    let strings: Result<Vec<_>, _> = texts.iter().map(|text| CString::new(text.as_str())).collect();
    strings.map_err(|_| Failure {
        kind: FailureKind::Setup,
        message: format!("a zero byte stands in {what}"),
    })
}

fn c_string(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| refused(text, Errno::INVAL))
}

#[cfg(test)]
mod tests;
