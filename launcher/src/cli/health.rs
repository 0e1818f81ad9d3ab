//! The flags of `run` about how it is known that a container is well.

use clap::Args;

/// What was typed of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct HealthArgs {
    /// Command by which it is known that it is well
    #[arg(long, value_name = "COMMAND", help_heading = "Health", allow_hyphen_values = true)]
    pub health_cmd: Option<String>,
    /// Time from one to the next [default: 30s]
    #[arg(long, value_name = "TIME", help_heading = "Health", allow_hyphen_values = true)]
    pub health_interval: Option<String>,
    /// How long one may take [default: 30s]
    #[arg(long, value_name = "TIME", help_heading = "Health", allow_hyphen_values = true)]
    pub health_timeout: Option<String>,
    /// How long it may take until one succeeds
    #[arg(long, value_name = "TIME", help_heading = "Health", allow_hyphen_values = true)]
    pub health_start_period: Option<String>,
    /// How many failures in a row make it unhealthy [default: 3]
    #[arg(long, value_name = "COUNT", help_heading = "Health")]
    pub health_retries: Option<u32>,
    /// Do not ask, whatever the image says
    #[arg(long, help_heading = "Health", conflicts_with = "health_cmd")]
    pub no_healthcheck: bool,
}
