//! `cofferdam audit`.

use clap::Args;
use std::ffi::OsString;

/// What was typed after `audit`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "cofferdam audit [--json] [FLAGS OF RUN] IMAGE",
    after_help = "IMAGE and all flags before it are those of cofferdam run: what is judged is the container \
                  that they would make,\nwith a witness of ours in place of its command."
)]
pub struct AuditArgs {
    /// Print one JSON document instead of lines
    #[arg(long)]
    pub json: bool,

    /// What `run` is given.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, num_args = 1.., hide = true)]
    pub run: Vec<OsString>,
}
