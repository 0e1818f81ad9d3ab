//! What the agent was told about a container, as an OCI runtime specification for libcontainer.
//!
//! Pure: it opens nothing. It leaves out what every process goes through in the same way, in a
//! container or not ([`crate::process::become_process`]): user, capabilities, limits, system call
//! filter, working directory and program. libcontainer's own last step is run with all of root's
//! powers, and hands over to that.
//!
//! Follows the OCI runtime specification 1.2 and Docker's default mounts.

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, Mount, MountBuilder,
    Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use protocol::{ContainerSpec, DeviceAccess, MountSource, NamespaceRef};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceKind {
    /// Process ids.
    Pid,
    /// Network stack.
    Network,
    /// Host name.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Cgroup view.
    Cgroup,
}

impl NamespaceKind {
    /// Every kind that a container can share.
    pub const ALL: [Self; 5] = [Self::Pid, Self::Network, Self::Uts, Self::Ipc, Self::Cgroup];

    /// Its file below /proc/PID/ns.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Network => "net",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Cgroup => "cgroup",
        }
    }

    /// Where a container takes it from.
    pub fn of(self, namespaces: &protocol::Namespaces) -> &NamespaceRef {
        match self {
            Self::Pid => &namespaces.pid,
            Self::Network => &namespaces.network,
            Self::Uts => &namespaces.uts,
            Self::Ipc => &namespaces.ipc,
            Self::Cgroup => &namespaces.cgroup,
        }
    }

    fn oci(self) -> LinuxNamespaceType {
        match self {
            Self::Pid => LinuxNamespaceType::Pid,
            Self::Network => LinuxNamespaceType::Network,
            Self::Uts => LinuxNamespaceType::Uts,
            Self::Ipc => LinuxNamespaceType::Ipc,
            Self::Cgroup => LinuxNamespaceType::Cgroup,
        }
    }
}

/// What stands beside a [`ContainerSpec`]: paths and open files of the guest.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Where the joined root file system is mounted.
    pub rootfs: &'a Path,
    /// Where the agent's hosts, hostname and resolv.conf for this container are.
    pub etc: &'a Path,
    /// The open files of namespaces taken from other containers.
    pub joined: &'a [(NamespaceKind, i32)],
    /// The open file of its user namespace, where it has one.
    pub users: Option<i32>,
    /// The open file of its own network namespace, where that is made already.
    pub network: Option<i32>,
    /// What it is given of disks and shares, in the order of their mounts.
    pub directories: &'a [PathBuf],
}

/// The names of the files that Docker, and the agent, put into a container's /etc.
pub const ETC_FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// What Docker sets in a network namespace of the container's own: users other than root may serve low ports …
pub const LOW_PORTS: (&str, &str) = ("net.ipv4.ip_unprivileged_port_start", "0");
/// … and send echo requests.
pub const ECHO_REQUESTS: (&str, &str) = ("net.ipv4.ping_group_range", "0 2147483647");
/// The same where there are no more groups: the kernel refuses those that have no meaning.
const ECHO_REQUESTS_IN_RANGE: (&str, &str) = ("net.ipv4.ping_group_range", "0 65535");

/// The runtime specification of a container.
///
/// # Errors
/// None that is known: the builders refuse only missing parts.
pub fn runtime_spec(spec: &ContainerSpec, around: &Surroundings<'_>) -> Result<Spec, OciSpecError> {
    let linux = LinuxBuilder::default()
        .namespaces(namespaces(spec, around)?)
        .cgroups_path(format!("/cofferdam/{}", spec.id))
        .masked_paths(spec.masked_paths.clone())
        .readonly_paths(spec.readonly_paths.clone())
        .build()?;
    let mut linux = linux;
    // The limits are the agent's own writing: libcontainer is left with nothing to apply.
    linux.set_resources(None);
    // One that is there already has been set by whoever has made it. And libcontainer would want to see it again, by a number
    // that is nobody's then, for each further process.
    let own_network = spec.namespaces.network == NamespaceRef::New && around.network.is_none();
    let echo = if around.users.is_some() { ECHO_REQUESTS_IN_RANGE } else { ECHO_REQUESTS };
    linux.set_sysctl(own_network.then(|| {
        [LOW_PORTS, echo].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }));
    let root = RootBuilder::default().path(around.rootfs).readonly(spec.rootfs.readonly).build()?;
    let mut specification = SpecBuilder::default()
        .version("1.0.2")
        .root(root)
        .mounts(mounts(spec, around)?)
        .process(privileged_process()?)
        .linux(linux)
        .build()?;
    // The library's default is a name of its own, not none.
    let own_name = spec.namespaces.uts == NamespaceRef::New;
    specification.set_hostname(own_name.then(|| spec.hostname.clone()));
    Ok(specification)
}

/// The process of every runtime specification: root with everything, at `/`.
///
/// # Errors
/// None that is known: the builders refuse only missing parts.
pub fn privileged_process() -> Result<Process, OciSpecError> {
    let mut process = ProcessBuilder::default()
        .terminal(false)
        .user(UserBuilder::default().uid(0u32).gid(0u32).build()?)
        .args(vec!["-".to_owned()])
        .env(Vec::new())
        .cwd("/")
        .build()?;
    process.set_capabilities(None).set_rlimits(None).set_no_new_privileges(None);
    Ok(process)
}

fn namespaces(
    spec: &ContainerSpec,
    around: &Surroundings<'_>,
) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let mut namespaces =
        vec![LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Mount).build()?];
    for kind in NamespaceKind::ALL {
        let builder = || LinuxNamespaceBuilder::default().typ(kind.oci());
        match kind.of(&spec.namespaces) {
            NamespaceRef::Guest => {}
            NamespaceRef::New => namespaces.push(match around.network {
                Some(fd) if kind == NamespaceKind::Network => {
                    builder().path(open_file(fd)).build()?
                }
                _ => builder().build()?,
            }),
            NamespaceRef::Container(_) => {
                for (_, fd) in around.joined.iter().filter(|(joined, _)| *joined == kind) {
                    namespaces.push(builder().path(open_file(*fd)).build()?);
                }
            }
        }
    }
    // It is joined as others are: libcontainer makes none whose mounts could be prepared before.
    if let Some(fd) = around.users {
        let users = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User);
        namespaces.push(users.path(open_file(fd)).build()?);
    }
    Ok(namespaces)
}

fn open_file(fd: i32) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{fd}"))
}

/// All mounts: whatever is above another before it, and the files of /etc last, as Docker does.
fn mounts(spec: &ContainerSpec, around: &Surroundings<'_>) -> Result<Vec<Mount>, OciSpecError> {
    let mut mounts = kernel_mounts(spec.devices)?;
    let asked = |mount: &Mount| spec.mounts.iter().any(|it| mount.destination() == &it.destination);
    mounts.retain(|mount| !asked(mount));
    let mut directories = around.directories.iter();
    for extra in &spec.mounts {
        let options = extra.options.iter().map(String::as_str);
        match extra.source {
            MountSource::Tmpfs | MountSource::OwnTmpfs => {
                let options: Vec<&str> = options.collect();
                mounts.push(mount(&extra.destination, "tmpfs", Path::new("tmpfs"), &options)?);
            }
            MountSource::Volume { .. }
            | MountSource::Directory { .. }
            | MountSource::Share { .. } => {
                let options: Vec<&str> = ["bind", "rprivate"].into_iter().chain(options).collect();
                if let Some(directory) = directories.next() {
                    mounts.push(mount(&extra.destination, "bind", directory, &options)?);
                }
            }
        }
    }
    mounts.sort_by_key(|mount| mount.destination().components().count());
    let access = if spec.rootfs.readonly { "ro" } else { "rw" };
    for name in ETC_FILES {
        let destination = format!("/etc/{name}");
        let options = ["bind", "rprivate", access];
        mounts.push(mount(&destination, "bind", &around.etc.join(name), &options)?);
    }
    Ok(mounts)
}

/// The mounts of the kernel's own file systems that every container has, as Docker makes them.
fn kernel_mounts(devices: DeviceAccess) -> Result<Vec<Mount>, OciSpecError> {
    const PTS: [&str; 6] =
        ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let access = match devices {
        DeviceAccess::Standard => "ro",
        DeviceAccess::All => "rw",
    };
    let plain = |name: &'static str| Path::new(name);
    Ok(vec![
        mount("/proc", "proc", plain("proc"), &["nosuid", "noexec", "nodev"])?,
        mount(
            "/dev",
            "tmpfs",
            plain("tmpfs"),
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        )?,
        mount("/dev/pts", "devpts", plain("devpts"), &PTS)?,
        mount("/sys", "sysfs", plain("sysfs"), &["nosuid", "noexec", "nodev", access])?,
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            plain("cgroup"),
            &["nosuid", "noexec", "nodev", "relatime", access],
        )?,
        mount("/dev/mqueue", "mqueue", plain("mqueue"), &["nosuid", "noexec", "nodev"])?,
        mount(
            "/dev/shm",
            "tmpfs",
            plain("shm"),
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        )?,
    ])
}

fn mount(
    destination: &str,
    kind: &str,
    source: &Path,
    options: &[&str],
) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
        .build()
}

#[cfg(test)]
mod tests;
