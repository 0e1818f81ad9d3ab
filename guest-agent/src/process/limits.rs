//! Resource limits by their names.

use crate::error::{Tried, setup_failure};
use crate::sys;
use protocol::{Failure, FailureKind, Rlimit};

/// Linux's limits: setrlimit(2).
const NAMES: [(&str, u32); 16] = [
    ("cpu", libc::RLIMIT_CPU),
    ("fsize", libc::RLIMIT_FSIZE),
    ("data", libc::RLIMIT_DATA),
    ("stack", libc::RLIMIT_STACK),
    ("core", libc::RLIMIT_CORE),
    ("rss", libc::RLIMIT_RSS),
    ("nproc", libc::RLIMIT_NPROC),
    ("nofile", libc::RLIMIT_NOFILE),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("as", libc::RLIMIT_AS),
    ("locks", libc::RLIMIT_LOCKS),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
];

/// Raises the hard limits of this process as far as a process needs that will not be allowed to do so
/// itself. What cannot be raised, that process says.
pub fn make_room(limits: &[Rlimit]) {
    for Rlimit { name, hard, .. } in limits {
        if let Some((_, resource)) = NAMES.iter().find(|(known, _)| known == name) {
            let _ = sys::raise_hard_limit(*resource, *hard);
        }
    }
}

/// Sets the limits of this process.
///
/// # Errors
/// A name that Linux has no limit for, or a limit that the kernel refuses.
pub fn apply(limits: &[Rlimit]) -> Result<(), Failure> {
    for Rlimit { name, soft, hard } in limits {
        let Some((_, resource)) = NAMES.iter().find(|(known, _)| known == name) else {
            let message = format!("there is no resource limit {name:?}");
            return Err(Failure { kind: FailureKind::Setup, message });
        };
        sys::set_resource_limit(*resource, *soft, *hard)
            .tried("set", format_args!("the resource limit {name}={soft}:{hard}"))
            .map_err(|error| setup_failure(&error))?;
    }
    Ok(())
}
