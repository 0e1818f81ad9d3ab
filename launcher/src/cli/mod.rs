//! The command line: exactly what was typed, one file per command.
//!
//! Owns: names, short forms and help texts of flags. Never does: resolves, checks against this place,
//! or opens anything; [`crate::plan`] does the first two. Values with a syntax of their own (sizes,
//! limits, users) stay the text that was typed until there, so that every refusal is worded in one way.

pub mod archive;
pub mod audit;
pub mod bench;
pub mod cp;
pub mod docker;
pub mod doctor;
pub mod exec;
pub mod health;
pub mod images;
pub mod login;
pub mod logs;
pub mod manual;
pub mod network;
pub mod port;
pub mod ps;
pub mod run;
pub mod stats;
pub mod stop;
pub mod update;
pub mod volume;

pub use audit::AuditArgs;
pub use bench::BenchArgs;
pub use doctor::DoctorArgs;
pub use images::{ImageArgs, ImageCommand, ImagesArgs, PullArgs, PullPolicy, RmiArgs};
pub use ps::{PsArgs, RmArgs};
pub use run::{Accelerator, Profile, RunArgs, Shared, StorageKind};

use crate::error::{Explain, Failure};
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;

/// Where sandboxes, images and layers live unless `--state-dir` says otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/cofferdam";

/// Everything that was typed.
#[derive(Debug, Parser)]
#[command(
    name = "cofferdam",
    version,
    about = "Runs a container in a microVM of its own, from inside an unprivileged container",
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a container in a new microVM
    Run(Box<RunArgs>),
    /// Run a command here with a Docker daemon of its own, in a microVM
    Docker(Box<docker::DockerArgs>),
    /// Say whether `run` will work here, and what helps where it will not
    Doctor(DoctorArgs),
    /// Say which of the seven rules of isolation hold, here and for a container run like this
    Audit(AuditArgs),
    /// Measure what each layer of isolation costs
    Bench(Box<BenchArgs>),
    /// Pull images from registries
    Pull(PullArgs),
    /// Keep credentials for a registry, once it takes them
    Login(login::LoginArgs),
    /// Forget credentials for a registry
    Logout(login::LogoutArgs),
    /// List images
    Images(ImagesArgs),
    /// Remove images
    Rmi(RmiArgs),
    /// Put the images of an archive into the store
    Load(archive::LoadArgs),
    /// Write images to an archive, as docker save does
    Save(archive::SaveArgs),
    /// Look after images
    Image(ImageArgs),
    /// Look after volumes
    Volume(volume::VolumeArgs),
    /// Look after the state directory
    System(images::SystemArgs),
    /// Run a further process in a sandbox that runs
    Exec(exec::ExecArgs),
    /// Copy files and directories into a sandbox that runs, or out of it
    Cp(cp::CpArgs),
    /// Show what a detached sandbox has said
    Logs(logs::LogsArgs),
    /// Attach this terminal to a detached sandbox
    Attach(logs::AttachArgs),
    /// Stop sandboxes, in order
    Stop(stop::StopArgs),
    /// Start sandboxes again that have ended, in the background
    Start(stop::StartArgs),
    /// Stop sandboxes, and start them again
    Restart(stop::StopArgs),
    /// Have all processes of sandboxes stand still
    Pause(stop::StartArgs),
    /// Let those go on that are paused
    Unpause(stop::StartArgs),
    /// Send a signal to the first process of sandboxes
    Kill(stop::KillArgs),
    /// Wait for the end of sandboxes, and print their exit codes
    Wait(stop::WaitArgs),
    /// List sandboxes
    Ps(PsArgs),
    /// Give sandboxes' containers other limits
    Update(update::UpdateArgs),
    /// Give a sandbox another name
    Rename(ps::RenameArgs),
    /// Say what becomes of sandboxes, as it does
    Events(ps::EventsArgs),
    /// Say what sandboxes use that run
    Stats(stats::StatsArgs),
    /// List the processes of a sandbox's container
    Top(stats::TopArgs),
    /// Say where a sandbox's ports are published
    Port(port::PortArgs),
    /// Remove sandboxes that have ended
    Rm(RmArgs),
    /// Say all that is known of sandboxes, as JSON
    Inspect(ps::InspectArgs),
    /// Print what makes a shell complete words
    Completion(manual::CompletionArgs),
    /// Write manual pages
    Man(manual::ManArgs),
    /// Print a seccomp profile for the outer container, tighter than Docker's
    SeccompProfile,
}

/// What came of reading the command line.
#[derive(Debug)]
pub enum Parsed {
    /// A command.
    Command(Command),
    /// `--help` or `--version` was asked for: print this to stdout and exit with 0.
    Text(String),
}

/// A command line that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    message: String,
    hint: String,
}

impl Explain for UsageError {
    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// [`UsageError`], as a [`Failure`] of exit code 125, as Docker has it.
pub fn parse<I, T>(arguments: I) -> Result<Parsed, Failure>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => Ok(Parsed::Command(cli.command)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Parsed::Text(error.render().to_string()))
            }
            _ => Err(usage_error(&error, arguments.get(1)).into()),
        },
    }
}

/// Puts clap's several paragraphs into our two lines. `command` is the first word that was typed.
fn usage_error(error: &clap::Error, command: Option<&OsString>) -> UsageError {
    let rendered = error.render().to_string();
    let mut lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut message =
        lines.next().unwrap_or("bad arguments").trim_start_matches("error: ").to_owned();
    if message.ends_with(':') {
        let listed: Vec<&str> = lines.take_while(|line| !line.starts_with("Usage:")).collect();
        message = format!("{message} {}", listed.join(", "));
    } else if let Some(values) = lines.next().filter(|line| line.starts_with("[possible values")) {
        message = format!("{message} {values}");
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        message = "no command was given".to_owned();
    }
    let suggestion = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand]
        .iter()
        .chain(&[ContextKind::SuggestedValue])
        .find_map(|&kind| error.get(kind))
        .map(|value| format!("did you mean {value}? "))
        .unwrap_or_default();
    let known = Cli::command();
    let command = command.and_then(|word| known.find_subcommand(word)).map_or_else(
        || "cofferdam".to_owned(),
        |command| format!("cofferdam {}", command.get_name()),
    );
    UsageError { message, hint: format!("{suggestion}see {command} --help") }
}

#[cfg(test)]
mod tests;
