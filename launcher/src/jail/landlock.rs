//! What a process may still reach by name: files, TCP ports, abstract sockets, other processes' signals.
//!
//! Owns: the Landlock rules of our processes. Never does: close a descriptor; what a process was handed
//! open, it keeps.
//!
//! | kernel's version | what it adds here |
//! |---|---|
//! | 1 (5.13), 2 (5.19), 3 (6.2) | no path, and with 2 and 3 neither a rename across directories nor a truncation |
//! | 4 (6.7) | no TCP port, but for who fetches, and who carries a network, which listens on what is published alone,
//! | | unless what Docker publishes in there is published as it appears |
//! | 5 (6.10) | no ioctl on a device that is opened by name |
//! | 6 (6.12) | no signal and no abstract socket out of the own domain |
//!
//! Whatever the version, a domain of its own closes each process to ptrace(2), process_vm_readv(2) and
//! pidfd_getfd(2) by its siblings. What a kernel lacks of it, the filters of system calls deny all but the
//! launcher and QEMU ([`super::filter`]).

use super::walls::Walls;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// The newest version whose walls are known here.
const NEWEST: ABI = ABI::V6;

/// Why a process could not be closed in.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// The kernel refused a rule, or the whole.
    #[error("landlock refused")]
    Refused(#[from] RulesetError),
    /// The kernel has it and did nothing.
    #[error("landlock is there and closes nothing")]
    NotEnforced,
}

/// What stays open to a process by name. Nothing, unless it is said.
#[derive(Debug, Default)]
pub struct Reach<'a> {
    /// Read below these, directories or files.
    pub read: Vec<PathBuf>,
    /// Read and execute below these.
    pub execute: Vec<PathBuf>,
    /// Do everything to files and directories below these, but execute.
    pub write: Vec<PathBuf>,
    /// Read and write these devices or files.
    pub devices: Vec<PathBuf>,
    /// Do everything to files and directories below these, but execute, and make devices; or, where it is not said
    /// that they are changed, read them.
    pub below: Vec<(BorrowedFd<'a>, bool)>,
    /// Open these files again, which are open already, for reading and writing.
    pub again: Vec<BorrowedFd<'a>>,
    /// Connect to any TCP port, and listen as this says; `None` is neither.
    pub network: Option<Listen>,
}

/// On which TCP ports a process may listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listen {
    /// On these; 0 is any that is free.
    On(Vec<u16>),
    /// On any.
    Anywhere,
}

/// Closes the calling process in, for good, as far as the kernel can. Needs no_new_privs.
///
/// # Errors
/// [`LandlockError`], where `walls` say that it can.
pub fn close_in(walls: Walls, reach: &Reach<'_>) -> Result<(), LandlockError> {
    if walls.landlock == 0 {
        return Ok(());
    }
    let version = ABI::from(i32::from(walls.landlock)).min(NEWEST);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(version))?;
    if version >= ABI::V4 {
        rules = match reach.network {
            None => rules.handle_access(AccessNet::from_all(version))?,
            Some(Listen::On(_)) => rules.handle_access(AccessNet::BindTcp)?,
            Some(Listen::Anywhere) => rules,
        };
    }
    if version >= ABI::V6 {
        rules = rules.scope(Scope::from_all(version))?;
    }
    let rules = reach.allow(rules.create()?, version)?;
    match rules.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => Err(LandlockError::NotEnforced),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

impl Reach<'_> {
    fn allow(
        &self,
        mut rules: RulesetCreated,
        version: ABI,
    ) -> Result<RulesetCreated, RulesetError> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = AccessFs::from_all(version) & !(makes_devices() | AccessFs::Execute);
        let device =
            (AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate) | AccessFs::IoctlDev;
        let kinds = [
            (&self.read, read),
            (&self.execute, read | AccessFs::Execute),
            (&self.write, write),
            (&self.devices, device),
        ];
        for (paths, access) in kinds {
            for path in paths {
                // What is not there cannot be reached either.
                let Some(parent) = open_path(path) else { continue };
                rules = allow(rules, &parent, access & AccessFs::from_all(version))?;
            }
        }
        for (root, changed) in &self.below {
            let access = if *changed { write | AccessFs::MakeFifo } else { read };
            rules = allow(rules, root, access & AccessFs::from_all(version))?;
        }
        for file in &self.again {
            let access = device & AccessFs::from_all(version);
            // A pipe, or a file in memory, has no place among files that a rule could name.
            let Ok(more) = rules.try_clone().map(|rules| allow(rules, file, access)) else {
                continue;
            };
            rules = more.unwrap_or(rules);
        }
        if let Some(Listen::On(ports)) = &self.network
            && version >= ABI::V4
        {
            for &port in ports {
                rules = rules.add_rule(NetPort::new(port, AccessNet::BindTcp))?;
            }
        }
        Ok(rules)
    }
}

fn allow(
    rules: RulesetCreated,
    parent: &impl std::os::fd::AsFd,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    // For a file, the library leaves out what only a directory can grant.
    rules.add_rule(PathBeneath::new(parent, access))
}

fn makes_devices() -> BitFlags<AccessFs> {
    AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeFifo
}

fn open_path(path: &Path) -> Option<std::os::fd::OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
}
