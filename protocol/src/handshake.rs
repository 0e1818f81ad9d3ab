//! The first message each side sends. Versions are compared before anything else is read.
//!
//! Whatever else may change: a first message begins with the version, a number in postcard's form.

use crate::frame::{Decoder, FrameError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of everything in this crate. Launcher and agent are built together and must agree.
pub const PROTOCOL_VERSION: u32 = 9;

/// What the agent says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The agent's [`PROTOCOL_VERSION`].
    pub protocol_version: u32,
    /// The agent's own version (its crate version).
    pub agent_version: String,
    /// The guest kernel's release, as `uname -r` prints it.
    pub kernel_release: String,
    /// Nanoseconds on the guest's monotonic clock when the agent began: what the kernel took to boot.
    pub agent_started_ns: u64,
}

/// What the launcher answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The launcher's [`PROTOCOL_VERSION`].
    pub protocol_version: u32,
    /// The host's wall clock, nanoseconds since the Unix epoch: the guest has no clock of its own.
    pub realtime_ns: u64,
}

/// The other side speaks another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side speaks protocol version {theirs}, this one {PROTOCOL_VERSION}")]
pub struct VersionMismatch {
    /// The version it named.
    pub theirs: u32,
}

/// The other side's first message, a [`Hello`] or [`Welcome`], if it has arrived. Of another version only
/// the version is read: the rest may have any form.
///
/// # Errors
/// [`VersionMismatch`] unless its version is exactly ours; [`FrameError`] where it is no such message.
pub fn greeting<M, E>(decoder: &mut Decoder) -> Result<Option<M>, E>
where
    M: DeserializeOwned,
    E: From<VersionMismatch> + From<FrameError>,
{
    match decoder.peek::<u32>()? {
        None => Ok(None),
        Some(PROTOCOL_VERSION) => Ok(decoder.next()?),
        Some(theirs) => Err(VersionMismatch { theirs }.into()),
    }
}
