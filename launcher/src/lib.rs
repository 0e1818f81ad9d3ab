//! The cofferdam program: the launcher, and every process that a sandbox is made of.
//!
//! ```text
//!   cli::RunArgs ─┐
//!   host::HostFacts ─┴▶ plan::RunPlan ─▶ container_spec, vm_config
//!   host::Survey ─▶ doctor
//!   cli::BenchArgs ─▶ bench
//!   outer_walls::Around + a sandbox that stands ─▶ audit
//! ```

pub mod accelerator;
pub mod agent_client;
mod archives;
mod attach;
mod audit;
mod bench;
mod beside;
pub mod capabilities;
mod child_end;
pub mod cli;
pub mod command;
mod companions;
pub mod container_spec;
pub mod control;
mod copy;
pub mod detached;
mod disk_usage;
mod docker;
pub mod doctor;
mod engine_profile;
pub mod error;
mod events;
mod exec;
pub mod exit_code;
pub mod host;
mod images;
pub mod jail;
mod join;
mod last_words;
mod layers_disk;
pub mod log;
mod login;
mod logs;
mod networks;
pub mod outcome;
mod outdated;
mod outer_walls;
pub mod plan;
mod published_sockets;
mod pull;
mod registries;
pub mod run;
pub mod sandbox;
pub mod sandboxes;
pub mod seccomp;
pub mod session;
mod shares;
mod start;
pub mod state;
mod stats;
mod stop;
pub mod streams;
pub mod supervisor;
mod sys;
mod table;
pub mod timings;
mod update;
pub mod volumes;
mod wait;
mod warden;
