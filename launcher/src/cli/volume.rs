//! `cofferdam volume …`.

use super::DEFAULT_STATE_DIR;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What was typed after `volume`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VolumeArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: VolumeCommand,
}

/// What `volume` can do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum VolumeCommand {
    /// Make a volume
    Create(VolumeCreateArgs),
    /// List volumes
    Ls(VolumeLsArgs),
    /// Print all that is known of volumes, as JSON
    Inspect(VolumeInspectArgs),
    /// Remove volumes, with all that is in them
    Rm(VolumeRmArgs),
    /// Remove all volumes that no sandbox has now, with all that is in them
    Prune(VolumePruneArgs),
}

/// What was typed after `volume create`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VolumeCreateArgs {
    /// Its name [default: one of its own]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// How much it may hold [default: 100g]; room is taken only as it is written to
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub size: Option<String>,
    /// Where volumes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `volume ls`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VolumeLsArgs {
    /// Print names only
    #[arg(short, long)]
    pub quiet: bool,
    /// Print one JSON document instead of a table
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    /// Where volumes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `volume inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VolumeInspectArgs {
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Where volumes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `volume rm`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VolumeRmArgs {
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// One that is not there is no error
    #[arg(short, long)]
    pub force: bool,
    /// Where volumes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `volume prune`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VolumePruneArgs {
    /// Where volumes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}
