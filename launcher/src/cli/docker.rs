//! `cofferdam docker`: its own flags, and those of `run` that it passes on as they were typed.

use super::{DEFAULT_STATE_DIR, RunArgs};
use clap::{ArgAction, ArgMatches, Args, Command, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// The name of the one that stays, unless it is given another.
pub const DEFAULT_NAME: &str = "docker";

/// What was typed after `docker`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_flag = true,
    override_usage = "cofferdam docker [FLAGS] -- CMD...\n       cofferdam docker start|stop|status|shell",
    after_help = "CMD runs here, with DOCKER_HOST set to a socket that leads to a Docker daemon in a VM of its own.\n\
                  This directory is shared with it at the same path, so that docker run -v $PWD:/src works.\n\
                  Exit codes: CMD's own; 128+n ended by signal n; 125 cofferdam's own failure; 126 CMD cannot be\n\
                  invoked; 127 CMD not found."
)]
pub struct DockerArgs {
    /// One that stays.
    #[command(subcommand)]
    pub command: Option<DockerCommand>,
    /// The daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// What runs here
    #[arg(last = true, value_name = "CMD")]
    pub words: Vec<OsString>,
}

/// What is done with one that stays.
#[derive(Debug, Subcommand)]
pub enum DockerCommand {
    /// Start one that stays, and print what a shell is to evaluate
    Start(StartArgs),
    /// Stop it; what is in no volume goes with it
    Stop(NamedArgs),
    /// Say whether it runs and answers
    Status(NamedArgs),
    /// Run a shell, or another command, that finds it
    Shell(ShellArgs),
}

/// What was typed after `docker start`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct StartArgs {
    /// Its name
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
    /// The daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Which one it is about.
#[derive(Debug, Args)]
pub struct NamedArgs {
    /// Its name
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
    /// Where sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// What was typed after `docker shell`.
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// Which one.
    #[command(flatten)]
    pub named: NamedArgs,
    /// What runs here [default: $SHELL]
    #[arg(last = true, value_name = "CMD")]
    pub words: Vec<OsString>,
}

/// The daemon, and its sandbox.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// Image with dockerd [default: the one that came with cofferdam]
    #[arg(long, value_name = "IMAGE", help_heading = "Docker")]
    pub image: Option<String>,
    /// Keep its images, containers and volumes in this volume
    #[arg(long, value_name = "VOLUME", help_heading = "Docker")]
    pub cache: Option<String>,
    /// Do not share this directory with it
    #[arg(long, help_heading = "Docker")]
    pub no_share: bool,
    /// Give dockerd a flag, as in --daemon-arg=--registry-mirror=…
    #[arg(long, value_name = "FLAG", help_heading = "Docker", allow_hyphen_values = true)]
    pub daemon_arg: Vec<String>,
    /// Give up if it does not answer by then [default: 300]
    #[arg(long, value_name = "SECONDS", help_heading = "Docker")]
    pub start_timeout: Option<u32>,
    /// Flags of `run`.
    #[command(flatten)]
    pub run: RunFlags,
    /// Where images and sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR, help_heading = "Other")]
    pub state_dir: PathBuf,
    /// Say nothing but errors, and that there is no hardware wall
    #[arg(short, long, help_heading = "Other")]
    pub quiet: bool,
    /// Print this help
    #[arg(short, long, action = ArgAction::HelpShort, help_heading = "Other")]
    help: Option<bool>,
}

/// The flags of `run` that mean the same here.
const OF_RUN: [&str; 33] = [
    "env",
    "env_file",
    "stop_timeout",
    "timeout",
    "log_driver",
    "log_opt",
    "volume",
    "mount",
    "tmpfs",
    "publish_docker",
    "egress",
    "allow",
    "deny",
    "bandwidth",
    "limit_connections",
    "pcap",
    "dns",
    "dns_search",
    "dns_option",
    "add_host",
    "require_walls",
    "memory",
    "cpus",
    "pids_limit",
    "accel",
    "vm_memory",
    "vm_cpus",
    "disk_size",
    "kernel",
    "console",
    "boot_timeout",
    "pull",
    "authfile",
];

/// Flags of `run`, as they were typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFlags(pub Vec<OsString>);

impl RunFlags {
    /// Whether one of this name is among them.
    pub fn has(&self, flag: &str) -> bool {
        let is_it = |word: &OsString| {
            let rest = word.to_str().and_then(|word| word.strip_prefix(flag));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        self.0.iter().any(is_it)
    }
}

fn of_run() -> impl Iterator<Item = clap::Arg> {
    let all = RunArgs::augment_args(Command::new("run"));
    let wanted: Vec<_> =
        all.get_arguments().filter(|it| OF_RUN.contains(&it.get_id().as_str())).cloned().collect();
    wanted.into_iter()
}

impl Args for RunFlags {
    fn augment_args(command: Command) -> Command {
        command.args(of_run())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for RunFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut words = Vec::new();
        for argument in of_run() {
            let (id, Some(name)) = (argument.get_id().as_str(), argument.get_long()) else {
                continue;
            };
            if matches.value_source(id) != Some(clap::parser::ValueSource::CommandLine) {
                continue;
            }
            if !argument.get_action().takes_values() {
                words.push(format!("--{name}").into());
                continue;
            }
            for value in matches.get_raw(id).into_iter().flatten() {
                let mut word = OsString::from(format!("--{name}="));
                word.push(value);
                words.push(word);
            }
        }
        Ok(Self(words))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, Parsed, parse};

    fn typed(words: &str) -> DockerArgs {
        let words = words.split(' ').map(str::to_owned);
        match parse(["cofferdam", "docker"].map(str::to_owned).into_iter().chain(words)) {
            Ok(Parsed::Command(Command::Docker(args))) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_name_is_one_of_runs() {
        assert_eq!(of_run().count(), OF_RUN.len());
        assert!(of_run().all(|it| it.get_long().is_some()), "it is typed again by that");
    }

    #[test]
    fn flags_of_run_are_passed_on_as_they_were_typed() {
        let args = typed(
            "--cache c -e A=b --env=C --require-walls --vm-memory 2g --publish-docker -- x -y",
        );
        let words = [
            "--env=A=b",
            "--env=C",
            "--publish-docker=docker",
            "--require-walls",
            "--vm-memory=2g",
        ];
        assert_eq!(args.daemon.run.0, words.map(OsString::from));
        assert_eq!(args.words, ["x", "-y"]);
        assert!(args.daemon.run.has("--vm-memory") && args.daemon.run.has("--require-walls"));
        assert!(!args.daemon.run.has("--vm") && !args.daemon.run.has("--memory"));
    }

    #[test]
    fn one_that_stays_has_a_name() {
        match typed("start --vm-cpus 2").command {
            Some(DockerCommand::Start(StartArgs { name, daemon })) => {
                assert_eq!((name.as_str(), daemon.run.has("--vm-cpus")), (DEFAULT_NAME, true));
            }
            other => panic!("{other:?}"),
        }
    }
}
