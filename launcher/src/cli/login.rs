//! `cofferdam login` and `cofferdam logout`.

use super::images::RegistryArgs;
use clap::Args;

/// What was typed after `login`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct LoginArgs {
    /// The registry
    #[arg(value_name = "HOST[:PORT]", default_value = "docker.io")]
    pub registry: String,
    /// User's name
    #[arg(short, long, value_name = "USER")]
    pub username: Option<String>,
    /// Take the password from standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// How registries are spoken to.
    #[command(flatten)]
    pub how: RegistryArgs,
}

/// What was typed after `logout`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct LogoutArgs {
    /// The registry
    #[arg(value_name = "HOST[:PORT]", default_value = "docker.io")]
    pub registry: String,
    /// How registries are spoken to.
    #[command(flatten)]
    pub how: RegistryArgs,
}
