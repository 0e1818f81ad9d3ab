//! What the agent knows, and the life of each process it was asked for, in a thread of its own:
//!
//! ```text
//!   request ─ pipes, starter, connections ─ program runs ─ relays ─ Started ─ ended ─ relays done ─ Exited
//!                                         └──────────────┴─ Failed
//! ```

use crate::apparmor::Policy;
use crate::cgroup;
use crate::container::bundle::NamespaceKind;
use crate::container::user_namespace::IdRange;
use crate::control::Control;
use crate::disks::{DiskError, Disks};
use crate::error::{OsError, Tried, setup_failure};
use crate::process::launch::{Launch, LaunchError, Launched, Starter};
use crate::rootfs::RootfsPaths;
use crate::shares::{self, Shares};
use crate::streams::{Relays, Streams};
use crate::supervisor::Supervisor;
use protocol::{
    AppArmor, ContainerId, ContainerSpec, DeviceAccess, Event, Failure, MountSource, NamespaceRef,
    ProcessRef, ProcessSpec, Resources, SeccompProfile, Upper,
};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name of the cgroup of processes that run in the guest itself. It can be no container's name.
const GUEST_CGROUP: &str = "_guest";

/// What the agent keeps of a container.
#[derive(Debug)]
struct Container {
    init: ProcessRef,
    seccomp: Option<SeccompProfile>,
    apparmor: AppArmor,
    /// The ids of its user namespace, where it has one.
    range: Option<IdRange>,
}

/// All that the agent knows.
#[derive(Debug)]
pub struct Agent {
    /// The control channel.
    pub control: Control,
    /// The processes.
    pub supervisor: Supervisor,
    /// The disks.
    pub disks: Disks,
    /// What is shared with the outside.
    pub shares: Shares,
    policy: Policy,
    null: OwnedFd,
    containers: Mutex<HashMap<ContainerId, Container>>,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Os(#[from] OsError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("there is a container {0} already")]
    ContainerTaken(ContainerId),
    #[error("there is no running container {0}")]
    NoContainer(ContainerId),
    #[error("the {0} namespace of another container is not offered")]
    Namespace(&'static str),
    #[error("a user namespace goes with no namespace of others', nor with all devices")]
    UserNamespace,
    #[error("no range of ids is left for a user namespace")]
    NoRange,
    #[error("a container needs a layer")]
    NoLayer,
}

/// A process that was to run and does not.
struct NotStarted {
    /// It, where it came to exist nevertheless.
    pid: Option<u32>,
    failure: Failure,
}

impl<E: Into<StartError>> From<E> for NotStarted {
    fn from(error: E) -> Self {
        Self { pid: None, failure: setup_failure(&error.into()) }
    }
}

/// A process whose program runs, and whose output is on its way.
struct Running {
    pid: u32,
    terminal: Option<Arc<OwnedFd>>,
    relays: Relays,
}

/// What is launched, and the open files that go with it.
struct Order {
    launch: Launch,
    kept: Vec<OwnedFd>,
}

impl Agent {
    /// An agent with no process yet. `null` is /dev/null.
    pub fn new(control: Control, policy: Policy, null: OwnedFd) -> Self {
        Self {
            control,
            policy,
            null,
            supervisor: Supervisor::default(),
            disks: Disks::default(),
            shares: Shares::default(),
            containers: Mutex::default(),
        }
    }

    fn containers(&self) -> MutexGuard<'_, HashMap<ContainerId, Container>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process id of a container's init process.
    fn init_pid(&self, container: &ContainerId) -> Option<u32> {
        let init = self.containers().get(container)?.init.clone();
        self.supervisor.pid(&init)
    }

    fn is_init(&self, container: &ContainerId, process: &ProcessRef) -> bool {
        self.containers().get(container).is_some_and(|container| container.init == *process)
    }

    /// Takes a container's name and, where it wants a user namespace, a range of ids that no other has.
    fn enter(&self, spec: &ContainerSpec, init: &ProcessRef) -> Result<(), StartError> {
        let mut containers = self.containers();
        if containers.contains_key(&spec.id) {
            return Err(StartError::ContainerTaken(spec.id.clone()));
        }
        let range = match spec.namespaces.user {
            NamespaceRef::Guest => None,
            NamespaceRef::New => {
                let taken = containers.values().filter_map(|it| it.range);
                Some(IdRange::unlike(taken).ok_or(StartError::NoRange)?)
            }
            NamespaceRef::Container(_) => return Err(StartError::Namespace("user")),
        };
        let (init, seccomp, apparmor) = (init.clone(), spec.seccomp.clone(), spec.apparmor);
        containers.insert(spec.id.clone(), Container { init, seccomp, apparmor, range });
        Ok(())
    }

    fn range(&self, container: &ContainerId) -> Option<IdRange> {
        self.containers().get(container)?.range
    }

    /// What holds every process of a container.
    fn fences(&self, container: &ContainerId) -> Option<(Option<SeccompProfile>, AppArmor)> {
        let containers = self.containers();
        let container = containers.get(container)?;
        Some((container.seccomp.clone(), container.apparmor))
    }

    fn container_order(&self, spec: ContainerSpec) -> Result<Order, StartError> {
        if spec.namespaces.mount != NamespaceRef::New {
            return Err(StartError::Namespace("mount"));
        }
        if spec.rootfs.layers.is_empty() {
            return Err(StartError::NoLayer);
        }
        // The kernel's own file systems can be mounted for namespaces that belong to it, and no others.
        let is_new = |kind: NamespaceKind| *kind.of(&spec.namespaces) == NamespaceRef::New;
        let all_new = NamespaceKind::ALL.into_iter().all(is_new);
        let range = self.range(&spec.id);
        if range.is_some() && (!all_new || spec.devices == DeviceAccess::All) {
            return Err(StartError::UserNamespace);
        }
        if spec.apparmor == AppArmor::Default {
            self.policy.load()?;
        }
        let mut joined = Vec::new();
        let mut kept = Vec::new();
        for kind in NamespaceKind::ALL {
            if let NamespaceRef::Container(other) = kind.of(&spec.namespaces) {
                let pid = self.init_pid(other);
                let pid = pid.ok_or_else(|| StartError::NoContainer(other.clone()))?;
                let file = open_namespace(pid, kind.file_name())?;
                joined.push((kind, file.as_raw_fd()));
                kept.push(file);
            }
        }
        let layers: Result<Vec<_>, _> =
            spec.rootfs.layers.iter().map(|extent| self.disks.layer(*extent)).collect();
        let upper = match spec.rootfs.upper {
            Upper::Disk(extent) => self.disks.writable(extent)?,
            Upper::Memory { bytes } => self.disks.memory(bytes)?,
        };
        let upper = upper.join(spec.id.as_str());
        let mut directories = Vec::new();
        for mount in &spec.mounts {
            match mount.source {
                MountSource::Tmpfs | MountSource::OwnTmpfs => {}
                MountSource::Volume { extent, .. } => {
                    directories.push(self.disks.writable(extent)?);
                }
                MountSource::Directory { .. } => directories.push(upper.clone()),
                MountSource::Share { .. } => {
                    self.shares.mount()?;
                    directories.push(shares::PLACE.into());
                }
            }
        }
        let rootfs = RootfsPaths { layers: layers?, upper, directories };
        Ok(Order {
            launch: Launch::Container { spec: Box::new(spec), rootfs, joined, range },
            kept,
        })
    }

    fn process_order(
        &self,
        container: Option<&ContainerId>,
        process: ProcessSpec,
    ) -> Result<Order, StartError> {
        let process = Box::new(process);
        let Some(container) = container else {
            let launch = Launch::Guest { cgroup: GUEST_CGROUP.to_owned(), process };
            return Ok(Order { launch, kept: Vec::new() });
        };
        let missing = || StartError::NoContainer(container.clone());
        let pid = self.init_pid(container).ok_or_else(missing)?;
        let (seccomp, apparmor) = self.fences(container).ok_or_else(missing)?;
        let cgroup = cgroup::position(container, pid);
        let (container, range) = (container.clone(), self.range(container));
        let kept: Vec<OwnedFd> =
            range.map(|_| open_namespace(pid, "user")).transpose()?.into_iter().collect();
        let users = kept.first().map(AsRawFd::as_raw_fd);
        let launch = Launch::Exec { container, process, seccomp, apparmor, cgroup, range, users };
        Ok(Order { launch, kept })
    }

    fn fail(&self, process: ProcessRef, failure: Failure) {
        self.control.tell(&Event::Failed { process, failure });
    }
}

/// The open file of a namespace that a process is in.
fn open_namespace(pid: u32, name: &str) -> Result<OwnedFd, OsError> {
    let path = format!("/proc/{pid}/ns/{name}");
    File::open(&path).map(OwnedFd::from).tried("open", &path)
}

/// Makes a container and starts its init process, in a thread of its own.
pub fn start_container(agent: &Arc<Agent>, spec: ContainerSpec) {
    let id = spec.id.clone();
    let process = ProcessRef { container: Some(id.clone()), process: spec.init_id.clone() };
    if let Err(error) = agent.enter(&spec, &process) {
        return agent.fail(process, setup_failure(&error));
    }
    let stdio = spec.init.stdio;
    let own = id.clone();
    let is_begun = in_thread(agent, process, move |agent, process| {
        live(agent, process, stdio, |agent| agent.container_order(spec));
        cgroup::kill_all(&own);
        crate::container::remove(&own);
        agent.containers().remove(&own);
    });
    if !is_begun {
        agent.containers().remove(&id);
    }
}

/// Starts a further process, in a thread of its own.
pub fn run_process(agent: &Arc<Agent>, process: ProcessRef, spec: ProcessSpec) {
    let container = process.container.clone();
    let stdio = spec.stdio;
    in_thread(agent, process, move |agent, process| {
        live(agent, process, stdio, |agent| agent.process_order(container.as_ref(), spec));
    });
}

/// Has all containers stand still, or go on, which is told once they do: by a thread of its own, for a process that is at work
/// in the kernel stops when it is done there.
pub fn freeze(agent: &Arc<Agent>, wanted: bool) {
    cgroup::freeze(wanted);
    let own = Arc::clone(agent);
    let thread = std::thread::Builder::new().name("freezer".to_owned()).stack_size(32 * 1024);
    let made = thread.spawn(move || own.control.tell(&Event::Frozen(cgroup::is_frozen(wanted))));
    if made.is_err() {
        agent.control.tell(&Event::Frozen(!wanted));
    }
}

/// Gives a container other limits, which is told: by a thread of its own, for memory is taken away before it is limited. One
/// such request at a time.
pub fn limit(agent: &Arc<Agent>, container: ContainerId, resources: Resources) {
    let own = Arc::clone(agent);
    let thread = std::thread::Builder::new().name("limits".to_owned()).stack_size(32 * 1024);
    let made = thread.spawn(move || {
        let failure = cgroup::limit(&container, &resources).err();
        own.control.tell(&Event::Limited(failure.map(|error| setup_failure(&error).message)));
    });
    if let Err(error) = made {
        agent.control.tell(&Event::Limited(Some(setup_failure(&error).message)));
    }
}

/// Whether the thread could be made; where not, that is told.
fn in_thread(
    agent: &Arc<Agent>,
    process: ProcessRef,
    life: impl FnOnce(&Agent, &ProcessRef) + Send + 'static,
) -> bool {
    let own = Arc::clone(agent);
    let named = process.clone();
    let thread = std::thread::Builder::new().name("process".to_owned()).stack_size(128 * 1024);
    let made = thread.spawn(move || life(&own, &named));
    if let Err(error) = &made {
        agent.fail(process, setup_failure(error));
    }
    made.is_ok()
}

/// The whole life of a process: it is started, relayed, waited for and told.
fn live(
    agent: &Agent,
    process: &ProcessRef,
    stdio: protocol::Stdio,
    order: impl FnOnce(&Agent) -> Result<Order, StartError>,
) {
    if let Err(error) = agent.supervisor.begin(process) {
        return agent.fail(process.clone(), setup_failure(&error));
    }
    match start(agent, stdio, order) {
        Ok(Running { pid, terminal, relays }) => {
            agent.supervisor.started(process, pid, terminal);
            follow(agent, process, pid, relays);
        }
        Err(NotStarted { pid, mut failure }) => {
            agent.supervisor.not_started(process, pid);
            let container = process.container.as_ref().filter(|it| agent.is_init(it, process));
            if container.is_some_and(cgroup::ran_out_of_memory) {
                failure
                    .message
                    .push_str(": the kernel killed it, for it used more memory than it may");
            }
            agent.fail(process.clone(), failure);
        }
    }
}

/// Runs the starter, connects the streams while it works, and waits until the program runs.
fn start(
    agent: &Agent,
    stdio: protocol::Stdio,
    order: impl FnOnce(&Agent) -> Result<Order, StartError>,
) -> Result<Running, NotStarted> {
    let (streams, files) = Streams::new(stdio, &agent.null)?;
    let order = order(agent)?;
    let starter = Starter::spawn(files, &order.kept)?;
    agent.supervisor.child_made();
    drop(order.kept);
    // A starter that is never told ends by itself.
    let near = streams.connect()?;
    let Launched { pid, terminal, failure } = starter.tell(&order.launch)?.follow();
    let terminal = terminal.map(Arc::new);
    match (pid, failure) {
        (Some(pid), None) => match near.relay(terminal.clone()) {
            Ok(relays) => Ok(Running { pid, terminal, relays }),
            Err(error) => Err(NotStarted { pid: Some(pid), failure: setup_failure(&error) }),
        },
        (pid, failure) => {
            let unknown = || Failure {
                kind: protocol::FailureKind::Setup,
                message: "it was not started, for no reason told".to_owned(),
            };
            Err(NotStarted { pid, failure: failure.unwrap_or_else(unknown) })
        }
    }
}

/// From the program's start to its end: `Started`, the streams, `Exited`.
fn follow(agent: &Agent, process: &ProcessRef, pid: u32, relays: Relays) {
    agent.control.tell(&Event::Started { process: process.clone(), guest_pid: pid });
    let status = agent.supervisor.wait(process);
    relays.finish();
    let out_of_memory = process.container.as_ref().is_some_and(cgroup::ran_out_of_memory);
    agent.supervisor.forget(process);
    agent.control.tell(&Event::Exited { process: process.clone(), status, out_of_memory });
}
