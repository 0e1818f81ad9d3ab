//! `cofferdam stats` and `cofferdam top`.

use super::DEFAULT_STATE_DIR;
use clap::Args;
use std::path::PathBuf;

/// What was typed after `stats`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StatsArgs {
    /// Say it once, and not again and again
    #[arg(long)]
    pub no_stream: bool,
    /// The same once, for programs: all figures as they are
    #[arg(long)]
    pub json: bool,
    /// Names, identifiers, or beginnings of identifiers; all that run, unless it is said
    #[arg(value_name = "SANDBOX")]
    pub sandboxes: Vec<String>,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `top`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TopArgs {
    /// A name, an identifier, or the beginning of one
    #[arg(value_name = "SANDBOX")]
    pub sandbox: String,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}
