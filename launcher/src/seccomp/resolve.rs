//! A profile as written → the rules that hold for one container. Decides every condition.

use super::GUEST_KERNEL;
use super::profile::{Argument, Filter, Profile, Rule};
use crate::capabilities;
use crate::error::Explain;
use protocol::{
    CapabilitySet, SeccompAction, SeccompArgument, SeccompComparison, SeccompProfile, SeccompRule,
};

/// The guest's architecture: as Go names it (conditions), as libseccomp does (architectures).
const ARCHITECTURE: &str = "amd64";
const NATIVE: &str = "SCMP_ARCH_X86_64";
/// What the guest's kernel can run beside it.
const KIN: [&str; 2] = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"];
/// EPERM: what a filter answers where a profile does not say.
const DEFAULT_ERRNO: u16 = 1;
/// The kernel's own limit of what a filter can return.
const MAX_ERRNO: u64 = 4095;
/// More than any table of system calls; a profile is one message to the agent.
const MAX_NAMES: usize = 20_000;
const MAX_ARGUMENT_INDEX: u64 = 5;
/// Flags that may be passed over: the first forgoes a mitigation, which is kept; the second is moot for a
/// process of one thread.
const HARMLESS_FLAGS: [&str; 2] = ["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"];

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// It is no profile.
    #[error("it is no seccomp profile")]
    Json(#[source] serde_json::Error),
    /// An action that does not exist, or that has no one to act.
    #[error("{place}: unknown action {action:?}")]
    Action {
        /// Where it stands.
        place: String,
        /// What was written.
        action: String,
    },
    /// An action that needs a process outside the filter.
    #[error("{place}: the action {action} needs a supervisor, which there is none of")]
    Supervised {
        /// Where it stands.
        place: String,
        /// What was written.
        action: String,
    },
    /// An errno out of range.
    #[error("{place}: errnoRet {errno} is more than {MAX_ERRNO}")]
    Errno {
        /// Where it stands.
        place: String,
        /// What was written.
        errno: u64,
    },
    /// A comparison that does not exist.
    #[error("{place}: unknown comparison {op:?}")]
    Comparison {
        /// Where it stands.
        place: String,
        /// What was written.
        op: String,
    },
    /// An argument that no call has.
    #[error("{place}: argument {index} is more than {MAX_ARGUMENT_INDEX}")]
    ArgumentIndex {
        /// Where it stands.
        place: String,
        /// What was written.
        index: u64,
    },
    /// A capability that does not exist.
    #[error("{place}: there is no capability {name:?}")]
    Capability {
        /// Where it stands.
        place: String,
        /// What was written.
        name: String,
    },
    /// A kernel version that is none.
    #[error("{place}: minKernel {version:?} is not MAJOR.MINOR")]
    Kernel {
        /// Where it stands.
        place: String,
        /// What was written.
        version: String,
    },
    /// A rule that names nothing, or both ways.
    #[error("{place}: a rule needs either name or names")]
    Names {
        /// Where it stands.
        place: String,
    },
    /// It does not say anything of the guest's architecture.
    #[error("it covers {0}, and not the guest's {NATIVE}")]
    Architecture(String),
    /// Both ways of naming architectures.
    #[error("it has both architectures and archMap")]
    TwoArchitectures,
    /// A listener that cannot be reached from inside the VM.
    #[error("listenerPath: no listener can be reached from inside the VM")]
    Listener,
    /// A flag of the filter that we do not pass on.
    #[error("flags: {0:?} is not supported")]
    Flag(String),
    /// More than any real profile has.
    #[error("it names more than {MAX_NAMES} system calls")]
    TooLong,
}

impl Explain for SeccompError {
    fn hint(&self) -> Option<String> {
        match self {
            SeccompError::Action { .. } => Some(
                "actions are SCMP_ACT_ALLOW, _ERRNO, _KILL, _KILL_PROCESS, _KILL_THREAD, _TRAP and _LOG"
                    .into(),
            ),
            SeccompError::Comparison { .. } => {
                Some("comparisons are SCMP_CMP_NE, _LT, _LE, _EQ, _GE, _GT and _MASKED_EQ".into())
            }
            SeccompError::Json(_) => {
                Some("the format is that of docker run --security-opt seccomp=FILE".into())
            }
            _ => None,
        }
    }
}

pub(super) fn resolve(
    profile: Profile,
    capabilities: CapabilitySet,
) -> Result<SeccompProfile, SeccompError> {
    if profile.listener_path.or(profile.listener_metadata).is_some() {
        return Err(SeccompError::Listener);
    }
    let flags = profile.flags.unwrap_or_default();
    if let Some(flag) = flags.into_iter().find(|flag| !HARMLESS_FLAGS.contains(&flag.as_str())) {
        return Err(SeccompError::Flag(flag));
    }
    let default_errno = errno("defaultErrnoRet", profile.default_errno_ret)?;
    let default_action =
        action("defaultAction", &profile.default_action, default_errno.unwrap_or(DEFAULT_ERRNO))?;
    let declared = match (profile.arch_map, profile.architectures) {
        (Some(map), Some(list)) if !map.is_empty() && !list.is_empty() => {
            return Err(SeccompError::TwoArchitectures);
        }
        (Some(map), _) if !map.is_empty() => map
            .into_iter()
            .map(|entry| (entry.architecture, entry.sub_architectures.unwrap_or_default()))
            .collect(),
        (_, list) => flat(list.unwrap_or_default()),
    };
    let architectures = architectures(declared)?;
    let mut rules = Vec::new();
    let mut name_count = 0;
    for (index, rule) in profile.syscalls.unwrap_or_default().into_iter().enumerate() {
        let place = place(index, &rule);
        if let Some(rule) = resolve_rule(&place, rule, capabilities, default_errno)? {
            name_count += rule.names.len();
            if name_count > MAX_NAMES {
                return Err(SeccompError::TooLong);
            }
            rules.push(rule);
        }
    }
    Ok(SeccompProfile { default_action, architectures, rules })
}

/// `syscalls[3] (clone)`: where to look in the file.
fn place(index: usize, rule: &Rule) -> String {
    let first = rule.name.as_ref().or_else(|| rule.names.as_ref()?.first());
    match first {
        Some(name) => format!("syscalls[{index}] ({name})"),
        None => format!("syscalls[{index}]"),
    }
}

/// The flat list means one architecture and its kin, in any order.
fn flat(list: Vec<String>) -> Vec<(String, Vec<String>)> {
    if list.iter().any(|name| name == NATIVE) {
        let kin = list.into_iter().filter(|name| name != NATIVE).collect();
        vec![(NATIVE.to_owned(), kin)]
    } else {
        list.into_iter().map(|name| (name, Vec::new())).collect()
    }
}

/// What the filter covers beside the native architecture. One that names none covers the native one.
fn architectures(declared: Vec<(String, Vec<String>)>) -> Result<Vec<String>, SeccompError> {
    if declared.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = declared.iter().map(|(name, _)| name.clone()).collect();
    let native = declared.into_iter().find(|(name, _)| name == NATIVE);
    let (_, kin) = native.ok_or_else(|| SeccompError::Architecture(names.join(", ")))?;
    Ok(kin.into_iter().filter(|name| KIN.contains(&name.as_str())).collect())
}

fn resolve_rule(
    place: &str,
    rule: Rule,
    capabilities: CapabilitySet,
    default_errno: Option<u16>,
) -> Result<Option<SeccompRule>, SeccompError> {
    // Everything is checked before conditions drop the rule: a mistake shows whoever runs it.
    let errno = errno(place, rule.errno_ret)?.or(default_errno).unwrap_or(DEFAULT_ERRNO);
    let action = action(place, &rule.action, errno)?;
    let includes = Conditions::read(place, rule.includes, capabilities)?;
    let excludes = Conditions::read(place, rule.excludes, capabilities)?;
    let arguments = rule
        .args
        .unwrap_or_default()
        .into_iter()
        .map(|written| argument(place, written))
        .collect::<Result<_, _>>()?;
    let names = match (rule.name, rule.names.unwrap_or_default()) {
        (Some(name), names) if names.is_empty() => vec![name],
        (None, names) if !names.is_empty() => names,
        _ => return Err(SeccompError::Names { place: place.to_owned() }),
    };
    let holds = includes.all_hold() && !excludes.any_holds();
    Ok(holds.then_some(SeccompRule { names, action, arguments }))
}

/// What each part of a condition comes to; `None` where it was not written.
struct Conditions {
    architecture: Option<bool>,
    kernel: Option<bool>,
    /// All of the capabilities; any of them.
    capabilities: Option<(bool, bool)>,
}

impl Conditions {
    fn read(
        place: &str,
        written: Option<Filter>,
        held: CapabilitySet,
    ) -> Result<Self, SeccompError> {
        let written = written.unwrap_or_default();
        let not_empty = |list: &Vec<String>| !list.is_empty();
        let capabilities = match written.caps.filter(not_empty) {
            None => None,
            Some(names) => {
                let mut bits = Vec::with_capacity(names.len());
                for name in names {
                    let number = capabilities::number(&name);
                    let number = number.ok_or_else(|| SeccompError::Capability {
                        place: place.to_owned(),
                        name,
                    })?;
                    bits.push(held.0 & (1 << number) != 0);
                }
                Some((bits.iter().all(|&held| held), bits.iter().any(|&held| held)))
            }
        };
        let kernel = written.min_kernel.filter(|version| !version.is_empty());
        Ok(Self {
            architecture: written
                .arches
                .filter(not_empty)
                .map(|list| list.iter().any(|name| name == ARCHITECTURE)),
            kernel: kernel.map(|version| kernel_is_at_least(place, &version)).transpose()?,
            capabilities,
        })
    }

    fn all_hold(&self) -> bool {
        let capabilities = self.capabilities.map(|(all, _)| all);
        [self.architecture, self.kernel, capabilities].iter().all(|part| part.unwrap_or(true))
    }

    fn any_holds(&self) -> bool {
        let capabilities = self.capabilities.map(|(_, any)| any);
        [self.architecture, self.kernel, capabilities].iter().any(|part| part.unwrap_or(false))
    }
}

fn kernel_is_at_least(place: &str, version: &str) -> Result<bool, SeccompError> {
    let parsed = version
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let wrong = || SeccompError::Kernel { place: place.to_owned(), version: version.to_owned() };
    parsed.map(|wanted: (u32, u32)| GUEST_KERNEL >= wanted).ok_or_else(wrong)
}

fn errno(place: &str, written: Option<u64>) -> Result<Option<u16>, SeccompError> {
    let wrong = |errno| SeccompError::Errno { place: place.to_owned(), errno };
    written
        .map(|errno| {
            u16::try_from(errno).ok().filter(|_| errno <= MAX_ERRNO).ok_or_else(|| wrong(errno))
        })
        .transpose()
}

fn action(place: &str, written: &str, errno: u16) -> Result<SeccompAction, SeccompError> {
    let (place, action) = (place.to_owned(), written.to_owned());
    Ok(match written {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_TRACE" | "SCMP_ACT_NOTIFY" => {
            return Err(SeccompError::Supervised { place, action });
        }
        _ => return Err(SeccompError::Action { place, action }),
    })
}

fn argument(place: &str, written: Argument) -> Result<SeccompArgument, SeccompError> {
    let comparison = match written.op.as_str() {
        "SCMP_CMP_NE" => SeccompComparison::NotEqual,
        "SCMP_CMP_LT" => SeccompComparison::LessThan,
        "SCMP_CMP_LE" => SeccompComparison::LessOrEqual,
        "SCMP_CMP_EQ" => SeccompComparison::Equal,
        "SCMP_CMP_GE" => SeccompComparison::GreaterOrEqual,
        "SCMP_CMP_GT" => SeccompComparison::GreaterThan,
        "SCMP_CMP_MASKED_EQ" => SeccompComparison::MaskedEqual,
        _ => {
            return Err(SeccompError::Comparison { place: place.to_owned(), op: written.op });
        }
    };
    let too_high = || SeccompError::ArgumentIndex { place: place.to_owned(), index: written.index };
    let index = u8::try_from(written.index).ok().filter(|_| written.index <= MAX_ARGUMENT_INDEX);
    Ok(SeccompArgument {
        index: index.ok_or_else(too_high)?,
        value: written.value,
        value_two: written.value_two,
        comparison,
    })
}
