//! `cofferdam logs` and `cofferdam attach`.

use super::DEFAULT_STATE_DIR;
use clap::{ArgAction, Args};
use std::path::PathBuf;

/// What was typed after `logs`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct LogsArgs {
    /// Go on until it ends
    #[arg(short, long)]
    pub follow: bool,
    /// From this time on: RFC 3339, seconds since 1970, or how long ago (10m)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Until then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// So many last lines, or all
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "all")]
    pub tail: String,
    /// With the time before each line
    #[arg(short, long)]
    pub timestamps: bool,
    /// A name, an identifier, or the beginning of one
    #[arg(value_name = "SANDBOX")]
    pub sandbox: String,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `attach`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AttachArgs {
    /// Give it no input
    #[arg(long)]
    pub no_stdin: bool,
    /// Whether signals that come here are its first process's; false ends this process by them
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub sig_proxy: bool,
    /// Keys that let go of it, where it has a terminal; none where it is empty
    #[arg(long, value_name = "KEYS", default_value = crate::session::keys::DEFAULT)]
    pub detach_keys: String,
    /// A name, an identifier, or the beginning of one
    #[arg(value_name = "SANDBOX")]
    pub sandbox: String,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}
