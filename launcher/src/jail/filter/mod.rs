//! The allow-lists of system calls, one for each kind of thread: what is not on a thread's list ends its
//! process, so that whoever has taken it over has that much of the kernel to attack and no more.
//!
//! Owns: the lists (`*.list`, compiled by `build.rs`) and how a thread gets behind one. Never does: say what
//! a process is for; each list says which end-to-end cases need each call, and the cases hold it to that.
//!
//! ```text
//!   launcher.list   ⊇  ┌ probe.list
//!   (inherited)        ├ unpack.list
//!                      ├ fetch.list          beside launcher-fetching.list, while an image is prepared
//!                      ├ vmm-start.list      ⊇ vmm-main, vcpu, block, vsock, entropy, net, watch
//!                      ├ devices-start.list  ⊇ devices-main, vhost-user, block, vsock, watch
//!                      └ qemu.list           and QEMU's own -sandbox within
//!   copier.list                                      of `cofferdam cp`, which starts nothing
//!   share-start.list  ⊇  share-main, share, watch    of a process that is not the launcher's, but beside it
//!   network-start.list ⊇ network, watch              the same
//! ```
//! Filters add up: a thread may do what every list that it is behind allows.
//!
//! A process may be stopped at any time. What then waits for a given time in poll, futex or a sleep goes on by
//! restart_syscall: whose list lacks that, waits in ppoll or epoll, or without a time. The cases hold it to that.

use libc::sock_filter;
use rustix::io::Errno;

include!(concat!(env!("OUT_DIR"), "/filters.rs"));

/// A list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The launcher, all its threads.
    Launcher,
    /// The same while an image may have to be fetched.
    LauncherFetching,
    /// The probe.
    Probe,
    /// An unpack process.
    Unpack,
    /// A fetch process.
    Fetch,
    /// The VMM until its machine runs, and whatever it does.
    VmmStart,
    /// The VMM's main thread while the machine runs.
    VmmMain,
    /// A vCPU's thread.
    Vcpu,
    /// A disk's thread.
    Block,
    /// The socket device's thread.
    Vsock,
    /// The entropy source's thread.
    Entropy,
    /// The network device's thread.
    Net,
    /// The thread that sees that the launcher is gone.
    Watch,
    /// The devices process, whatever it does.
    DevicesStart,
    /// Its main thread while it serves.
    DevicesMain,
    /// A thread that hears what QEMU asks of a device.
    VhostUser,
    /// The process that shares directories, whatever it does.
    ShareStart,
    /// Its main thread while it serves.
    ShareMain,
    /// Its thread that answers what a guest asks of them.
    Share,
    /// The process that carries a network, whatever it does.
    NetworkStart,
    /// Its main thread while it serves.
    Network,
    /// QEMU.
    Qemu,
    /// What copies to or from a sandbox.
    Copier,
}

impl List {
    /// The name of its file.
    #[cfg(feature = "trial")]
    pub fn name(self) -> &'static str {
        match self {
            Self::Launcher => "launcher",
            Self::LauncherFetching => "launcher-fetching",
            Self::Probe => "probe",
            Self::Unpack => "unpack",
            Self::Fetch => "fetch",
            Self::VmmStart => "vmm-start",
            Self::VmmMain => "vmm-main",
            Self::Vcpu => "vcpu",
            Self::Block => "block",
            Self::Vsock => "vsock",
            Self::Entropy => "entropy",
            Self::Net => "net",
            Self::Watch => "watch",
            Self::DevicesStart => "devices-start",
            Self::DevicesMain => "devices-main",
            Self::VhostUser => "vhost-user",
            Self::ShareStart => "share-start",
            Self::ShareMain => "share-main",
            Self::Share => "share",
            Self::NetworkStart => "network-start",
            Self::Network => "network",
            Self::Qemu => "qemu",
            Self::Copier => "copier",
        }
    }

    fn program(self) -> &'static [sock_filter] {
        match self {
            Self::Launcher => &LAUNCHER,
            Self::LauncherFetching => &LAUNCHER_FETCHING,
            Self::Probe => &PROBE,
            Self::Unpack => &UNPACK,
            Self::Fetch => &FETCH,
            Self::VmmStart => &VMM_START,
            Self::VmmMain => &VMM_MAIN,
            Self::Vcpu => &VCPU,
            Self::Block => &BLOCK,
            Self::Vsock => &VSOCK,
            Self::Entropy => &ENTROPY,
            Self::Net => &NET,
            Self::Watch => &WATCH,
            Self::DevicesStart => &DEVICES_START,
            Self::DevicesMain => &DEVICES_MAIN,
            Self::VhostUser => &VHOST_USER,
            Self::ShareStart => &SHARE_START,
            Self::ShareMain => &SHARE_MAIN,
            Self::Share => &SHARE,
            Self::NetworkStart => &NETWORK_START,
            Self::Network => &NETWORK,
            Self::Qemu => &QEMU,
            Self::Copier => &COPIER,
        }
    }
}

/// The names of the calls that the launcher makes, and all it starts; once or more often.
pub fn all_calls() -> impl Iterator<Item = &'static str> {
    let lists = [
        include_str!("launcher.list"),
        include_str!("launcher-fetching.list"),
        include_str!("share-start.list"),
        include_str!("network-start.list"),
        include_str!("copier.list"),
    ];
    let calls = lists.into_iter().flat_map(str::lines).filter_map(|line| line.split('#').next());
    calls.filter_map(|line| line.split_once(':')?.0.split_whitespace().next())
}

/// Puts the calling thread, and those it starts from now on, behind a list, for good. Needs no_new_privs.
///
/// # Errors
/// Where the kernel, or a filter of the engine's, refuses: the thread is as free as before.
pub fn confine(list: List) -> Result<(), Errno> {
    load(list, false)
}

/// The same for all threads of the process, which are behind the same lists.
///
/// # Errors
/// As [`confine`].
pub fn confine_all(list: List) -> Result<(), Errno> {
    load(list, true)
}

fn load(list: List, all: bool) -> Result<(), Errno> {
    let own_id = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
    let known = |instruction: &sock_filter| match *instruction {
        sock_filter { code, jt, jf, k: SELF } => sock_filter { code, jt, jf, k: own_id },
        other => other,
    };
    let program: Vec<_> = list.program().iter().map(known).collect();
    #[cfg(feature = "trial")]
    let program = super::trial::changed(list.name(), program);
    crate::sys::load_filter(&program, all)
}

#[cfg(test)]
mod tests;
