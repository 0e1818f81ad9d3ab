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
        self.next_of_all().map(|(number, _)| number)
    }

    /// The same, if another process has sent it: one of the terminal's goes to all who share that.
    pub fn next_sent(&self) -> Option<u8> {
        self.next_of_all().and_then(|(number, is_sent)| is_sent.then_some(number))
    }

    fn next_of_all(&self) -> Option<(u8, bool)> {
        // struct signalfd_siginfo is 128 bytes: the signal's number, an error number, and where it comes from.
        let mut bytes = [0u8; 128];
        rustix::io::read(&self.0, &mut bytes).ok()?;
        let (number, _, code) = {
            let mut words = bytes.chunks_exact(4).map(|it| it.try_into().map(i32::from_ne_bytes));
            (words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?)
        };
        if number == libc::SIGCHLD {
            orphans::reap();
            return None;
        }
        // SI_USER and those below it (sigaction(2)).
        Some((u8::try_from(number).ok()?, code <= libc::SI_USER))
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
