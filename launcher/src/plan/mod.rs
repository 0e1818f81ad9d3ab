//! The plan: what was typed, resolved against the facts of this place. Pure.
//!
//! Owns: every default, and every refusal of what cannot be. Never does: asks, opens, starts.
//!
//! ```text
//!   RunArgs + NamedInputs + HostFacts ── resolve ──▶ RunPlan          nothing has been started
//!   RunPlan + the image's configuration ── with_image ──▶ ProcessPlan
//!   RunPlan + ProcessPlan + layers + ports ──▶ ContainerSpec, VmConfig (next door)
//! ```

pub mod disk_size;
pub mod environment;
pub mod health;
pub mod limits;
mod mount_point;
pub mod names;
pub mod network;
pub mod process;
pub mod profile;
pub mod restart;
pub mod security;
pub mod share;
pub mod signal;
pub mod size;
pub mod socket;
pub mod tmpfs;
pub mod vm_size;
pub mod volume;

pub use disk_size::Storage;
pub use environment::Change;
use health::HealthChoices;
pub use process::{ImageDefaults, ProcessError, ProcessPlan, working_directory};
pub use security::Security;
pub use share::{MAX_SHARES, ShareMount};
pub use vm_size::VmSize;
pub use volume::{MAX_VOLUMES, VolumeMount};

use crate::cli::{Accelerator, PullPolicy, RunArgs};
use crate::error::Explain;
use crate::host::{HostFacts, NamedInputs};
use ext4::Layout;
use protocol::{ContainerId, Mount, Program, Resources, Rlimit, TerminalSize};
use std::path::PathBuf;
use std::time::Duration;

/// Everything about a run that does not depend on what the image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlan {
    /// The image, as typed.
    pub image: String,
    /// The VM and what is around it.
    pub sandbox: SandboxPlan,
    /// The container in it.
    pub container: ContainerPlan,
    /// What was chosen about its first process.
    pub process: ProcessChoices,
    /// What the user should know, one line each; not to be printed with `--quiet`.
    pub warnings: Vec<String>,
}

/// The VM and what is around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxPlan {
    /// The name it was given.
    pub name: Option<ContainerId>,
    /// Where images and sandboxes live.
    pub state_dir: PathBuf,
    /// When a registry is asked for the image.
    pub pull: PullPolicy,
    /// Nobody's terminal has its streams.
    pub detached: bool,
    /// Remove its state when it ends (`--rm`).
    pub remove: bool,
    /// Who runs the VM.
    pub accelerator: Accelerator,
    /// Its size.
    pub vm: VmSize,
    /// Where writes go.
    pub storage: Storage,
    /// Its writable disk, which has to be there in any case.
    pub disk: Layout,
    /// A kernel instead of the built-in one.
    pub kernel: Option<PathBuf>,
    /// Where its serial console is written.
    pub console: Option<PathBuf>,
    /// How long the guest may take to boot; `None` is the accelerator's own patience.
    pub boot_timeout: Option<Duration>,
    /// After how long the run is ended.
    pub timeout: Option<Duration>,
    /// How long after the stop signal SIGKILL follows; `None` is never.
    pub stop_timeout: Option<Duration>,
    /// Say nothing but errors.
    pub quiet: bool,
}

/// The container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPlan {
    /// Its host name; `None` is the sandbox's short id.
    pub hostname: Option<String>,
    /// It runs under `--profile strict`.
    pub strict: bool,
    /// Its root file system is read-only.
    pub readonly_root: bool,
    /// Mounts beside those that every container has.
    pub mounts: Vec<Mount>,
    /// Volumes and directories that it is given; what its image declares comes to them.
    pub volumes: Vec<VolumeMount>,
    /// What it is given of this place.
    pub shares: Vec<ShareMount>,
    /// Limits of its cgroup.
    pub resources: Resources,
    /// What its processes may do.
    pub security: Security,
    /// Their resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Run a reaper as PID 1.
    pub reaper: bool,
    /// Paths of Unix sockets of its that are reached from here.
    pub sockets: Vec<String>,
}

/// What was chosen about the first process; the image has a say too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessChoices {
    /// Its command, or a witness of what holds it.
    pub program: Program,
    /// Its standard input is ours (`-i`).
    pub interactive: bool,
    /// It gets a terminal (`-t`), of this size.
    pub terminal: Option<TerminalSize>,
    /// `--entrypoint`.
    pub entrypoint: Option<String>,
    /// The command that was typed.
    pub command: Vec<String>,
    /// Changes of the image's environment, in order.
    pub env: Vec<Change>,
    /// `--user`.
    pub user: Option<String>,
    /// `--workdir`.
    pub workdir: Option<String>,
    /// `--stop-signal`.
    pub stop_signal: Option<u8>,
    /// By what it is known that it is well.
    pub health: HealthChoices,
}

/// Why there can be no such run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The environment.
    #[error(transparent)]
    Environment(#[from] environment::EnvironmentError),
    /// A limit.
    #[error(transparent)]
    Limit(#[from] limits::LimitError),
    /// A name or a path.
    #[error(transparent)]
    Name(#[from] names::NameError),
    /// A privilege.
    #[error(transparent)]
    Security(#[from] security::SecurityError),
    /// Flags that contradict `--profile strict`.
    #[error(transparent)]
    Profile(#[from] profile::ProfileError),
    /// `--stop-signal`.
    #[error("--stop-signal")]
    StopSignal(#[source] signal::SignalError),
    /// A health check.
    #[error(transparent)]
    Health(#[from] health::HealthError),
    /// Something to share, and nobody to share it with.
    #[error("--share is for a container that comes to a sandbox")]
    Share,
    /// A published socket.
    #[error(transparent)]
    Socket(#[from] socket::SocketError),
    /// A tmpfs.
    #[error(transparent)]
    Tmpfs(#[from] tmpfs::TmpfsError),
    /// A volume.
    #[error(transparent)]
    Volume(#[from] volume::VolumeError),
    /// Two mounts at one place.
    #[error("{0} was given twice")]
    Twice(String),
    /// More volumes than a sandbox can have.
    #[error("{0} volumes are over the limit of {MAX_VOLUMES}")]
    Volumes(usize),
    /// More shares than a sandbox can have.
    #[error("{0} shared directories are over the limit of {MAX_SHARES}")]
    Shares(usize),
    /// The size of its disk.
    #[error(transparent)]
    DiskSize(#[from] disk_size::DiskSizeError),
    /// The VM's size.
    #[error(transparent)]
    VmSize(#[from] vm_size::VmSizeError),
    /// `-i -t` without a terminal: Docker's own words.
    #[error("--tty --interactive: the input device is not a TTY")]
    NotATerminal,
    /// A user that cannot be one.
    #[error("--user {0:?} is not USER[:GROUP]")]
    User(String),
    /// No image.
    #[error("the image's name is empty")]
    NoImage,
    /// A null character where none can be.
    #[error("an argument of the command holds a null character")]
    Null,
}

impl Explain for PlanError {
    fn hint(&self) -> Option<String> {
        match self {
            PlanError::Environment(error) => error.hint(),
            PlanError::Limit(error) => error.hint(),
            PlanError::Name(error) => error.hint(),
            PlanError::Security(error) => error.hint(),
            PlanError::Profile(error) => error.hint(),
            PlanError::StopSignal(_) => Some(signal::SIGNAL_HINT.into()),
            PlanError::Health(error) => error.hint(),
            PlanError::Share => Some("name the sandbox with --sandbox".into()),
            PlanError::Socket(error) => error.hint(),
            PlanError::Tmpfs(error) => error.hint(),
            PlanError::Volume(error) => error.hint(),
            PlanError::Twice(_) => Some("one mount at each place is enough".into()),
            PlanError::Volumes(_) => Some("one volume can have many directories".into()),
            PlanError::Shares(_) => Some("share one directory that is above them".into()),
            PlanError::DiskSize(error) => error.hint(),
            PlanError::VmSize(error) => error.hint(),
            PlanError::NotATerminal => {
                Some("leave --tty out where stdin is a pipe or a file".into())
            }
            PlanError::User(_) => {
                Some("a user and a group are each a name or a number: --user 1000:1000".into())
            }
            PlanError::NoImage => {
                Some("an image is oci:DIR, oci-archive:FILE or docker-archive:FILE".into())
            }
            PlanError::Null => None,
        }
    }
}

/// The size of a terminal that does not say.
pub const DEFAULT_TERMINAL: TerminalSize = TerminalSize { rows: 24, columns: 80 };

impl RunPlan {
    /// Resolves what was typed.
    ///
    /// # Errors
    /// [`PlanError`]: what cannot be, before anything is started.
    pub fn resolve(
        args: &RunArgs,
        inputs: &NamedInputs,
        facts: &HostFacts,
    ) -> Result<Self, PlanError> {
        if args.image().is_empty() {
            return Err(PlanError::NoImage);
        }
        let strict = profile::is_strict(args)?;
        let mut warnings = Vec::new();
        // To clap it is enough that what is given contradicts what is lacking.
        if args.sandbox.is_none() && !args.share.is_empty() {
            return Err(PlanError::Share);
        }
        let resources = limits::resources(args)?;
        let vm = vm_size::resolve(args, &resources, &facts.memory, &facts.cpus, &mut warnings)?;
        Ok(Self {
            image: args.image().to_owned(),
            container: ContainerPlan::resolve(args, inputs, resources, vm.vcpus, strict)?,
            process: ProcessChoices::resolve(args, inputs, facts)?,
            sandbox: SandboxPlan::resolve(args, vm)?,
            warnings,
        })
    }
}

impl SandboxPlan {
    fn resolve(args: &RunArgs, vm: VmSize) -> Result<Self, PlanError> {
        let (storage, disk) = disk_size::storage(args.storage, args.disk_size.as_deref())?;
        Ok(Self {
            name: given(&args.name).map(names::sandbox).transpose()?,
            state_dir: args.state_dir.clone(),
            pull: args.pull,
            detached: args.keeper.is_some(),
            remove: args.rm || args.audited,
            accelerator: args.accel,
            vm,
            storage,
            disk,
            kernel: args.kernel.clone(),
            console: args.console.clone(),
            boot_timeout: limits::timeout("--boot-timeout", args.boot_timeout.as_deref())?,
            timeout: limits::timeout("--timeout", args.timeout.as_deref())?,
            stop_timeout: limits::stop_timeout(args.stop_timeout.as_deref())?,
            quiet: args.quiet,
        })
    }
}

impl ContainerPlan {
    fn resolve(
        args: &RunArgs,
        inputs: &NamedInputs,
        resources: Resources,
        cpus: u8,
        strict: bool,
    ) -> Result<Self, PlanError> {
        let (volumes, more) = volumes(args)?;
        let shares = share::shares(args)?;
        let mounts = tmpfs::mounts(&[&args.tmpfs[..], &more].concat(), &args.writable)?;
        let places = mounts.iter().map(|mount| &mount.destination);
        let places = places.chain(volumes.iter().map(|it| &it.destination));
        let places: Vec<_> = places.chain(shares.iter().map(|it| &it.destination)).collect();
        let mut again = places.iter().enumerate().filter(|(at, it)| places[..*at].contains(it));
        if let Some((_, place)) = again.next() {
            return Err(PlanError::Twice((*place).clone()));
        }
        let security = security::resolve(args, inputs, cpus, strict)?;
        Ok(Self {
            hostname: given(&args.hostname).map(names::hostname).transpose()?,
            strict,
            readonly_root: args.read_only || strict,
            mounts: if strict { profile::mounts(mounts)? } else { mounts },
            volumes,
            shares,
            resources,
            sockets: socket::published(args, security.seccomp.as_ref())?,
            security,
            rlimits: limits::rlimits(&args.ulimit)?,
            reaper: args.init,
        })
    }
}

/// What was typed after `-v` and `--mount`: volumes and directories, and each tmpfs as `--tmpfs` has it.
fn volumes(args: &RunArgs) -> Result<(Vec<VolumeMount>, Vec<String>), PlanError> {
    let (mut volumes, mut tmpfs) = (Vec::new(), Vec::new());
    for mounted in volume::mounted(args)? {
        match mounted {
            volume::Mounted::Volume(volume) => volumes.push(volume),
            volume::Mounted::Tmpfs(typed) => tmpfs.push(typed),
            volume::Mounted::Share(_) => {}
        }
    }
    let mut names: Vec<_> = volumes.iter().filter_map(|it| it.volume.as_ref()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_VOLUMES {
        return Err(PlanError::Volumes(names.len()));
    }
    Ok((volumes, tmpfs))
}

impl ProcessChoices {
    fn resolve(args: &RunArgs, inputs: &NamedInputs, facts: &HostFacts) -> Result<Self, PlanError> {
        if args.tty && args.interactive && !facts.terminal.stdin && args.keeper.is_none() {
            return Err(PlanError::NotATerminal);
        }
        if args.command().iter().chain(&args.entrypoint).any(|text| text.contains('\0')) {
            return Err(PlanError::Null);
        }
        let stop_signal = given(&args.stop_signal).map(signal::parse).transpose();
        let terminal = args.tty && !args.audited;
        Ok(Self {
            program: if args.audited { Program::Witness } else { Program::Named },
            // A witness ends with its standard input.
            interactive: args.interactive || args.audited,
            terminal: terminal.then(|| facts.terminal.size.unwrap_or(DEFAULT_TERMINAL)),
            entrypoint: args.entrypoint.clone(),
            command: args.command().to_vec(),
            env: environment::changes(args, inputs)?,
            user: given(&args.user).map(user).transpose()?,
            workdir: given(&args.workdir).map(names::workdir).transpose()?,
            stop_signal: stop_signal.map_err(PlanError::StopSignal)?,
            health: HealthChoices::resolve(&args.health)?,
        })
    }
}

/// What was typed, unless it is empty: to Docker that is as good as nothing.
fn given(typed: &Option<String>) -> Option<&str> {
    typed.as_deref().filter(|text| !text.is_empty())
}

/// `USER[:GROUP]`: two names or numbers. Whether they exist, only the container's own files know.
fn user(typed: &str) -> Result<String, PlanError> {
    let part = |text: &str| {
        !text.is_empty()
            && !text.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control())
    };
    let fine = match typed.split_once(':') {
        Some((user, group)) => part(user) && part(group),
        None => part(typed),
    };
    if fine { Ok(typed.to_owned()) } else { Err(PlanError::User(typed.to_owned())) }
}

#[cfg(test)]
pub(crate) mod tests;
