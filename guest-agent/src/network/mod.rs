//! The machine's one network device: given to the network namespace of a container's own, and configured there; or
//! configured where it is, for a container that is in the guest's own.
//!
//! Runs in the process that starts a container, with all powers over both namespaces. Never takes a device back: the
//! kernel does, when the container's namespace ends.
//!
//! The kernel waits for some of its ticks while it moves a device, and does nothing else. So a child sees to that while the
//! container is made, and its program is started when both are done:
//!
//! ```text
//!   starter   find ─ make the namespace ─┬─ root, mounts, init process ────────── wait ─ start
//!   mover                                └─ move ─ enter ─ IPv6 settings ─ up, addresses, gateways
//! ```
//!
//! Follows rtnetlink(7), network_namespaces(7) and the kernel's networking/ip-sysctl.rst.

mod message;

use crate::container::bundle::{ECHO_REQUESTS, LOW_PORTS};
use crate::error::{OsError, Tried, one_line};
use crate::sys::{self, ChildPid};
use message::{Answer, Change, Device};
use protocol::Network;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::iter;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Where the kernel lists network devices of the machine, in whatever network namespace.
const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_net";
/// What a mover says when all is done; else it says why not.
const DONE: &str = "+";
/// How long it may take the kernel to give back the device of a container that has ended.
const RETURN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// More than the kernel says at once to whom it does not know to have more room.
const MOST_AT_ONCE: usize = 8192;

/// Why a container has no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Something that the kernel does not do.
    #[error(transparent)]
    Os(#[from] OsError),
    /// There is nothing to give.
    #[error("the machine has no network device")]
    NoDevice,
    /// It is given away.
    #[error("the machine's network device is another container's")]
    Taken,
    /// Whoever was to bring it says why it is not there.
    #[error("the container has no network: {0}")]
    Mover(String),
}

/// Configures the device where it is, for a container in the guest's own namespace.
///
/// # Errors
/// There is none, another container has it, or the kernel refuses something.
pub fn configure_for_guest(network: &Network) -> Result<(), NetworkError> {
    let guest = Netlink::open()?;
    let device = find(&guest)?;
    Ok(configure(&guest, &device, &device.name, network, &[Change::Loopback])?)
}

/// A network namespace that the machine's device is on its way into.
#[derive(Debug)]
pub struct Coming {
    namespace: OwnedFd,
    mover: ChildPid,
    outcome: File,
}

impl Coming {
    /// Has the machine's device moved into a network namespace, or one made for it, and configured there.
    ///
    /// # Errors
    /// There is none, another container has it, or nobody can move it.
    pub fn begin(network: &Network, namespace: Option<OwnedFd>) -> Result<Self, NetworkError> {
        let guest = Netlink::open()?;
        let device = find(&guest)?;
        // From a container that has ended it would come without being up.
        if device.is_up {
            return Err(NetworkError::Taken);
        }
        let namespace = namespace.map_or_else(make_namespace, Ok)?;
        let (outcome, told) = pipe_with(PipeFlags::CLOEXEC).tried("make", "a pipe")?;
        let Some(mover) = sys::fork().tried("fork for", "the network device")? else {
            let said = match bring(network, &guest, &device, &namespace) {
                Ok(()) => DONE.to_owned(),
                Err(error) => one_line(&error),
            };
            // Whoever hears nothing takes it for a failure.
            let _ = File::from(told).write_all(said.as_bytes());
            sys::exit_now(0)
        };
        Ok(Self { namespace, mover, outcome: outcome.into() })
    }

    /// The number of the namespace's open file.
    pub fn number(&self) -> i32 {
        self.namespace.as_raw_fd()
    }

    /// Waits until the device is there.
    ///
    /// # Errors
    /// Why it is not.
    pub fn arrive(mut self) -> Result<(), NetworkError> {
        let mut said = String::new();
        let read = self.outcome.read_to_string(&mut said);
        sys::wait_for(self.mover);
        read.tried("wait for", "the network device")?;
        match said.as_str() {
            DONE => Ok(()),
            "" => Err(NetworkError::Mover("its mover ended before it was done".to_owned())),
            _ => Err(NetworkError::Mover(said)),
        }
    }
}

/// Makes a network namespace that nobody is in.
fn make_namespace() -> Result<OwnedFd, OsError> {
    const OWN: &str = "/proc/self/ns/net";
    let open = || File::open(OWN).map(OwnedFd::from).tried("open", OWN);
    let guest = open()?;
    sys::unshare(libc::CLONE_NEWNET).tried("make", "a network namespace")?;
    let made = open();
    enter(&guest)?;
    made
}

/// Brings the device into a namespace, and stays there with it.
fn bring(
    network: &Network,
    guest: &Netlink,
    device: &Device,
    namespace: &OwnedFd,
) -> Result<(), OsError> {
    guest.change(&[Change::Move(namespace.as_raw_fd())], device)?;
    enter(namespace)?;
    for (name, value) in [LOW_PORTS, ECHO_REQUESTS] {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::write(&path, value).tried("write", format_args!("{value} to {path}"))?;
    }
    // The loopback interface is brought up from within, as where there is no other.
    configure(&Netlink::open()?, device, message::NAME, network, &[])
}

fn enter(namespace: &OwnedFd) -> Result<(), OsError> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .tried("enter", "a network namespace")
}

/// The machine's device, once it is in the guest's namespace.
fn find(guest: &Netlink) -> Result<Device, NetworkError> {
    let begun = Instant::now();
    loop {
        if let Some(device) = guest.device()? {
            return Ok(device);
        }
        if !has_device() {
            return Err(NetworkError::NoDevice);
        }
        if begun.elapsed() > RETURN {
            return Err(NetworkError::Taken);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Whether there is a device in any namespace.
fn has_device() -> bool {
    let mut entries = fs::read_dir(DRIVER).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("virtio"))
}

/// Configures the device, in the namespace that this process is in.
fn configure(
    netlink: &Netlink,
    device: &Device,
    name: &str,
    network: &Network,
    before: &[Change],
) -> Result<(), OsError> {
    for (setting, value) in settings(network) {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/{setting}");
        fs::write(&path, value).tried("write", format_args!("{value} to {path}"))?;
    }
    netlink.change(&[before, &changes(network)].concat(), device)
}

/// How IPv6 is to be on the device before it comes up: nobody else is on its link who could have an address of its or would
/// say what is to be known.
fn settings(network: &Network) -> &'static [(&'static str, &'static str)] {
    if network.addresses.iter().any(|(address, _)| address.is_ipv6()) {
        &[("accept_dad", "0"), ("accept_ra", "0")]
    } else {
        &[("disable_ipv6", "1")]
    }
}

/// What is done to the device where it is.
fn changes(network: &Network) -> Vec<Change> {
    let address = |&(address, prefix): &_| Change::Address(address, prefix);
    let gateways = network.gateways.iter().copied().map(Change::Gateway);
    iter::once(Change::Up(network.mtu))
        .chain(network.addresses.iter().map(address))
        .chain(gateways)
        .collect()
}

/// The kernel, as far as it is asked about one network namespace.
struct Netlink(OwnedFd);

impl Netlink {
    /// For the namespace that this process is in.
    fn open() -> Result<Self, OsError> {
        // Without a protocol it is NETLINK_ROUTE.
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .map(Self)
            .tried("open", "a netlink socket")
    }

    /// The first device with hardware.
    fn device(&self) -> Result<Option<Device>, OsError> {
        const WHAT: &str = "network devices";
        self.tell(&message::list()).tried("ask for", WHAT)?;
        let mut found = None;
        loop {
            for answer in self.hear().tried("hear of", WHAT)? {
                match answer {
                    Answer::Device(device) => found = found.or(Some(device)),
                    Answer::Done => return Ok(found),
                    Answer::Refused { errno, .. } => {
                        return Err(io::Error::from_raw_os_error(errno)).tried("list", WHAT);
                    }
                }
            }
        }
    }

    /// Makes all changes, by one message. What comes back first is what failed first, or that all is done.
    fn change(&self, changes: &[Change], device: &Device) -> Result<(), OsError> {
        const WHAT: &str = "the network device";
        self.tell(&message::changes(changes, device.index)).tried("configure", WHAT)?;
        for answer in self.hear().tried("configure", WHAT)? {
            if let Answer::Refused { sequence, errno } = answer {
                let refused = Err(io::Error::from_raw_os_error(errno));
                return match changes.get(sequence as usize) {
                    Some(change) => refused.tried(change.verb(), change),
                    None => refused.tried("configure", WHAT),
                };
            }
        }
        Ok(())
    }

    fn tell(&self, bytes: &[u8]) -> io::Result<()> {
        send(&self.0, bytes, SendFlags::empty())?;
        Ok(())
    }

    fn hear(&self) -> io::Result<Vec<Answer>> {
        let mut buffer = vec![0; MOST_AT_ONCE];
        let (count, _) = recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
        Ok(message::answers(buffer.get(..count).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests;
