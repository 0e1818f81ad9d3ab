//! OCI images: from a reference to a verified configuration and layers as read-only file systems.
//!
//! Owns: references, the formats images come in, the content store, and the unpacking of layers.
//! Never does: start a process, talk to a network, or parse a layer in the caller's process: that
//! is [`layer::unpack`], which an [`Unpacker`] runs where it may do no harm, and what a
//! [`Fetcher`] has done elsewhere.
//!
//! ```text
//!   "oci:DIR:TAG" ─ Reference ─ source ──► manifest, config: small, bounded, digests checked here
//!   "debian:12"                   │  └── or the store's, by name; else a Fetcher's
//!                                 ▼ for each layer that the store lacks
//!        this process: hashes the blob ═══╗           another process: layer::unpack
//!        (parses nothing)                 ╠═ both agree with manifest and config ─► the store
//!        Unpacker ── input, output files ─╝           (tar → entries → EROFS; reports the diff ID)
//! ```
//!
//! Invariants: a blob's digest is computed by the caller's process, never believed from one that
//! parses; what is in the store is whole and verified; a second run reads no layer.

pub mod archive;
pub mod config;
pub mod digest;
pub mod fetch;
pub mod inventory;
pub mod layer;
mod load;
pub mod manifest;
pub mod policy;
mod prepare;
pub mod reference;
pub mod registries;
mod save;
pub mod source;
pub mod store;

pub use config::{HealthCheck, ImageConfig};
pub use digest::{Algorithm, Digest};
pub use fetch::Fetcher;
pub use inventory::{StoredImage, inventory};
pub use layer::{Limits, UnpackError, UnpackJob, UnpackReport};
pub use load::{ArchivedImage, archived};
pub use manifest::Platform;
pub use policy::Policy;
pub use prepare::{
    AtHand, Image, ImageError, Layer, LayerError, LayerProgress, Phase, Request, UnpackFailure,
    Unpacker, at_hand, prepare, prepare_at_hand,
};
pub use reference::Reference;
pub use save::{SaveError, save, save_to};
pub use store::Store;
