//! `cofferdam exec`.

use super::DEFAULT_STATE_DIR;
use clap::{ArgAction, Args};
use std::path::PathBuf;

/// What was typed after `exec`. Flags end at SANDBOX: all that follows belongs to the process.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "cofferdam exec [FLAGS] SANDBOX CMD...",
    after_help = "Exit codes: the process's own; 128+n ended by signal n; 125 cofferdam's own failure;\n\
                  126 cannot be invoked; 127 not found."
)]
pub struct ExecArgs {
    /// Leave it alone once it runs
    #[arg(short, long, conflicts_with_all = ["interactive", "tty"])]
    pub detach: bool,
    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Set a variable; NAME alone takes it from here
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    pub env: Vec<String>,
    /// Working directory, where it is not the container's
    #[arg(short, long, value_name = "DIR", allow_hyphen_values = true)]
    pub workdir: Option<String>,
    /// User, and perhaps group, by name or number, where it is not the container's
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    pub user: Option<String>,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// A name, an identifier, or the beginning of one; then the command
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, allow_hyphen_values = true, value_name = "SANDBOX CMD")]
    pub words: Vec<String>,
}
