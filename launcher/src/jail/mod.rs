//! The processes a sandbox is made of: each is this same binary, executed again with nothing but one
//! channel.
//!
//! Owns: how a process is started and what it gives up first. Never does: what the process is for.
//!
//! ```text
//!   launcher                                    child (argv[0] = cofferdam-ROLE)
//!      │ socket pair; one end becomes fd 0          │
//!      │ exec /proc/self/exe, empty environment ──▶ │ lock down (below)
//!      │ first message: configuration + open files ▶│
//!      │ ◀───────── messages of the role ─────────▶ │ ends when the channel does
//! ```
//!
//! A child closes every descriptor but 0 and 2, dies with the thread that started it, is in a session of
//! its own with no terminal (its standard error is a pipe to the launcher), gains no privileges, leaves
//! no core, and cannot be traced by its siblings. QEMU alone can: its exec makes it traceable again, by
//! processes of the same user.

pub mod channel;
pub mod devices;
pub mod machine;
pub mod orphans;
pub mod probe;
pub mod qemu;
mod role;
mod spawn;
pub mod unpack;
pub mod vmm;

pub use role::Role;
#[cfg(test)]
pub(crate) use spawn::start;
pub use spawn::{Child, SpawnError, spawn};

use channel::Channel;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// A child's whole life: locks itself down, then does what its role is.
pub fn main(role: Role) -> ExitCode {
    let done = enter(role).map_err(channel::ChannelError::from).and_then(|channel| match role {
        Role::Probe => probe::run(channel),
        Role::Unpack => unpack::run(channel),
        Role::Vmm => vmm::run(channel),
        Role::Devices => devices::run(channel),
        Role::Qemu => qemu::run(channel),
    });
    match done {
        // The launcher is gone: that is how a child is told to end.
        Ok(()) | Err(channel::ChannelError::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            crate::command::report(&crate::error::Failure::plain(error));
            ExitCode::FAILURE
        }
    }
}

/// How much address space an unpack process may have, in bytes: a hostile layer gets no more.
const UNPACK_ADDRESS_SPACE_BYTES: u64 = 1 << 30;

/// What a child does first, before it reads its first message. Gives its channel.
///
/// # Errors
/// The one step that failed: a child that cannot lock itself down does not go on.
fn enter(role: Role) -> Result<Channel, rustix::io::Errno> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    end_if_alone()?;
    rustix::process::setsid()?;
    crate::sys::close_from(3)?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::setrlimit(Resource::Core, limit(0))?;
    if role == Role::Unpack {
        rustix::process::setrlimit(Resource::As, limit(UNPACK_ADDRESS_SPACE_BYTES))?;
    }
    let channel: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    // Standard output is /dev/null; so becomes standard input, lest a file handed over get its number.
    rustix::stdio::dup2_stdin(rustix::stdio::stdout())?;
    Ok(Channel::from_fd(channel))
}

/// A launcher that was gone before its death was asked to be told is seen by its end of the channel.
fn end_if_alone() -> Result<(), rustix::io::Errno> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut channel = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::empty())];
    poll(&mut channel, Some(&Timespec::default()))?;
    if channel.iter().any(|fd| fd.revents().contains(PollFlags::HUP)) {
        std::process::exit(1);
    }
    Ok(())
}
