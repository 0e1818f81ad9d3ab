//! Everything the agent must be told to make a container: plain data, complete, in one message.
//!
//! Nothing here names an image: by the time a spec exists, an image is layers on a disk, and its
//! configuration has been merged with what the user typed.

use crate::{ContainerId, Network, ProcessId};
use serde::{Deserialize, Serialize};

/// One container, with its init process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its name.
    pub id: ContainerId,
    /// The host name it sees.
    pub hostname: String,
    /// Its root file system.
    pub rootfs: Rootfs,
    /// Further mounts. Whichever is above another is made first, as Docker does.
    pub mounts: Vec<Mount>,
    /// Where each of its namespaces comes from.
    pub namespaces: Namespaces,
    /// The way out that it is given, where its network namespace is its own; `None` is loopback alone.
    pub network: Option<Network>,
    /// Which devices it may use.
    pub devices: DeviceAccess,
    /// Limits of its cgroup.
    pub resources: Resources,
    /// Its system call filter; `None` is unconfined.
    pub seccomp: Option<SeccompProfile>,
    /// What AppArmor confines its processes by.
    pub apparmor: AppArmor,
    /// Paths made unreadable.
    pub masked_paths: Vec<String>,
    /// Paths made read-only.
    pub readonly_paths: Vec<String>,
    /// Run a reaper as the container's PID 1, and the process as its child (`--init`).
    pub reaper: bool,
    /// The name of the init process.
    pub init_id: ProcessId,
    /// The init process.
    pub init: ProcessSpec,
}

/// A root file system: read-only layers joined below a writable one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// The read-only EROFS layers, lowest first. At least one.
    pub layers: Vec<DiskExtent>,
    /// Where writes go.
    pub upper: Upper,
    /// Mount the joined root read-only.
    pub readonly: bool,
}

/// A stretch of a disk that holds one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskExtent {
    /// Where it begins on the disk, in bytes; a multiple of 4096.
    pub offset: u64,
    /// How long it is, in bytes; a multiple of 4096.
    pub length: u64,
}

/// Where a container's writes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upper {
    /// To a directory of its own on the ext4 file system at this place of the writable disk.
    Disk(DiskExtent),
    /// To guest memory, at most so much where that is said, and to half of it where it is not.
    Memory {
        /// In bytes.
        bytes: Option<u64>,
    },
}

/// The serial number by which the guest finds the disk of all read-only layers.
pub const LAYERS_DISK_SERIAL: &str = "layers";
/// The serial number by which the guest finds the writable disk.
pub const UPPER_DISK_SERIAL: &str = "upper";

/// The tag by which the guest finds the virtio-fs of all shared directories.
pub const SHARES_TAG: &str = "shares";
/// What root of the first container with a user namespace is to the guest, and so to a file system outside of it: far
/// above every id that an image names.
pub const FIRST_USER_ID: u32 = 1 << 20;

/// One more mount inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where: an absolute path in the container, made if it is not there.
    pub destination: String,
    /// What.
    pub source: MountSource,
    /// Options as mount(8) spells them: `ro`, `noexec`, `size=64m`, `mode=1777`. Without a mode, a
    /// [`MountSource::Tmpfs`] takes that of the directory it covers; directories of disks have none.
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A new tmpfs.
    Tmpfs,
    /// A new tmpfs that belongs to the user of the container's init process, unless its options name
    /// another owner.
    OwnTmpfs,
    /// A directory of an ext4 file system on the writable disk: a volume.
    Volume {
        /// Where on the disk it is.
        extent: DiskExtent,
        /// While it is empty, give it what the image has there.
        copy: bool,
    },
    /// A new directory beside the container's own writes, and no part of its root file system.
    Directory {
        /// Give it what the image has there.
        copy: bool,
    },
    /// A directory or file outside of the machine, by its number in the file system that has the tag [`SHARES_TAG`].
    Share {
        /// Its number.
        number: u32,
    },
}

/// Where a namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceRef {
    /// A new one, this container's own.
    New,
    /// The guest's own.
    Guest,
    /// That of another container of the sandbox.
    Container(ContainerId),
}

/// A reference for each kind of namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Mounts. Always [`NamespaceRef::New`] today.
    pub mount: NamespaceRef,
    /// Process ids.
    pub pid: NamespaceRef,
    /// Network stack.
    pub network: NamespaceRef,
    /// Host name.
    pub uts: NamespaceRef,
    /// System V IPC and POSIX message queues.
    pub ipc: NamespaceRef,
    /// Cgroup view.
    pub cgroup: NamespaceRef,
    /// User ids.
    pub user: NamespaceRef,
}

impl Default for Namespaces {
    /// What Docker gives: everything new but the user namespace.
    fn default() -> Self {
        Self {
            mount: NamespaceRef::New,
            pid: NamespaceRef::New,
            network: NamespaceRef::New,
            uts: NamespaceRef::New,
            ipc: NamespaceRef::New,
            cgroup: NamespaceRef::New,
            user: NamespaceRef::Guest,
        }
    }
}

/// Which devices a container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceAccess {
    /// null, zero, full, random, urandom, tty, console, ptmx: what the OCI runtime specification lists.
    Standard,
    /// Every device of the guest (`--privileged`).
    All,
}

/// What AppArmor confines a container's processes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppArmor {
    /// Nothing.
    Unconfined,
    /// The profile that the guest carries: what Docker's default one means.
    Default,
}

/// Limits of a container's cgroup. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// memory.max, in bytes.
    pub memory_bytes: Option<u64>,
    /// cpu.max: how many millionths of a CPU.
    pub cpu_micros: Option<u64>,
    /// pids.max.
    pub pids: Option<u64>,
}

/// One process to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Which program it runs.
    pub program: Program,
    /// Program and arguments; at least one. A name without a slash is looked up in PATH.
    pub args: Vec<String>,
    /// NAME=value.
    pub env: Vec<String>,
    /// The working directory: absolute; made if it is not there.
    pub cwd: String,
    /// `name|uid[:name|gid]`, looked up in the container's own passwd and group files; empty is root.
    pub user: String,
    /// Its capabilities.
    pub capabilities: Capabilities,
    /// Whether it, and what it starts, may gain no privilege.
    pub no_new_privileges: bool,
    /// Whether it must not be started where `user` turns out to be root.
    pub root_refused: bool,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// What its standard streams are.
    pub stdio: Stdio,
}

/// Which program a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// What its arguments name, from the files it sees.
    Named,
    /// The agent's own witness, under everything that would hold the named one: it says what it finds around
    /// itself (a [`crate::Testimony`] in one frame on its standard output), and ends with its standard input.
    /// Only as a container's first process.
    Witness,
    /// The agent's own packer, under the same: what its only argument names, as a tar archive on its standard output.
    /// Only as a further process, as the next one.
    Pack {
        /// Follow it where it is a link.
        follow: bool,
    },
    /// The agent's own unpacker: makes the tar archive on its standard input what its only argument names.
    Unpack {
        /// It is one file or directory, which lands as `cp` has it; else it goes into a directory as it is.
        tree: bool,
        /// Give files the owners that they have in the archive, and not root.
        owners: bool,
    },
    /// The agent's own watch over a Docker daemon of the container's: says on its standard output which ports that
    /// publishes, whenever that changes. Only as a further process.
    DockerPorts,
    /// The agent's own gate: each line of its standard input, `PORT NUMBER`, has it join a connection to a port of the host's
    /// with one to a Unix socket of the container's, the path being that argument of its. Only as a further process.
    Gate,
    /// The agent's own list of the container's processes, on its standard output. Only as a further process.
    Tasks,
}

/// A set of capabilities: bit n stands for the capability numbered n in linux/capability.h.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilitySet(pub u64);

/// The five capability sets of a process, as the OCI runtime specification names them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What it and its descendants can ever have.
    pub bounding: CapabilitySet,
    /// What it uses.
    pub effective: CapabilitySet,
    /// What it may use.
    pub permitted: CapabilitySet,
    /// What a program with inheritable file capabilities keeps.
    pub inheritable: CapabilitySet,
    /// What a non-root program keeps across exec.
    pub ambient: CapabilitySet,
}

/// One resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Its name without `RLIMIT_`, lower case: `nofile`, `nproc`, `core`, …
    pub name: String,
    /// The soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// The hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// What a process's standard streams are. Ports are host ports that the launcher has offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// Pipes, relayed to one connection each.
    Pipes {
        /// Standard input; `None` is /dev/null.
        stdin_port: Option<u32>,
        /// Standard output.
        stdout_port: u32,
        /// Standard error.
        stderr_port: u32,
    },
    /// A new terminal, relayed both ways over one connection.
    Terminal {
        /// The connection.
        port: u32,
        /// Whether bytes are accepted from the connection (`-i`); output goes there always.
        input: bool,
        /// The terminal's first size.
        size: TerminalSize,
    },
    /// /dev/null, all of them.
    Nothing,
}

/// The size of a terminal, in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A system call filter for x86-64 (and its 32-bit and x32 kin), resolved for one container:
/// conditions on capabilities and architectures have been decided by the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompProfile {
    /// For what no rule names.
    pub default_action: SeccompAction,
    /// OCI names of the architectures besides the native one that it covers, e.g. `SCMP_ARCH_X86`.
    pub architectures: Vec<String>,
    /// The rules; a system call may stand in several.
    pub rules: Vec<SeccompRule>,
}

/// What becomes of some system calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompRule {
    /// The system calls' names. Names that the agent does not know are passed over.
    pub names: Vec<String>,
    /// What is done.
    pub action: SeccompAction,
    /// Conditions that must all hold.
    pub arguments: Vec<SeccompArgument>,
}

/// What a filter does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompAction {
    /// Let it through.
    Allow,
    /// Fail it with this errno.
    Errno(u16),
    /// Kill the process.
    KillProcess,
    /// Kill the thread.
    KillThread,
    /// Send SIGSYS.
    Trap,
    /// Let it through and log it.
    Log,
}

/// A condition on one argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompArgument {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// What it is compared with.
    pub value: u64,
    /// The second value: what the masked argument must equal, for [`SeccompComparison::MaskedEqual`].
    pub value_two: u64,
    /// How it is compared.
    pub comparison: SeccompComparison,
}

/// Comparisons, as libseccomp names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompComparison {
    /// !=
    NotEqual,
    /// <
    LessThan,
    /// <=
    LessOrEqual,
    /// ==
    Equal,
    /// >=
    GreaterOrEqual,
    /// >
    GreaterThan,
    /// (argument & value) == value_two
    MaskedEqual,
}
