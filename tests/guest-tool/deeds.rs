//! Deeds that are known from escapes out of containers, and that busybox cannot do.
//!
//! Each says in a line what came of it; a deed that is refused is an error.

use crate::sys;
use rustix::mount::MountFlags;
use rustix::net::{AddressFamily, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

/// Holds on to a process as a debugger does.
pub fn puppet(pid: i32) -> io::Result<String> {
    let name = fs::read_to_string(format!("{}proc/{pid}/comm", crate::kernel_helper::GUEST))
        .or_else(|_| fs::read_to_string(format!("/proc/{pid}/comm")))?;
    sys::Traced::attach(pid)?.take_over()?;
    Ok(format!("held {}", name.trim()))
}

/// Takes the agent's connection to a port of the launcher out of the agent, and says nonsense on it.
pub fn usurp(root: &Path, port: &str) -> io::Result<String> {
    let port: u32 = port.parse().map_err(io::Error::other)?;
    let agent = pidfd_open(Pid::INIT, PidfdFlags::empty())?;
    for entry in fs::read_dir(root.join("proc/1/fd"))? {
        let number = entry?.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
        let taken = pidfd_getfd(&agent, number, PidfdGetfdFlags::empty())?;
        let is_channel = sockopt::socket_domain(&taken).is_ok_and(|it| it == AddressFamily::VSOCK);
        if is_channel && sys::vsock_peer_port(taken.as_fd())? == port {
            rustix::io::write(&taken, &[0xff; 64])?;
            return Ok("said nonsense".to_owned());
        }
    }
    Err(io::Error::other("the agent has no such connection"))
}

/// Makes a hierarchy of cgroup v1, which only the guest's first cgroup namespace may, and has it call
/// `agent` when its only group becomes empty.
pub fn hierarchy(root: &Path, agent: &str) -> io::Result<String> {
    let place = root.join("run/hierarchy");
    fs::create_dir(&place)?;
    rustix::mount::mount("none", &place, "cgroup", MountFlags::empty(), c"none,name=escape")?;
    fs::write(place.join("release_agent"), agent)?;
    let group = place.join("group");
    fs::create_dir(&group)?;
    fs::write(group.join("notify_on_release"), "1")?;
    let mut child = Command::new(root.join("proc/self/exe")).arg("sleep").spawn()?;
    fs::write(group.join("cgroup.procs"), child.id().to_string())?;
    child.kill()?;
    child.wait()?;
    Ok("the group is empty".to_owned())
}

/// Takes the rule about devices off the cgroup that this container sees as the root.
pub fn unguard() -> io::Result<String> {
    let cgroup = File::open("/sys/fs/cgroup")?;
    let count = sys::detach_device_programs(cgroup.as_fd())?;
    Ok(format!("detached {count}"))
}

/// Opens the root of the file system that `path` is on, by a handle that is the same on every ext4.
pub fn shocker(path: &str) -> io::Result<String> {
    let mount = File::open(path)?;
    let root = sys::open_ext4_root(mount.as_fd())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&root)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(format!("opened {}", names.join(",")))
}

/// Connects to a vsock port.
pub fn vsock(cid: u32, port: u32) -> io::Result<String> {
    sys::vsock_connect(cid, port)?;
    Ok(format!("connected to {cid}:{port}"))
}

/// Connects to every so many vsock ports of a stretch; gives how often there was which answer.
pub fn knock(cid: u32, first: u32, last: u32, step: usize) -> io::Result<String> {
    let mut answers = BTreeMap::<String, u32>::new();
    for port in (first..=last).step_by(step) {
        let answer = match sys::vsock_connect(cid, port) {
            Ok(()) => format!("connected to {port}"),
            Err(error) => error.to_string(),
        };
        *answers.entry(answer).or_default() += 1;
    }
    let lines: Vec<String> =
        answers.into_iter().map(|(answer, count)| format!("{count} {answer}")).collect();
    Ok(lines.join("\n"))
}

/// Asks the kernel to load a module; one that is empty is refused as such where it loads any.
pub fn module() -> io::Result<String> {
    match rustix::system::init_module(&[], c"") {
        Err(rustix::io::Errno::NOEXEC) => Ok("it would load one".to_owned()),
        Err(errno) => Err(errno.into()),
        Ok(()) => Ok("loaded".to_owned()),
    }
}
