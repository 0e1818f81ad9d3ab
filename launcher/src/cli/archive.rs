//! `cofferdam load` and `cofferdam save`.

use super::DEFAULT_STATE_DIR;
use clap::Args;
use std::path::PathBuf;

/// What was typed after `load`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct LoadArgs {
    /// Read this archive instead of standard input
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    pub input: Option<PathBuf>,
    /// Call its one image so
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Which images are accepted, as containers-policy.json has it
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub policy: Option<PathBuf>,
    /// Where images live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `save`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SaveArgs {
    /// Names, identifiers, or beginnings of identifiers
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    pub output: Option<PathBuf>,
    /// Where images live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}
