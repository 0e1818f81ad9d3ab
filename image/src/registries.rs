//! What the user says about registries: where else an image may be had, and who asks.
//!
//! Owns: the formats that podman and Docker keep this in. Never does: read a file or the environment, run a
//! credential helper, or speak to a registry.

pub mod credentials;
pub mod lookaside;
pub mod settings;

pub use credentials::{CredentialFile, Found};
pub use lookaside::{Lookaside, LookasideError, Lookasides, Server};
pub use settings::{Endpoint, Settings, SettingsError};
