//! Builds, before anything runs, what the guest boots from and the images that tests, measurements
//! and the demo use.
//!
//! Owns: the formats written (newc cpio, OCI image directory, Docker archive) and the recipes of each
//! image. Never does: caching, downloading by itself, or anything at `cofferdam`'s own run time.
//!
//! ```text
//!   agent, profile ──────► initramfs ► appended to dist/cofferdam
//!   mmdebstrap, busybox ─► layer.tar ► OCI directory, Docker archive
//! ```
//!
//! Everything is reproducible: entries are sorted, and no time is later than [`EPOCH`].

pub mod apparmor;
pub mod debian;
pub mod docker_archive;
pub mod image_config;
pub mod initramfs;
pub mod layer;
pub mod oci_directory;
pub mod recipes;

/// The one time that files carry, in seconds since 1970: 2026-01-01.
pub const EPOCH: u64 = 1_767_225_600;
