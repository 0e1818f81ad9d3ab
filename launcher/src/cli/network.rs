//! The flags of `run` about the network: whether there is one, what of the container is open to the outside, and what of
//! the outside to the container.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Whether there is a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum NetworkKind {
    /// What this place reaches, but for itself
    #[default]
    #[value(alias = "bridge")]
    Default,
    /// Loopback alone
    None,
}

/// What becomes of what no rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Egress {
    /// It is open
    #[default]
    Allow,
    /// It is closed
    Deny,
}

/// What `--publish-docker` means without an address. It is none.
pub const WHERE_DOCKER_DOES: &str = "docker";

/// What was typed about the network.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct NetworkArgs {
    /// What this place reaches (default), or none
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHICH",
        help_heading = "Network",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub network: NetworkKind,
    /// Publish ports, as in 8080:80, 127.0.0.1:53:53/udp, 80
    #[arg(
        short,
        long,
        value_name = "[OUTER:]INNER",
        help_heading = "Network",
        allow_hyphen_values = true
    )]
    pub publish: Vec<String>,
    /// Publish what Docker in the container does, as it appears
    #[arg(
        long,
        value_name = "ADDRESS",
        help_heading = "Network",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = WHERE_DOCKER_DOES
    )]
    pub publish_docker: Option<String>,
    /// What becomes of what no rule is about: allow (default) or deny
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHAT",
        help_heading = "Network",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub egress: Egress,
    /// Open it to an address, a network, loopback (this place's) or all
    #[arg(long, value_name = "WHAT[:PORT]", help_heading = "Network", allow_hyphen_values = true)]
    pub allow: Vec<String>,
    /// Close it to the same, whatever is allowed
    #[arg(long, value_name = "WHAT[:PORT]", help_heading = "Network", allow_hyphen_values = true)]
    pub deny: Vec<String>,
    /// Bytes a second that pass each way, at most (10m)
    #[arg(long, value_name = "SIZE", help_heading = "Network", allow_hyphen_values = true)]
    pub bandwidth: Option<String>,
    /// Connections and other flows at a time, at most
    #[arg(long, value_name = "COUNT", help_heading = "Network", allow_hyphen_values = true)]
    pub limit_connections: Option<String>,
    /// Write what passes to a file, for tcpdump or Wireshark
    #[arg(long, value_name = "FILE", help_heading = "Network", allow_hyphen_values = true)]
    pub pcap: Option<PathBuf>,
    /// Ask this server for names [default: as this place does]
    #[arg(long, value_name = "ADDRESS", help_heading = "Network", allow_hyphen_values = true)]
    pub dns: Vec<String>,
    /// Look for names in this domain; . is none
    #[arg(long, value_name = "DOMAIN", help_heading = "Network", allow_hyphen_values = true)]
    pub dns_search: Vec<String>,
    /// Option of its resolv.conf
    #[arg(
        long,
        alias = "dns-opt",
        value_name = "OPTION",
        help_heading = "Network",
        allow_hyphen_values = true
    )]
    pub dns_option: Vec<String>,
    /// Add a name to its hosts; host-gateway is this place
    #[arg(long, value_name = "NAME:ADDRESS", help_heading = "Network", allow_hyphen_values = true)]
    pub add_host: Vec<String>,
}
