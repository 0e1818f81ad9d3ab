//! The pure and the asking parts of the cofferdam program: what was typed, what this place is, and
//! what follows from both. The processes are started by the binary, in `main.rs` and its modules.
//!
//! ```text
//!   cli::RunArgs ─┐
//!   host::HostFacts ─┴▶ plan::RunPlan ─▶ container_spec
//!   host::Survey ─▶ doctor
//! ```

pub mod capabilities;
pub mod cli;
pub mod container_spec;
pub mod error;
pub mod exit_code;
pub mod host;
pub mod plan;
pub mod seccomp;
