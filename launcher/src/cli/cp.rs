//! `cofferdam cp`.

use super::DEFAULT_STATE_DIR;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// What was typed after `cp`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "cofferdam cp [FLAGS] SANDBOX:PATH DESTINATION|-\n       cofferdam cp [FLAGS] SOURCE|- SANDBOX:PATH",
    after_help = "A directory whose path ends with /. means what is in it. - is a tar archive: of SANDBOX:PATH, \
                  or to be put into it."
)]
pub struct CpArgs {
    /// Keep owners, and set-user-ID programs
    #[arg(short, long)]
    pub archive: bool,
    /// Follow SOURCE where it is a link
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Say nothing of what was copied
    #[arg(short, long)]
    pub quiet: bool,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
    /// What is copied
    #[arg(value_name = "SOURCE")]
    pub source: OsString,
    /// Where to
    #[arg(value_name = "DESTINATION")]
    pub destination: OsString,
}
