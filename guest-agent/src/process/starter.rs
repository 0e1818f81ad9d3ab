//! The agent re-executed to start one process: libcontainer clones from raw code, which only a
//! process with one thread may do.
//!
//! Makes a container with its init process, joins a container with a further one, or starts one in
//! the guest itself; reports, and ends. What it started is then the agent's to wait for.

use super::become_process::{BecomeProcess, Remaining, give_streams_to};
use super::identity::{Databases, IdentityError};
use super::launch::{Launch, Report, Reports, STARTER_WORD};
use super::limits;
use crate::container::bundle::{self, NamespaceKind, Surroundings};
use crate::container::user_namespace::{IdRange, UserNamespace};
use crate::container::{STATE, directories, directory, etc_files, mount_points};
use crate::error::{OsError, Tried};
use crate::network::{self, Coming, NetworkError};
use crate::rootfs::{self, RootfsPaths};
use crate::seccomp::{self, SeccompError};
use crate::{cgroup, sys};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use protocol::{
    AppArmor, ContainerId, ContainerSpec, MountSource, NamespaceRef, ProcessSpec, Program,
    SeccompProfile,
};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Os(#[from] OsError),
    #[error("cannot make the runtime specification")]
    Specification(#[from] oci_spec::OciSpecError),
    #[error(transparent)]
    Container(#[from] LibcontainerError),
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Whether these arguments make a starter; its socket's number.
pub fn recognise(arguments: &[String]) -> Option<&str> {
    match arguments {
        [_, word, socket] if word == STARTER_WORD => Some(socket),
        _ => None,
    }
}

/// Starts one process and ends.
pub fn run(socket: &str) -> ! {
    let Ok(reports) = Reports::inherit(socket) else { sys::exit_now(1) };
    let reports = Rc::new(reports);
    let launch = match reports.read_launch() {
        Ok(launch) => launch,
        Err(error) => {
            reports.send_error(&error);
            sys::exit_now(1)
        }
    };
    let result = match launch {
        Launch::Container { spec, rootfs, joined, range } => {
            prepare_for(range, &spec.init);
            start_container(*spec, &rootfs, &joined, range, &reports)
        }
        Launch::Exec { container, process, seccomp, apparmor, cgroup, range, users } => {
            prepare_for(range, &process);
            let become_process = plain(*process, seccomp.as_ref(), apparmor, &reports);
            become_process
                .and_then(|it| Ok(BecomeProcess { users: inherited_users(users)?, ..it }))
                .and_then(|it| join_container(&container, cgroup, it))
        }
        Launch::Guest { cgroup, process } => start_in_guest(&cgroup, *process, &reports),
    };
    match result {
        Ok(pid) => reports.send(&Report::Created { pid }),
        Err(error) => reports.send_error(&error),
    }
    sys::exit_now(0)
}

/// The user namespace that a further process joins.
fn inherited_users(number: Option<i32>) -> Result<Option<Rc<OwnedFd>>, OsError> {
    let file = number.map(sys::inherited).transpose();
    Ok(file.tried("take over", "a user namespace")?.map(Rc::new))
}

fn filter(
    profile: Option<&SeccompProfile>,
) -> Result<Option<Rc<[libc::sock_filter]>>, SeccompError> {
    profile.map(|profile| seccomp::compile(profile).map(Rc::from)).transpose()
}

fn plain(
    process: ProcessSpec,
    seccomp: Option<&SeccompProfile>,
    apparmor: AppArmor,
    reports: &Rc<Reports>,
) -> Result<BecomeProcess, StartError> {
    let is_ours = matches!(
        process.program,
        Program::Pack { .. }
            | Program::Unpack { .. }
            | Program::DockerPorts
            | Program::Gate
            | Program::Tasks
    );
    let agent = if is_ours { Some(Rc::new(open_agent()?)) } else { None };
    Ok(BecomeProcess {
        process: Rc::new(process),
        filter: filter(seccomp)?,
        apparmor,
        remaining: Remaining { agent, ..Remaining::default() },
        users: None,
        reports: Rc::clone(reports),
    })
}

/// Does what a process in a user namespace can no longer do for itself.
fn prepare_for(range: Option<IdRange>, process: &ProcessSpec) {
    if let Some(range) = range {
        // With their group: what the namespace does not know at all, its root cannot give on.
        give_streams_to(range.root(), Some(range.root()));
        limits::make_room(&process.rlimits);
    }
}

fn start_container(
    mut spec: ContainerSpec,
    paths: &RootfsPaths,
    joined: &[(NamespaceKind, i32)],
    range: Option<IdRange>,
    reports: &Rc<Reports>,
) -> Result<u32, StartError> {
    // Mounts made from here on are this container's alone and go when its last process does.
    sys::unshare(libc::CLONE_NEWNS).tried("unshare", "the mount namespace")?;
    let bundle = directory(&spec.id);
    let root = bundle.join("rootfs");
    let with_network = spec.network.is_some() && spec.namespaces.network == NamespaceRef::New;
    let mut users = range.map(|range| UserNamespace::make(range, with_network)).transpose()?;
    let coming = begin_network(&spec, users.as_mut())?;
    rootfs::mount(paths, users.as_ref(), &root)?;
    let etc = bundle.join("etc");
    etc_files::write(&spec, range.map_or(0, IdRange::root), &etc)?;
    prepare_root(&mut spec, &root, users.as_ref())?;
    let inside = mount_points::open_root(&root).tried("open", root.display())?;
    let directories = directories::prepare(&spec, paths, &inside, users.as_ref())?;
    drop(inside);
    let spec = &spec;
    cgroup::create(&spec.id, &spec.resources, spec.devices)?;
    let users = users.as_ref().map(UserNamespace::number);
    let network = coming.as_ref().map(Coming::number);
    let (rootfs, etc, directories) = (&root, &etc, &directories);
    let around = Surroundings { rootfs, etc, joined, users, network, directories };
    let specification = bundle::runtime_spec(spec, &around)?;
    specification.save(bundle.join("config.json"))?;
    let of_the_agent = spec.reaper || spec.init.program == Program::Witness;
    let agent = if of_the_agent { Some(Rc::new(open_agent()?)) } else { None };
    let become_process = BecomeProcess {
        process: Rc::new(spec.init.clone()),
        filter: filter(spec.seccomp.as_ref())?,
        apparmor: spec.apparmor,
        remaining: Remaining::of(spec, agent),
        users: None,
        reports: Rc::clone(reports),
    };
    let mut container = ContainerBuilder::new(spec.id.to_string(), SyscallType::default())
        .with_executor(become_process)
        .with_root_path(STATE)?
        .as_init(&bundle)
        .with_systemd(false)
        .build()?;
    let pid = container.pid().map_or(0, |pid| pid.as_raw()).unsigned_abs();
    let arrived = coming.map_or(Ok(()), Coming::arrive).map_err(StartError::from);
    let started = arrived.and_then(|()| Ok(container.start()?));
    if started.is_err() {
        // Its init process would wait for ever.
        cgroup::kill_all(&spec.id);
    }
    started.map(|()| pid)
}

/// Sees to the network that a container is to have, where that is not another container's.
fn begin_network(
    spec: &ContainerSpec,
    users: Option<&mut UserNamespace>,
) -> Result<Option<Coming>, NetworkError> {
    match (&spec.network, &spec.namespaces.network) {
        (None, _) | (_, NamespaceRef::Container(_)) => Ok(None),
        (Some(network), NamespaceRef::Guest) => {
            network::configure_for_guest(network).map(|()| None)
        }
        (Some(network), NamespaceRef::New) => {
            let namespace = users.and_then(UserNamespace::take_network);
            Coming::begin(network, namespace).map(Some)
        }
    }
}

/// Makes in a container's root, as its own root would, what must be there before anything is mounted in it.
fn prepare_root(
    spec: &mut ContainerSpec,
    root: &Path,
    users: Option<&UserNamespace>,
) -> Result<(), StartError> {
    let _owner = users.map(UserNamespace::own_files).transpose()?;
    let inside = mount_points::open_root(root).tried("open", root.display())?;
    mount_points::keep_modes(&inside, &mut spec.mounts);
    if spec.mounts.iter().any(|mount| mount.source == MountSource::OwnTmpfs) {
        let owner = Databases::read_below(&inside).identity_of(&spec.init)?;
        mount_points::give_owner(&mut spec.mounts, &owner);
    }
    if spec.rootfs.readonly {
        // Later it could not be made. Where it cannot be now, going there will say so.
        let _ = mount_points::make_directory(&inside, Path::new(&spec.init.cwd));
    }
    etc_files::make_room(&inside)?;
    Ok(())
}

fn open_agent() -> Result<OwnedFd, OsError> {
    const AGENT: &str = "/proc/self/exe";
    fs::File::open(AGENT).map(OwnedFd::from).tried("open", AGENT)
}

fn join_container(
    container: &ContainerId,
    cgroup: Option<String>,
    become_process: BecomeProcess,
) -> Result<u32, StartError> {
    // The same for every further process: what differs is in what it becomes.
    let description = directory(container).join("process.json");
    if !description.exists() {
        let json =
            serde_json::to_vec(&bundle::privileged_process()?).map_err(std::io::Error::other);
        let written = json.and_then(|json| fs::write(&description, json));
        written.tried("write", description.display())?;
    }
    let pid = ContainerBuilder::new(container.to_string(), SyscallType::default())
        .with_executor(become_process)
        .with_root_path(STATE)?
        .as_tenant()
        .with_process(Some(&description))
        .with_sub_cgroup(cgroup)
        .with_detach(true)
        .build()?;
    Ok(pid.as_raw().unsigned_abs())
}

fn start_in_guest(
    cgroup: &str,
    process: ProcessSpec,
    reports: &Rc<Reports>,
) -> Result<u32, StartError> {
    cgroup::enter(cgroup)?;
    let become_process = plain(process, None, AppArmor::Unconfined, reports)?;
    rustix::process::setsid().tried("begin", "a session")?;
    sys::close_on_exec_from(3).tried("mark", "open files")?;
    reports.send(&Report::Created { pid: std::process::id() });
    become_process.run()
}
