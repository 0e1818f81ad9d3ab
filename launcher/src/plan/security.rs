//! `--security-opt`, `--privileged`, `--cap-add`, `--cap-drop`: what the container's processes may do.

use super::profile::{self, ProfileError};
use crate::capabilities::{self, UnknownCapability};
use crate::cli::RunArgs;
use crate::error::Explain;
use crate::host::NamedInputs;
use crate::seccomp::{self, SeccompError};
use protocol::{AppArmor, CapabilitySet, DeviceAccess, SeccompProfile};

/// What Docker makes unreadable, besides what there is one of for each CPU.
const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// All that Docker makes unreadable. What the guest does not have, its agent passes over.
fn masked_paths(cpus: u8) -> Vec<String> {
    let of_cpu = |cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
    MASKED_PATHS.map(str::to_owned).into_iter().chain((0..cpus).map(of_cpu)).collect()
}

/// What Docker makes read-only.
const READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the container's processes may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// Capabilities.
    pub capabilities: CapabilitySet,
    /// Whoever is not root keeps them too.
    pub ambient: bool,
    /// No process may be root.
    pub root_refused: bool,
    /// Its ids are its own (`--userns`).
    pub own_users: bool,
    /// It has the guest's own namespaces but for mounts (`--no-container`).
    pub guest_namespaces: bool,
    /// May gain no privilege.
    pub no_new_privileges: bool,
    /// System call filter; `None` is unconfined.
    pub seccomp: Option<SeccompProfile>,
    /// AppArmor's profile.
    pub apparmor: AppArmor,
    /// Devices.
    pub devices: DeviceAccess,
    /// Paths made unreadable.
    pub masked_paths: Vec<String>,
    /// Paths made read-only.
    pub readonly_paths: Vec<String>,
}

/// Why it cannot be so.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A capability.
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    /// What the profile does not allow.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A user namespace, and what would reach out of it.
    #[error("--userns contradicts {0}")]
    UserNamespace(&'static str),
    /// An option that is none of ours.
    #[error("--security-opt {0:?} is not known")]
    Option(String),
    /// A value that is neither.
    #[error("--security-opt no-new-privileges: {0:?} is neither true nor false")]
    Boolean(String),
    /// Two values of one option that takes one.
    #[error("--security-opt {name}= was given twice: {earlier:?} and {later:?}")]
    Twice {
        /// Which.
        name: &'static str,
        /// What was given first.
        earlier: String,
        /// What was given then.
        later: String,
    },
    /// An AppArmor profile that the guest does not carry.
    #[error("--security-opt apparmor={0:?}: the guest has no such profile")]
    AppArmor(String),
    /// A filter that cannot be used.
    #[error("--security-opt seccomp={path}")]
    Seccomp {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: SeccompError,
    },
    /// The program's own filter cannot be used.
    #[error("the built-in seccomp profile")]
    BuiltIn(#[source] SeccompError),
}

impl Explain for SecurityError {
    fn hint(&self) -> Option<String> {
        match self {
            SecurityError::Capability(error) => error.hint(),
            SecurityError::Profile(error) => error.hint(),
            SecurityError::UserNamespace(_) => Some(
                "whoever is to have the VM's devices must be root there: choose one of the two"
                    .into(),
            ),
            SecurityError::Option(option) if is_label(option) => Some(
                "labels are not applied inside the VM: leave it out, the VM is the wall".into(),
            ),
            SecurityError::Option(_) => Some(
                "known are no-new-privileges[=true|false], seccomp=FILE, seccomp=unconfined, \
                 apparmor=cofferdam-default, apparmor=unconfined and systempaths=unconfined"
                    .into(),
            ),
            SecurityError::Boolean(_) => Some("write --security-opt no-new-privileges".into()),
            SecurityError::AppArmor(_) => Some(format!(
                "profiles are {APPARMOR_DEFAULT}, which is Docker's default, and unconfined"
            )),
            SecurityError::Twice { .. } => Some("one profile is in force: give one".into()),
            SecurityError::Seccomp { source, .. } => source.hint(),
            SecurityError::BuiltIn(_) => None,
        }
    }
}

fn is_label(option: &str) -> bool {
    option.starts_with("label")
}

/// AppArmor's profile in the guest.
const APPARMOR_DEFAULT: &str = "cofferdam-default";
/// The option's name, which `--profile strict` needs too.
pub(super) const NO_NEW_PRIVILEGES: &str = "no-new-privileges";

/// What follows the first `=` or `:` of an option, as Docker splits it.
pub(super) fn split(option: &str) -> (&str, Option<&str>) {
    match option.find(['=', ':']) {
        Some(at) => (&option[..at], option.get(at + 1..)),
        None => (option, None),
    }
}

/// The file that a `--security-opt` names, if it names one.
pub fn seccomp_file(option: &str) -> Option<&str> {
    match split(option) {
        ("seccomp", Some(value)) if !matches!(value, "unconfined" | "builtin" | "") => Some(value),
        _ => None,
    }
}

/// Resolves it, under `--profile strict` from nothing granted.
///
/// # Errors
/// [`SecurityError`].
pub fn resolve(
    args: &RunArgs,
    inputs: &NamedInputs,
    cpus: u8,
    strict: bool,
) -> Result<Security, SecurityError> {
    let options = Options::read(&args.security_opt)?;
    let everything = everything(args);
    if let Some(flag) = everything.filter(|_| args.userns) {
        return Err(SecurityError::UserNamespace(flag));
    }
    let everything = everything.is_some();
    // Checked even where --privileged makes them moot: a misspelt name is never what was meant.
    let granted = if strict {
        profile::checked(capabilities::added(&args.cap_add, &args.cap_drop)?)?
    } else {
        capabilities::granted(&args.cap_add, &args.cap_drop)?
    };
    let capabilities = if everything { capabilities::all() } else { granted };
    let seccomp = match options.filter {
        Some("unconfined") => None,
        Some(path) if path != "builtin" => Some(from_file(path, inputs, capabilities)?),
        None if everything => None,
        _ => Some(seccomp::built_in(capabilities).map_err(SecurityError::BuiltIn)?),
    };
    let apparmor = match options.apparmor {
        Some("unconfined") => AppArmor::Unconfined,
        None if everything => AppArmor::Unconfined,
        None | Some(APPARMOR_DEFAULT) => AppArmor::Default,
        Some(other) => return Err(SecurityError::AppArmor(other.to_owned())),
    };
    let open_paths = everything || options.open_paths;
    let unless_open = |paths: Vec<String>| if open_paths { Vec::new() } else { paths };
    Ok(Security {
        capabilities,
        ambient: strict,
        root_refused: strict,
        own_users: has_own_users(args, strict),
        guest_namespaces: args.no_container,
        no_new_privileges: options.no_new_privileges || strict,
        seccomp,
        apparmor,
        devices: if everything { DeviceAccess::All } else { DeviceAccess::Standard },
        masked_paths: unless_open(masked_paths(cpus)),
        readonly_paths: unless_open(READONLY_PATHS.map(str::to_owned).into()),
    })
}

/// Whether the container's ids are its own.
pub fn has_own_users(args: &RunArgs, strict: bool) -> bool {
    args.userns || strict
}

/// The flag that grants everything, if one does.
pub fn everything(args: &RunArgs) -> Option<&'static str> {
    match (args.privileged, args.no_container) {
        (_, true) => Some("--no-container"),
        (true, false) => Some("--privileged"),
        (false, false) => None,
    }
}

/// What `--security-opt` says.
#[derive(Default)]
struct Options<'a> {
    no_new_privileges: bool,
    /// The filter that is named.
    filter: Option<&'a str>,
    /// The AppArmor profile that is named.
    apparmor: Option<&'a str>,
    /// No path is masked or read-only.
    open_paths: bool,
}

impl<'a> Options<'a> {
    fn read(typed: &'a [String]) -> Result<Self, SecurityError> {
        let mut options = Self::default();
        for option in typed {
            match split(option) {
                (NO_NEW_PRIVILEGES, None | Some("true")) => options.no_new_privileges = true,
                (NO_NEW_PRIVILEGES, Some("false")) => options.no_new_privileges = false,
                (NO_NEW_PRIVILEGES, Some(value)) => {
                    return Err(SecurityError::Boolean(value.to_owned()));
                }
                ("systempaths", Some("unconfined")) => options.open_paths = true,
                ("seccomp", Some(value)) if !value.is_empty() => {
                    once("seccomp", &mut options.filter, value)?;
                }
                ("apparmor", Some(value)) if !value.is_empty() => {
                    once("apparmor", &mut options.apparmor, value)?;
                }
                _ => return Err(SecurityError::Option(option.clone())),
            }
        }
        Ok(options)
    }
}

/// Keeps an option's value, if it is the only one.
fn once<'a>(
    name: &'static str,
    kept: &mut Option<&'a str>,
    value: &'a str,
) -> Result<(), SecurityError> {
    match kept.replace(value) {
        Some(earlier) if earlier != value => {
            let (earlier, later) = (earlier.to_owned(), value.to_owned());
            Err(SecurityError::Twice { name, earlier, later })
        }
        _ => Ok(()),
    }
}

fn from_file(
    path: &str,
    inputs: &NamedInputs,
    capabilities: CapabilitySet,
) -> Result<SeccompProfile, SecurityError> {
    let contents = inputs.seccomp_files.iter().find(|(name, _)| name == path);
    let json = contents.map_or(&[][..], |(_, contents)| contents);
    seccomp::parse(json, capabilities)
        .map_err(|source| SecurityError::Seccomp { path: path.to_owned(), source })
}
