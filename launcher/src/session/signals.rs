//! The signals of this process, read from a descriptor.
//!
//! Owns: which are taken. Never does: decides what one means; [`super::terminal`] does.

use crate::jail::orphans;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Those that keep their meaning here: they cannot be caught, tell of this process's own faults,
/// children and pipes, or are the terminal's job control.
const LEFT: [libc::c_int; 14] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGURG,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// The signals of this process, taken before anything can send one.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Takes them for this thread and all it starts: all that a container may be sent, but those that
    /// whoever started us has ignored (nohup, and `&` in a script).
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn take() -> Result<Self, Errno> {
        let mut taken: Vec<libc::c_int> = (1..libc::SIGSYS + 1)
            .chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
            .filter(|&signal| !LEFT.contains(&signal) && !is_ignored_for_us(signal))
            .collect();
        taken.extend(orphans::are_ours_to_reap().then_some(libc::SIGCHLD));
        crate::sys::signal_descriptor(&taken).map(Self)
    }

    /// Takes but the news that the terminal has another size: all others mean this process.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn of_the_terminal() -> Result<Self, Errno> {
        crate::sys::signal_descriptor(&[libc::SIGWINCH]).map(Self)
    }

    /// The next that is meant for the container or for us. Call it when there is one to be read.
    pub fn next(&self) -> Option<u8> {
        // struct signalfd_siginfo is 128 bytes and begins with the signal's number.
        let mut bytes = [0u8; 128];
        rustix::io::read(&self.0, &mut bytes).ok()?;
        let number = u32::from_ne_bytes(*bytes.first_chunk::<4>()?);
        let number = u8::try_from(number).ok()?;
        if i32::from(number) == libc::SIGCHLD {
            orphans::reap();
            return None;
        }
        Some(number)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn is_ignored_for_us(signal: libc::c_int) -> bool {
    matches!(signal, libc::SIGHUP | libc::SIGINT | libc::SIGQUIT) && crate::sys::ignores(signal)
}
