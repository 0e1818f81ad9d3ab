//! `--profile strict`: what it adds to the plan, and which other flags contradict it.
//!
//! It follows the rules that a careful operator gives: not root, no capability but those asked for, a
//! read-only root, nothing that can be written to and executed from, and ids of its own.

use super::security::NO_NEW_PRIVILEGES;
use crate::capabilities;
use crate::cli::{Profile, RunArgs};
use crate::error::Explain;
use protocol::{CapabilitySet, Mount, MountSource};

/// Whom the container's process runs as where it would otherwise be root: `nobody`, whom no file
/// belongs to.
pub const UNPRIVILEGED_USER: &str = "65534:65534";

/// Flags that contradict the profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// All privileges.
    #[error("{0} contradicts --profile strict")]
    Everything(&'static str),
    /// Root, by name or number.
    #[error("--user {0:?} is root, which --profile strict does not allow")]
    Root(String),
    /// A capability that is as good as all of them.
    #[error("--profile strict does not grant CAP_SYS_ADMIN: it never survives set-up")]
    SysAdmin,
    /// An option that takes away what the profile adds.
    #[error("--security-opt {0:?} contradicts --profile strict")]
    Option(String),
    /// A mount that could be written to and executed from, or worse.
    #[error("--tmpfs {path}: the option {option:?} contradicts --profile strict")]
    Tmpfs {
        /// Where it would be mounted.
        path: String,
        /// The option.
        option: String,
    },
}

impl Explain for ProfileError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            ProfileError::Everything(_) => "choose one of the two".into(),
            ProfileError::Root(_) => {
                format!(
                    "name another user: --user 1000:1000; without --user, root becomes {UNPRIVILEGED_USER}"
                )
            }
            ProfileError::SysAdmin => {
                "add the capabilities that it needs one by one; with --profile default, SYS_ADMIN \
                 can be added"
                    .into()
            }
            ProfileError::Option(_) => "leave it out, or use --profile default".into(),
            ProfileError::Tmpfs { path, option } if option == "exec" => {
                format!("say so where you declare what is writable: --writable {path}:exec")
            }
            ProfileError::Tmpfs { .. } => "leave the option out".into(),
        })
    }
}

/// Whether it was chosen; refuses flags that contradict it.
///
/// # Errors
/// [`ProfileError`].
pub fn is_strict(args: &RunArgs) -> Result<bool, ProfileError> {
    if args.profile != Profile::Strict {
        return Ok(false);
    }
    if let Some(flag) = super::security::everything(args) {
        return Err(ProfileError::Everything(flag));
    }
    if let Some(user) = args.user.as_deref().filter(|user| !user.is_empty() && is_root(user)) {
        return Err(ProfileError::Root(user.to_owned()));
    }
    match args.security_opt.iter().find(|option| takes_away(option)) {
        Some(option) => Err(ProfileError::Option(option.clone())),
        None => Ok(true),
    }
}

/// Whether `USER[:GROUP]` is root, as far as can be told without the container's passwd file: the agent
/// looks there, and refuses.
pub fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    name.is_empty() || name == "root" || name.parse() == Ok(0u32)
}

fn takes_away(option: &str) -> bool {
    let (name, value) = super::security::split(option);
    match value {
        Some("unconfined") => true,
        Some("false") => name == NO_NEW_PRIVILEGES,
        _ => false,
    }
}

/// The capabilities that were asked for, if the profile allows them.
///
/// # Errors
/// [`ProfileError::SysAdmin`].
pub fn checked(granted: CapabilitySet) -> Result<CapabilitySet, ProfileError> {
    let sys_admin = capabilities::number("SYS_ADMIN").unwrap_or_default();
    if granted.0 & (1 << sys_admin) == 0 { Ok(granted) } else { Err(ProfileError::SysAdmin) }
}

/// The mounts that were asked for, if the profile allows them, and those that it adds: a /dev that nothing
/// can be executed from.
///
/// # Errors
/// [`ProfileError::Tmpfs`].
pub fn mounts(mut asked: Vec<Mount>) -> Result<Vec<Mount>, ProfileError> {
    const LOOSE: [&str; 3] = ["exec", "suid", "dev"];
    let declared = |mount: &Mount| mount.source == MountSource::OwnTmpfs;
    for mount in asked.iter().filter(|mount| !declared(mount)) {
        let loose = mount.options.iter().find(|option| LOOSE.contains(&option.as_str()));
        if let Some(option) = loose {
            let (path, option) = (mount.destination.clone(), option.clone());
            return Err(ProfileError::Tmpfs { path, option });
        }
    }
    const DEV: &str = "/dev";
    if !asked.iter().any(|mount| mount.destination == DEV) {
        // In a user namespace each device is a mount of its own, from the guest's /dev.
        let options = ["nosuid", "noexec", "nodev", "strictatime", "mode=755", "size=65536k"];
        asked.push(Mount {
            destination: DEV.to_owned(),
            source: MountSource::Tmpfs,
            options: options.map(str::to_owned).into(),
        });
    }
    Ok(asked)
}
