//! How much one request may ask for. The launcher checks what it has planned before it starts anything;
//! the greatest length of a frame holds in any case, on both sides.

use crate::frame::{FrameError, MAX_FRAME_BYTES, encode};
use crate::{ContainerSpec, ProcessSpec, Request, SeccompProfile};
use serde::Serialize;

/// The most layers: each is an open file outside, and the images' own limit.
pub const MAX_LAYERS: usize = 200;
/// The most further mounts.
pub const MAX_MOUNTS: usize = 256;
/// The most options of one mount.
pub const MAX_MOUNT_OPTIONS: usize = 64;
/// The most masked, and the most read-only, paths.
pub const MAX_PATHS: usize = 256;
/// The most addresses, and the most gateways, of a network.
pub const MAX_ADDRESSES: usize = 16;
/// The most arguments of a process.
pub const MAX_ARGS: usize = 16_384;
/// The most environment variables of a process.
pub const MAX_ENV: usize = 16_384;
/// The most resource limits: Linux has 16.
pub const MAX_RLIMITS: usize = 16;
/// The most rules of a system call filter.
pub const MAX_SECCOMP_RULES: usize = 4096;
/// The most names, conditions or architectures of one list of such a filter.
pub const MAX_SECCOMP_LIST: usize = 1024;

/// Why a request cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is too much of something.
    #[error("{count} {what} are over the limit of {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// No single thing is too many, but all of it is too long.
    #[error(
        "the request is {bytes} bytes long, over the limit of {MAX_FRAME_BYTES}; most of them are its {what}"
    )]
    TooLong {
        /// What takes the most bytes.
        what: &'static str,
        /// How long all of it is.
        bytes: usize,
    },
    /// It cannot be encoded.
    #[error("the request cannot be encoded")]
    Frame(#[source] FrameError),
}

impl Request {
    /// Encodes it with its length prefix, within all limits.
    ///
    /// # Errors
    /// Any [`RequestError`].
    pub fn encode(&self) -> Result<Vec<u8>, RequestError> {
        match self {
            Request::Start(spec) => check_container(spec)?,
            Request::Run { spec, .. } => check_process(spec)?,
            Request::Signal { .. }
            | Request::Resize { .. }
            | Request::Measure(_)
            | Request::Freeze(_)
            | Request::Limit { .. }
            | Request::PowerOff => {}
        }
        encode(self).map_err(|error| match error {
            FrameError::TooLong(bytes) => RequestError::TooLong { what: self.longest(), bytes },
            other => RequestError::Frame(other),
        })
    }

    /// What takes the most bytes.
    fn longest(&self) -> &'static str {
        let of_process = |spec: &ProcessSpec| {
            vec![("arguments", size(&spec.args)), ("environment", size(&spec.env))]
        };
        let parts = match self {
            Request::Start(spec) => {
                let mut parts = of_process(&spec.init);
                parts.push(("system call filter", size(&spec.seccomp)));
                parts.push(("mounts", size(&spec.mounts)));
                parts.push(("names of other machines", size(&spec.network)));
                parts.push(("paths", size(&(&spec.masked_paths, &spec.readonly_paths))));
                parts
            }
            Request::Run { spec, .. } => of_process(spec),
            Request::Signal { .. }
            | Request::Resize { .. }
            | Request::Measure(_)
            | Request::Freeze(_)
            | Request::Limit { .. }
            | Request::PowerOff => Vec::new(),
        };
        parts.into_iter().max_by_key(|(_, bytes)| *bytes).map_or("names", |(what, _)| what)
    }
}

fn size(part: &impl Serialize) -> usize {
    postcard::to_extend(part, Vec::new()).map_or(0, |bytes| bytes.len())
}

fn check_container(spec: &ContainerSpec) -> Result<(), RequestError> {
    check("layers", spec.rootfs.layers.len(), MAX_LAYERS)?;
    check("mounts", spec.mounts.len(), MAX_MOUNTS)?;
    for mount in &spec.mounts {
        check("options of one mount", mount.options.len(), MAX_MOUNT_OPTIONS)?;
    }
    check("masked paths", spec.masked_paths.len(), MAX_PATHS)?;
    check("read-only paths", spec.readonly_paths.len(), MAX_PATHS)?;
    if let Some(network) = &spec.network {
        check("addresses", network.addresses.len(), MAX_ADDRESSES)?;
        check("gateways", network.gateways.len(), MAX_ADDRESSES)?;
    }
    spec.seccomp.as_ref().map_or(Ok(()), check_seccomp)?;
    check_process(&spec.init)
}

fn check_process(spec: &ProcessSpec) -> Result<(), RequestError> {
    check("arguments", spec.args.len(), MAX_ARGS)?;
    check("environment variables", spec.env.len(), MAX_ENV)?;
    check("resource limits", spec.rlimits.len(), MAX_RLIMITS)
}

fn check_seccomp(profile: &SeccompProfile) -> Result<(), RequestError> {
    check("architectures", profile.architectures.len(), MAX_SECCOMP_LIST)?;
    check("rules for system calls", profile.rules.len(), MAX_SECCOMP_RULES)?;
    for rule in &profile.rules {
        check("names of one rule for system calls", rule.names.len(), MAX_SECCOMP_LIST)?;
        check("conditions of one rule for system calls", rule.arguments.len(), MAX_SECCOMP_LIST)?;
    }
    Ok(())
}

fn check(what: &'static str, count: usize, limit: usize) -> Result<(), RequestError> {
    if count > limit { Err(RequestError::TooMany { what, count, limit }) } else { Ok(()) }
}
