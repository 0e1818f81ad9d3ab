//! `cofferdam ps`, `inspect`, `rename`, `events` and `rm`.

use super::DEFAULT_STATE_DIR;
use clap::Args;
use std::path::PathBuf;

/// What was typed after `ps`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PsArgs {
    /// Show ended sandboxes too
    #[arg(short, long)]
    pub all: bool,
    /// Print identifiers only
    #[arg(short, long)]
    pub quiet: bool,
    /// Print one JSON document instead of a table
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InspectArgs {
    /// Names, identifiers, or beginnings of identifiers
    #[arg(required = true, value_name = "SANDBOX")]
    pub sandboxes: Vec<String>,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `rename`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RenameArgs {
    /// Name, identifier, or beginning of an identifier
    #[arg(value_name = "SANDBOX")]
    pub sandbox: String,
    /// What it is to be called
    #[arg(value_name = "NAME", allow_hyphen_values = true)]
    pub name: String,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `events`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct EventsArgs {
    /// Print each as a line of JSON
    #[arg(long)]
    pub json: bool,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `rm`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RmArgs {
    /// End those that run, at once
    #[arg(short, long)]
    pub force: bool,
    /// Names, identifiers, or beginnings of identifiers
    #[arg(required = true, value_name = "SANDBOX")]
    pub sandboxes: Vec<String>,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}
