//! System call filters in Docker's profile format, resolved for one container.
//!
//! Owns: reading a profile, deciding its conditions (capabilities, architecture, kernel), and the
//! profile that is built in. Never does: makes BPF; the agent does, from the resolved rules.
//!
//! Follows moby's `profiles/seccomp` (the JSON that `docker run --security-opt seccomp=FILE` takes).
//! The guest is x86-64 (`amd64`) with its 32-bit and x32 kin, and its kernel is 6.12.

mod profile;
mod resolve;

pub use resolve::SeccompError;

use protocol::{CapabilitySet, SeccompProfile};

/// Docker's default, brought up to the guest's kernel. See PROVENANCE.md beside it.
const BUILT_IN: &[u8] = include_bytes!("default.json");

/// The guest kernel that `minKernel` is compared with.
const GUEST_KERNEL: (u32, u32) = (6, 12);

/// The profile for a container that names none and is not privileged.
///
/// # Errors
/// None with the file that is compiled in; a test reads it.
pub fn built_in(capabilities: CapabilitySet) -> Result<SeccompProfile, SeccompError> {
    parse(BUILT_IN, capabilities)
}

/// Reads a profile and resolves it for a container with these capabilities.
///
/// # Errors
/// [`SeccompError`].
pub fn parse(json: &[u8], capabilities: CapabilitySet) -> Result<SeccompProfile, SeccompError> {
    let profile = serde_json::from_slice(json).map_err(SeccompError::Json)?;
    resolve::resolve(profile, capabilities)
}

#[cfg(test)]
mod tests;
