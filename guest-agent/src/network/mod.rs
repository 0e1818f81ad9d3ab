//! The machine's one network device: given to the network namespace of a container's own, and configured there; or
//! configured where it is, for a container that is in the guest's own.
//!
//! Runs in the process that starts a container, between its namespaces' making and its program's start, with all powers
//! over both. Never takes a device back: the kernel does, when the namespace ends.
//!
//! ```text
//!   find (guest's namespace) ─ move ─ enter the container's ─ IPv6 settings ─ up, addresses, gateways
//! ```
//!
//! Follows rtnetlink(7), network_namespaces(7) and the kernel's networking/ip-sysctl.rst.

mod message;

use crate::error::{OsError, Tried};
use message::{Answer, Change, Device};
use protocol::Network;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use std::{io, iter};

/// Where the kernel lists network devices of the machine, in whatever network namespace.
const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_net";
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
}

/// Whose network namespace the device comes to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// That of the process with this id, which has one that nobody configured. The caller is in it afterwards.
    Of(u32),
    /// The guest's, where it is anyway.
    Guest,
}

/// Gives the machine's network device to a namespace, and configures it there.
///
/// # Errors
/// There is none, it is in use, or the kernel refuses something.
pub fn give(network: &Network, place: Place) -> Result<(), NetworkError> {
    let guest = Netlink::open()?;
    let device = find(&guest)?;
    match place {
        Place::Guest => configure(&guest, &device, &device.name, place, network)?,
        // It came without being up, as it does from a container that has ended.
        Place::Of(_) if device.is_up => return Err(NetworkError::Taken),
        Place::Of(process) => {
            guest.change(&[Change::Move(process)], &device)?;
            enter(process)?;
            configure(&Netlink::open()?, &device, message::NAME, place, network)?;
        }
    }
    Ok(())
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

/// Goes over to the network namespace of a process.
fn enter(process: u32) -> Result<(), OsError> {
    let path = format!("/proc/{process}/ns/net");
    let namespace = File::open(&path).tried("open", &path)?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .tried("join", path)
}

/// Configures the device, in the namespace that this process is in.
fn configure(
    netlink: &Netlink,
    device: &Device,
    name: &str,
    place: Place,
    network: &Network,
) -> Result<(), OsError> {
    for (setting, value) in settings(network) {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/{setting}");
        fs::write(&path, value).tried("write", format_args!("{value} to {path}"))?;
    }
    netlink.change(&changes(network, place), device)
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

/// What is done to the device. A namespace of a container's own has its loopback brought up in any case.
fn changes(network: &Network, place: Place) -> Vec<Change> {
    let loopback = (place == Place::Guest).then_some(Change::Loopback);
    let addresses =
        network.addresses.iter().map(|&(address, prefix)| Change::Address(address, prefix));
    let gateways = network.gateways.iter().copied().map(Change::Gateway);
    loopback
        .into_iter()
        .chain(iter::once(Change::Up(network.mtu)))
        .chain(addresses)
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
