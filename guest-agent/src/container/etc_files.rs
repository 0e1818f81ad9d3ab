//! The files that Docker puts into every container's /etc: hosts, hostname and resolv.conf.
//!
//! They are the agent's, bound over the container's own. What stands in the container's root file
//! system is hostile: a link there may lead anywhere, so it is only ever followed within that root.

use super::bundle::ETC_FILES;
use crate::error::{OsError, Tried};
use protocol::{ContainerSpec, Network};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2, statat, unlinkat};
use rustix::io::Errno;
use std::fs;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::path::Path;

/// Writes the three files of a container, for its root, which is `owner` to the guest.
///
/// # Errors
/// The first operation that fails.
pub fn write(spec: &ContainerSpec, owner: u32, etc: &Path) -> Result<(), OsError> {
    fs::create_dir_all(etc).tried("make", etc.display())?;
    for name in ETC_FILES {
        let path = etc.join(name);
        let contents = contents(name, &spec.hostname, spec.network.as_ref());
        fs::write(&path, contents).tried("write", path.display())?;
        if owner != 0 {
            chown(&path, Some(owner), Some(owner)).tried("give away", path.display())?;
        }
    }
    Ok(())
}

fn contents(name: &str, hostname: &str, network: Option<&Network>) -> String {
    match name {
        "hosts" => format!(
            "127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::\tip6-localnet\n\
             ff00::\tip6-mcastprefix\n\
             ff02::1\tip6-allnodes\n\
             ff02::2\tip6-allrouters\n\
             {}",
            hosts(hostname, network)
        ),
        "hostname" => format!("{hostname}\n"),
        _ => network.map(|network| network.resolv_conf.clone()).unwrap_or_default(),
    }
}

/// The lines of hosts for the container's own name, which stands for the first address of each kind, and for others.
fn hosts(hostname: &str, network: Option<&Network>) -> String {
    let Some(network) = network else { return format!("127.0.1.1\t{hostname}\n") };
    let own = |is_kind: fn(&IpAddr) -> bool| {
        let mut addresses = network.addresses.iter().map(|(address, _)| address);
        addresses.find(|address| is_kind(address) && is_own(address))
    };
    let own = [own(IpAddr::is_ipv4), own(IpAddr::is_ipv6)].into_iter().flatten();
    let mut lines: String = own.map(|address| format!("{address}\t{hostname}\n")).collect();
    lines.push_str(&network.hosts);
    lines
}

/// Whether an address is nobody else's, on whatever link.
fn is_own(address: &IpAddr) -> bool {
    let is_of_link = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_loopback() && !is_of_link
}

/// Removes links in the root's /etc that lead nowhere, so that a file can be bound there: many
/// images leave resolv.conf as a link into a /run that is empty.
///
/// # Errors
/// A link that cannot be removed.
pub fn make_room(root: &OwnedFd) -> Result<(), OsError> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let Ok(etc) = openat2(root, "etc", directory, Mode::empty(), inside) else {
        return Ok(());
    };
    for name in ETC_FILES {
        let stat = statat(&etc, name, AtFlags::SYMLINK_NOFOLLOW);
        if !stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink()) {
            continue;
        }
        let path = Path::new("etc").join(name);
        let found = openat2(root, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside);
        if matches!(found, Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR)) {
            unlinkat(&etc, name, AtFlags::empty()).tried("replace the link", path.display())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
