//! `cofferdam port`.

use super::DEFAULT_STATE_DIR;
use clap::Args;
use std::path::PathBuf;

/// What was typed after `port`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PortArgs {
    /// Name, identifier, or beginning of an identifier
    #[arg(value_name = "SANDBOX")]
    pub sandbox: String,
    /// Only where this port of it is
    #[arg(value_name = "INNER[/tcp|/udp]")]
    pub inner: Option<String>,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}
