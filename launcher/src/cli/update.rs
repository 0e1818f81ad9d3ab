//! `cofferdam update`.

use super::DEFAULT_STATE_DIR;
use clap::Args;
use std::path::PathBuf;

/// What was typed after `update`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct UpdateArgs {
    /// Memory; 0 is no limit
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// CPUs; 0 is no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub cpus: Option<String>,
    /// Processes and threads; -1 is no limit
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    pub pids_limit: Option<String>,
    /// Names, identifiers, or beginnings of identifiers
    #[arg(required = true, value_name = "SANDBOX")]
    pub sandboxes: Vec<String>,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}
