//! `cofferdam run`: Docker's flags with Docker's meaning, and a few of our own.
//!
//! As with Docker, a flag's value is whatever word follows it, even one that begins with a hyphen.

use super::DEFAULT_STATE_DIR;
use super::health::HealthArgs;
use super::images::{PullPolicy, RegistryArgs};
use super::network::NetworkArgs;
use clap::{ArgAction, Args, ValueEnum};
use std::path::PathBuf;

/// Who runs the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Accelerator {
    /// KVM where it works, else QEMU's TCG, saying so
    #[default]
    Auto,
    /// KVM or nothing
    Kvm,
    /// QEMU's TCG: slow, and no hardware wall
    Tcg,
}

/// What a container shares with the first one of its sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shared {
    /// Its network: addresses, ports, and names
    #[value(alias = "net")]
    Network,
    /// Its processes
    Pid,
    /// Its queues, semaphores and shared memory
    Ipc,
}

/// How much a container may do where no other flag says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Profile {
    /// What Docker grants
    #[default]
    Default,
    /// As little as can be: no root, no writable place that is not declared
    Strict,
}

/// Where writes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StorageKind {
    /// To a sparse disk in the state directory
    #[default]
    Disk,
    /// To the VM's memory: nothing of it is ever written outside
    Memory,
}

/// What becomes of what a detached sandbox says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogDriver {
    /// Files in its directory, as Kubernetes and podman have them
    #[default]
    #[value(name = "k8s-file")]
    K8sFile,
    /// Nothing
    None,
}

/// Whose end is a detached sandbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Keeper {
    /// Its own
    Free,
    /// That of whoever has started it
    Bound,
}

/// What was typed after `run`. Flags end at IMAGE: all that follows belongs to the container.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "cofferdam run [FLAGS] IMAGE [CMD]...",
    after_help = "IMAGE is NAME[:TAG][@DIGEST] as Docker takes it, oci:DIR[:TAG], oci-archive:FILE or\n\
                  docker-archive:FILE.\n\
                  Exit codes: the container's own; 128+n ended by signal n; 124 ended by --timeout;\n\
                  125 cofferdam's own failure; 126 cannot be invoked; 127 not found."
)]
pub struct RunArgs {
    /// Keep stdin open
    #[arg(short, long, help_heading = "Process")]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long, help_heading = "Process")]
    pub tty: bool,
    /// Set a variable; NAME alone takes it from here
    #[arg(
        short,
        long,
        value_name = "NAME[=VALUE]",
        help_heading = "Process",
        allow_hyphen_values = true
    )]
    pub env: Vec<String>,
    /// Read variables from a file, one a line
    #[arg(long, value_name = "FILE", help_heading = "Process", allow_hyphen_values = true)]
    pub env_file: Vec<PathBuf>,
    /// Working directory
    #[arg(short, long, value_name = "DIR", help_heading = "Process", allow_hyphen_values = true)]
    pub workdir: Option<String>,
    /// User, and perhaps group, by name or number
    #[arg(
        short,
        long,
        value_name = "USER[:GROUP]",
        help_heading = "Process",
        allow_hyphen_values = true
    )]
    pub user: Option<String>,
    /// Program instead of the image's entry point
    #[arg(long, value_name = "PROGRAM", help_heading = "Process", allow_hyphen_values = true)]
    pub entrypoint: Option<String>,
    /// Reap children as PID 1
    #[arg(long, help_heading = "Process")]
    pub init: bool,
    /// Signal that stops it, by name or number
    #[arg(long, value_name = "SIGNAL", help_heading = "Process", allow_hyphen_values = true)]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL [default: 10]
    #[arg(long, value_name = "SECONDS", help_heading = "Process", allow_hyphen_values = true)]
    pub stop_timeout: Option<String>,
    /// Stop it after this time, and exit with 124
    #[arg(long, value_name = "SECONDS", help_heading = "Process", allow_hyphen_values = true)]
    pub timeout: Option<String>,

    /// Run it in this sandbox, beside what runs there
    #[arg(
        long,
        help_heading = "Container",
        allow_hyphen_values = true,
        conflicts_with_all = [
            "name", "accel", "vm_memory", "vm_cpus", "storage", "disk_size", "kernel", "console", "boot_timeout",
            "timings", "timeout", "stop_signal", "stop_timeout", "require_walls", "audited", "network", "publish", "egress",
            "allow", "deny", "publish_socket", "dns", "dns_search", "dns_option", "add_host", "health_cmd", "no_healthcheck",
            "health_interval", "health_timeout", "health_start_period", "health_retries",
        ]
    )]
    pub sandbox: Option<String>,
    /// What it shares with the first container there: network, pid, ipc
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "WHAT",
        help_heading = "Container",
        hide_possible_values = true
    )]
    pub share: Vec<Shared>,
    /// Run it in the background, and print its sandbox's identifier
    #[arg(short, long, help_heading = "Container", conflicts_with = "sandbox")]
    pub detach: bool,
    /// Start it again: no, always, unless-stopped, on-failure[:COUNT]
    #[arg(
        long,
        value_name = "WHEN",
        help_heading = "Container",
        requires = "detach",
        conflicts_with = "rm"
    )]
    pub restart: Option<String>,
    /// What keeps the output of one that is detached
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHICH",
        help_heading = "Container",
        hide_possible_values = true
    )]
    pub log_driver: LogDriver,
    /// How much of it: max-size=SIZE, max-file=COUNT
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Container", allow_hyphen_values = true)]
    pub log_opt: Vec<String>,
    /// Name of the sandbox
    #[arg(long, help_heading = "Container", allow_hyphen_values = true)]
    pub name: Option<String>,
    /// Host name [default: the sandbox's id]
    #[arg(
        short = 'h',
        long,
        value_name = "NAME",
        help_heading = "Container",
        allow_hyphen_values = true
    )]
    pub hostname: Option<String>,
    /// Remove everything of it when it ends
    #[arg(long, help_heading = "Container")]
    pub rm: bool,
    /// Mount its root file system read-only
    #[arg(long, help_heading = "Container")]
    pub read_only: bool,
    /// Mount a tmpfs
    #[arg(
        long,
        value_name = "PATH[:OPTIONS]",
        help_heading = "Container",
        allow_hyphen_values = true
    )]
    pub tmpfs: Vec<String>,
    /// Mount a volume, or a directory of this place
    #[arg(
        short,
        long,
        value_name = "[SOURCE:]PATH",
        help_heading = "Container",
        allow_hyphen_values = true
    )]
    pub volume: Vec<String>,
    /// The same in Docker's words: type=bind,src=PATH,dst=PATH
    #[arg(long, value_name = "WORDS", help_heading = "Container", allow_hyphen_values = true)]
    pub mount: Vec<String>,
    /// Mount a small tmpfs that is its user's; options as for tmpfs
    #[arg(
        long,
        value_name = "PATH[:OPTIONS]",
        help_heading = "Container",
        allow_hyphen_values = true
    )]
    pub writable: Vec<String>,
    /// Make this Unix socket of its reachable here; port says where
    #[arg(
        long,
        value_name = "PATH",
        help_heading = "Container",
        allow_hyphen_values = true,
        conflicts_with_all = ["no_container", "audited"]
    )]
    pub publish_socket: Vec<String>,

    /// How it is known that it is well.
    #[command(flatten)]
    pub health: HealthArgs,

    /// What it is given of the outside.
    #[command(flatten)]
    pub network: NetworkArgs,

    /// What it may do
    #[arg(long, value_enum, default_value_t, value_name = "WHICH", help_heading = "Privilege")]
    pub profile: Profile,
    /// Give it ids of its own: its root is nobody to the rest of the VM
    #[arg(long, help_heading = "Privilege")]
    pub userns: bool,
    /// Grant everything inside the VM: that is what the VM is for
    #[arg(long, help_heading = "Privilege")]
    pub privileged: bool,
    /// Run it in the VM itself, in no container
    #[arg(long, help_heading = "Privilege")]
    pub no_container: bool,
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAP", help_heading = "Privilege", allow_hyphen_values = true)]
    pub cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAP", help_heading = "Privilege", allow_hyphen_values = true)]
    pub cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=FILE|unconfined, apparmor=unconfined
    #[arg(long, value_name = "OPTION", help_heading = "Privilege", allow_hyphen_values = true)]
    pub security_opt: Vec<String>,

    /// Refuse to run where a wall outside the VM is missing, naming it
    #[arg(long, help_heading = "Privilege")]
    pub require_walls: bool,

    /// Memory limit of the container (512m, 2g)
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// CPU limit of the container (0.5)
    #[arg(long, value_name = "COUNT", help_heading = "Limits", allow_hyphen_values = true)]
    pub cpus: Option<String>,
    /// Process limit of the container; 0 or -1 for none
    #[arg(long, value_name = "COUNT", help_heading = "Limits", allow_hyphen_values = true)]
    pub pids_limit: Option<String>,
    /// Resource limit of its processes
    #[arg(
        long,
        value_name = "NAME=SOFT[:HARD]",
        help_heading = "Limits",
        allow_hyphen_values = true
    )]
    pub ulimit: Vec<String>,

    /// Who runs the VM
    #[arg(long, value_enum, default_value_t, value_name = "WHO", help_heading = "Virtual machine")]
    pub accel: Accelerator,
    /// Memory of the VM (64m or more) [default: from this place's limit]
    #[arg(long, value_name = "SIZE", help_heading = "Virtual machine", allow_hyphen_values = true)]
    pub vm_memory: Option<String>,
    /// CPUs of the VM, 1 to 32 [default: as this place has; 1 on TCG]
    #[arg(
        long,
        value_name = "COUNT",
        help_heading = "Virtual machine",
        allow_hyphen_values = true
    )]
    pub vm_cpus: Option<String>,
    /// Where writes go
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHERE",
        help_heading = "Virtual machine"
    )]
    pub storage: StorageKind,
    /// Most that can be written [default: 100g, half of the memory]
    #[arg(long, value_name = "SIZE", help_heading = "Virtual machine", allow_hyphen_values = true)]
    pub disk_size: Option<String>,
    /// Boot this kernel (an ELF vmlinux), or full, which has what few need
    #[arg(long, value_name = "FILE", help_heading = "Virtual machine", allow_hyphen_values = true)]
    pub kernel: Option<PathBuf>,
    /// Write the VM's serial console here
    #[arg(long, value_name = "FILE", help_heading = "Virtual machine", allow_hyphen_values = true)]
    pub console: Option<PathBuf>,
    /// Give up if the guest is not up by then [default: 30, on TCG 120]
    #[arg(
        long,
        value_name = "SECONDS",
        help_heading = "Virtual machine",
        allow_hyphen_values = true
    )]
    pub boot_timeout: Option<String>,

    /// Ask a registry for the image always, where it is missing, or never
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Registry",
        hide_possible_values = true
    )]
    pub pull: PullPolicy,
    /// How registries are spoken to.
    #[command(flatten)]
    pub registry: RegistryArgs,

    /// Where images and sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR, help_heading = "Other", allow_hyphen_values = true)]
    pub state_dir: PathBuf,
    /// Write how long each stage took to a file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Other", allow_hyphen_values = true)]
    pub timings: Option<PathBuf>,
    /// Say nothing but errors, and that there is no hardware wall
    #[arg(short, long, help_heading = "Other")]
    pub quiet: bool,
    /// Be the supervisor of a sandbox that is detached: for `run --detach` itself
    #[arg(long, hide = true, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "free")]
    pub keeper: Option<Keeper>,
    /// Start it again as its policy says: for `run --detach` itself
    #[arg(long, hide = true, conflicts_with = "keeper")]
    pub warden: bool,
    /// Start the sandbox of this directory again: for `start` itself
    #[arg(long, hide = true, value_name = "DIR")]
    pub again: Option<PathBuf>,
    /// Tell what holds the container instead of running its command: for `audit`
    #[arg(long, hide = true)]
    pub audited: bool,
    /// Print this help
    #[arg(long, action = ArgAction::HelpShort, help_heading = "Other")]
    help: Option<bool>,

    /// The image, then the command and its arguments.
    // One list, because clap would go on looking for flags between two positional arguments.
    #[arg(required = true, trailing_var_arg = true, num_args = 1.., value_name = "IMAGE", hide = true)]
    image_and_command: Vec<String>,
}

impl RunArgs {
    /// The image, as typed.
    pub fn image(&self) -> &str {
        self.image_and_command.first().map_or("", String::as_str)
    }

    /// The command and its arguments; empty where only the image was typed.
    pub fn command(&self) -> &[String] {
        self.image_and_command.get(1..).unwrap_or_default()
    }
}
