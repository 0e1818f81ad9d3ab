//! Capabilities: their names, Docker's default set, and what `--cap-add` and `--cap-drop` make of it.
//!
//! Follows linux/capability.h of 6.12 and moby's `oci/caps`.

use crate::error::Explain;
use protocol::{Capabilities, CapabilitySet};

/// Every capability of the guest kernel, in the order of their numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities in words.
pub fn in_words(set: u64) -> String {
    let names: Vec<&str> = NAMES
        .into_iter()
        .zip(0..)
        .filter(|(_, number)| set >> number & 1 == 1)
        .map(|it| it.0)
        .collect();
    match names.len() {
        0 if set == 0 => "no capability".to_owned(),
        0 => "capabilities that Linux 6.12 does not know".to_owned(),
        count if count == NAMES.len() => "every capability".to_owned(),
        _ => format!("capabilities {}", names.join(", ")),
    }
}

/// The 14 that Docker grants.
const DOCKER_DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A name that no capability has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {name:?}: there is no such capability")]
pub struct UnknownCapability {
    /// The flag it was given to.
    pub flag: &'static str,
    /// The name.
    pub name: String,
}

impl Explain for UnknownCapability {
    fn hint(&self) -> Option<String> {
        let wanted = short_name(&self.name);
        let near = NAMES.iter().find(|known| {
            !wanted.is_empty() && (known.contains(&wanted) || wanted.contains(**known))
        });
        Some(match near {
            Some(near) => {
                format!("did you mean {near}? capabilities(7) lists them; ALL stands for all")
            }
            None => "capabilities(7) lists them; ALL stands for all".to_owned(),
        })
    }
}

/// All of them.
pub fn all() -> CapabilitySet {
    CapabilitySet((1 << NAMES.len()) - 1)
}

/// What Docker grants.
pub fn docker_default() -> CapabilitySet {
    set_of(DOCKER_DEFAULT.iter().filter_map(|name| number(name)))
}

/// The number of a capability: with or without `CAP_`, in any case.
pub fn number(name: &str) -> Option<u32> {
    let name = short_name(name);
    NAMES.iter().position(|&known| known == name).and_then(|index| u32::try_from(index).ok())
}

/// The names in a set, with `CAP_`; bits that this kernel does not know are left out.
pub fn names(set: CapabilitySet) -> Vec<String> {
    NAMES
        .iter()
        .enumerate()
        .filter(|(index, _)| set.0 & (1 << index) != 0)
        .map(|(_, name)| format!("CAP_{name}"))
        .collect()
}

/// What a container gets, as Docker computes it: `ALL` among the added starts from everything, `ALL`
/// among the dropped from nothing, and an added one wins over the default.
///
/// # Errors
/// [`UnknownCapability`].
pub fn granted(add: &[String], drop: &[String]) -> Result<CapabilitySet, UnknownCapability> {
    let (add_all, add) = chosen("--cap-add", add)?;
    let (drop_all, drop) = chosen("--cap-drop", drop)?;
    Ok(CapabilitySet(match (add_all, drop_all) {
        (true, _) => all().0 & !drop.0,
        (false, true) => add.0,
        (false, false) => docker_default().0 & !drop.0 | add.0,
    }))
}

/// What was asked for and nothing else: `ALL` among the added is all but what is dropped.
///
/// # Errors
/// [`UnknownCapability`].
pub fn added(add: &[String], drop: &[String]) -> Result<CapabilitySet, UnknownCapability> {
    let (add_all, add) = chosen("--cap-add", add)?;
    let (_, drop) = chosen("--cap-drop", drop)?;
    Ok(if add_all { CapabilitySet(all().0 & !drop.0) } else { add })
}

/// The five sets of a process that keeps what was granted whoever it is, without any program's file
/// capabilities.
pub fn lasting_sets(granted: CapabilitySet) -> Capabilities {
    Capabilities { inheritable: granted, ambient: granted, ..process_sets(granted) }
}

/// The five sets of a container's process, as Docker asks for them: nothing inheritable, nothing
/// ambient. A process of another user than root loses the effective and permitted ones at exec.
pub fn process_sets(granted: CapabilitySet) -> Capabilities {
    Capabilities {
        bounding: granted,
        effective: granted,
        permitted: granted,
        inheritable: CapabilitySet::default(),
        ambient: CapabilitySet::default(),
    }
}

/// Whether ALL is among the names, and the set of the others.
fn chosen(
    flag: &'static str,
    names: &[String],
) -> Result<(bool, CapabilitySet), UnknownCapability> {
    let mut every = false;
    let mut set = CapabilitySet::default();
    for name in names {
        if short_name(name) == "ALL" {
            every = true;
        } else {
            let number =
                number(name).ok_or_else(|| UnknownCapability { flag, name: name.clone() })?;
            set.0 |= 1 << number;
        }
    }
    Ok((every, set))
}

fn short_name(name: &str) -> String {
    let upper = name.trim().to_ascii_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}

fn set_of(numbers: impl Iterator<Item = u32>) -> CapabilitySet {
    CapabilitySet(numbers.fold(0, |set, number| set | 1 << number))
}

#[cfg(test)]
mod tests;
