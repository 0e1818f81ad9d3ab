//! `cofferdam pull`, `images`, `rmi`, `image …` and `system …`; and what they share with `run`.

use super::DEFAULT_STATE_DIR;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// When a registry is asked for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PullPolicy {
    /// At every run
    Always,
    /// Where the store does not have it
    #[default]
    Missing,
    /// Never
    Never,
}

/// How registries are spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RegistryArgs {
    /// File of credentials [default: Docker's, then podman's]
    #[arg(long, value_name = "FILE", help_heading = "Registry", allow_hyphen_values = true)]
    pub authfile: Option<PathBuf>,
    /// Which images are accepted, as containers-policy.json has it
    #[arg(long, value_name = "FILE", help_heading = "Registry", allow_hyphen_values = true)]
    pub policy: Option<PathBuf>,
    /// Registry that need not show who it is, or speaks plain HTTP
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Registry", allow_hyphen_values = true)]
    pub insecure_registry: Vec<String>,
}

/// What was typed after `pull`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PullArgs {
    /// Images to pull
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Print nothing but what was pulled
    #[arg(short, long)]
    pub quiet: bool,
    /// How registries are spoken to.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Where images live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `images`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ImagesArgs {
    /// Images of this repository only, or this image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub wanted: Option<String>,
    /// Ask registries which tags mean another image by now; list those
    #[arg(long, conflicts_with_all = ["quiet", "digests", "no_trunc", "wanted"])]
    pub outdated: bool,
    /// Show digests too
    #[arg(long)]
    pub digests: bool,
    /// Do not shorten anything
    #[arg(long)]
    pub no_trunc: bool,
    /// Print identifiers only
    #[arg(short, long)]
    pub quiet: bool,
    /// Print one JSON document instead of a table
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    /// How registries are spoken to.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Where images live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `rmi`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RmiArgs {
    /// Names, identifiers, or beginnings of identifiers
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Remove all names that an identifier has
    #[arg(short, long)]
    pub force: bool,
    /// Where images live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `image`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ImageArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// What `image` can do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ImageCommand {
    /// List images
    Ls(ImagesArgs),
    /// Pull images
    Pull(PullArgs),
    /// Remove images
    Rm(RmiArgs),
    /// Print all that is known of images, as JSON
    Inspect(InspectArgs),
    /// Remove layers that no image with a name has
    Prune(PruneArgs),
}

/// What was typed after `image inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InspectArgs {
    /// Names, identifiers, or beginnings of identifiers
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Where images live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `image prune`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PruneArgs {
    /// Remove the images' names too: whatever no sandbox runs from now on
    #[arg(short, long)]
    pub all: bool,
    /// Where images live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `system`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SystemArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SystemCommand,
}

/// What `system` can do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum SystemCommand {
    /// Show what the state directory takes
    Df(DfArgs),
    /// Show, or set, how much images may take of it
    Limit(LimitArgs),
}

/// What was typed after `system limit`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct LimitArgs {
    /// Of disk, in all, as in 20g; or none
    #[arg(value_name = "SIZE")]
    pub size: Option<String>,
    /// Where images live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `system df`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DfArgs {
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Where images and sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}
