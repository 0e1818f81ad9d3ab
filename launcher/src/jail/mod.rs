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
//! no core, reaches nothing by name ([`landlock`]), asks of the kernel what its list allows ([`filter`]), and
//! cannot be looked into by its siblings.

pub mod channel;
pub mod devices;
pub mod fetch;
mod filter;
mod landlock;
mod limits;
pub mod machine;
pub mod network;
pub mod orphans;
pub mod probe;
pub mod qemu;
mod role;
pub mod share;
mod spawn;
#[cfg(feature = "trial")]
mod trial;
pub mod unpack;
pub mod vmm;
pub mod walls;

pub use filter::all_calls;
pub use landlock::{LandlockError, Listen, Reach};
pub use role::Role;
#[cfg(test)]
pub(crate) use spawn::start;
pub use spawn::{Child, SpawnError, spawn};

use channel::{Channel, ChannelError};
use filter::List;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use walls::Walls;

/// Why a process does not go on.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// A step of its locking down was refused.
    #[error("cannot {step}")]
    Step {
        /// Which.
        step: &'static str,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// It could not be closed in.
    #[error("cannot close the process in")]
    Landlock(#[from] LandlockError),
    /// The launcher cannot be heard or told.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

fn step(step: &'static str) -> impl FnOnce(Errno) -> JailError {
    move |source| JailError::Step { step, source }
}

/// A child's whole life: locks itself down, then does what its role is. `walls` is what the launcher has
/// found that it can wall itself in with.
pub fn main(role: Role, walls: Option<&str>) -> ExitCode {
    Walls::inherit(walls);
    let done = enter(role).and_then(|channel| match role {
        Role::Probe => Ok(probe::run(channel)?),
        Role::Unpack => Ok(unpack::run(channel)?),
        Role::Fetch => Ok(fetch::run(channel)?),
        Role::Share => share::run(channel),
        Role::Network => network::run(channel),
        Role::Vmm => vmm::run(channel),
        Role::Devices => Ok(devices::run(channel)?),
        Role::Qemu => qemu::run(channel),
    });
    match done {
        // The launcher is gone: that is how a child is told to end.
        Ok(()) | Err(JailError::Channel(ChannelError::Closed)) => ExitCode::SUCCESS,
        Err(error) => {
            crate::error::report(&crate::error::Failure::plain(error));
            ExitCode::FAILURE
        }
    }
}

/// What a child does first, before it reads its first message. Gives its channel.
fn enter(role: Role) -> Result<Channel, JailError> {
    let death_signal = Some(Signal::KILL);
    #[cfg(feature = "trial")]
    let death_signal = death_signal.filter(|_| !trial::is("no-death-signal"));
    rustix::process::set_parent_process_death_signal(death_signal)
        .map_err(step("be tied to the launcher"))?;
    end_if_alone().map_err(step("see the launcher"))?;
    // The launcher has its own read from a descriptor; here one of them brings vCPUs out of the guest.
    crate::sys::unblock_signals();
    rustix::process::setsid().map_err(step("leave the launcher's session"))?;
    crate::sys::close_from(3).map_err(step("close what was inherited"))?;
    gain_nothing()?;
    limits::at_start(role).map_err(step("limit itself"))?;
    crate::sys::keep_heap_simple(limits::heap(role));
    let channel: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(step("take its channel"))?;
    // Standard output is /dev/null; so becomes standard input, lest a file handed over get its number.
    rustix::stdio::dup2_stdin(rustix::stdio::stdout()).map_err(step("close standard input"))?;
    let list = match role {
        Role::Probe => List::Probe,
        Role::Unpack => List::Unpack,
        Role::Fetch => List::Fetch,
        Role::Vmm => List::VmmStart,
        Role::Devices => List::DevicesStart,
        // Their reach is known from their first message.
        Role::Share | Role::Network | Role::Qemu => return Ok(Channel::from_fd(channel)),
    };
    let reach = if role == Role::Fetch { fetch::reach() } else { Reach::default() };
    landlock::close_in(Walls::here(), &reach)?;
    filter_calls(list)?;
    #[cfg(feature = "trial")]
    trial::attempt(role.process_name());
    Ok(Channel::from_fd(channel))
}

/// Whatever a process of ours executes or becomes, it gains no privilege by it; and nobody of the same user
/// looks into it.
fn gain_nothing() -> Result<(), JailError> {
    rustix::thread::set_no_new_privs(true).map_err(step("give up gaining privileges"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(step("close itself to its siblings"))
}

/// Confines the calling thread, and those it starts from now on, to a list, where that can be done at all.
fn filter_calls(list: List) -> Result<(), JailError> {
    if Walls::here().seccomp {
        filter::confine(list).map_err(step("filter its system calls"))
    } else {
        Ok(())
    }
}

/// The same for a thread that may not run unconfined: where it cannot be done, the process ends.
fn confine_thread(list: List) {
    if let Err(error) = filter_calls(list) {
        crate::error::report(&crate::error::Failure::plain(error));
        std::process::exit(1);
    }
    #[cfg(feature = "trial")]
    trial::attempt(list.name());
}

/// The launcher's own system calls, from now on, and those of all it starts. Before it has a second thread.
/// `fetching` is whether it may have to fetch an image: its fetch processes take more.
///
/// # Errors
/// Where it cannot be done though the kernel can.
pub fn confine_launcher(fetching: bool) -> Result<(), JailError> {
    gain_nothing()?;
    filter_calls(if fetching { List::LauncherFetching } else { List::Launcher })
}

/// The same of a process that copies to or from a sandbox, which speaks to its supervisor alone: what it may still reach
/// by name, and its system calls.
///
/// # Errors
/// Where it cannot be done though the kernel can.
pub fn confine_copier(reach: &Reach<'_>) -> Result<(), JailError> {
    gain_nothing()?;
    landlock::close_in(Walls::here(), reach)?;
    filter_calls(List::Copier)?;
    #[cfg(feature = "trial")]
    trial::attempt("copier");
    Ok(())
}

/// Takes back from all threads of the launcher what fetching an image takes.
///
/// # Errors
/// Where it cannot be done though the kernel can.
pub fn end_fetching() -> Result<(), JailError> {
    if !Walls::here().seccomp {
        return Ok(());
    }
    filter::confine_all(List::Launcher).map_err(step("filter its system calls"))
}

/// What the launcher, and all it starts, may still reach by name.
///
/// # Errors
/// Where it cannot be done though the kernel can.
pub fn close_launcher_in(reach: &Reach<'_>) -> Result<(), JailError> {
    landlock::close_in(Walls::here(), reach)?;
    #[cfg(feature = "trial")]
    trial::attempt("launcher");
    Ok(())
}

/// A launcher that was gone before its death was asked to be told is seen by its end of the channel.
fn end_if_alone() -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut channel = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::empty())];
    poll(&mut channel, Some(&Timespec::default()))?;
    if channel.iter().any(|fd| fd.revents().contains(PollFlags::HUP)) {
        std::process::exit(1);
    }
    Ok(())
}
