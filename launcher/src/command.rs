//! From the command line to the exit code: which command it is, and where its words go.

use crate::cli::images::{SystemArgs, SystemCommand};
use crate::cli::{self, Command, ImageCommand, Parsed};
use crate::error::{Failure, report};
use crate::{archives, disk_usage, images, login, outdated, pull, sandboxes, stop, volumes};
use std::io::Write;
use std::process::ExitCode;

/// The launcher, from its arguments to its exit code.
pub fn main() -> ExitCode {
    prepare();
    let done = match cli::parse(std::env::args_os()) {
        Ok(Parsed::Text(text)) => print(&text),
        Ok(Parsed::Command(Command::Run(args))) if args.detach && args.keeper.is_none() => {
            return ExitCode::from(crate::detached::run());
        }
        Ok(Parsed::Command(Command::Run(args))) => return ExitCode::from(crate::run::run(&args)),
        Ok(Parsed::Command(Command::Docker(args))) => {
            return ExitCode::from(crate::docker::main(&args));
        }
        Ok(Parsed::Command(Command::Exec(args))) => {
            return ExitCode::from(crate::exec::exec(&args));
        }
        Ok(Parsed::Command(Command::Doctor(args))) => return crate::doctor::main(&args),
        Ok(Parsed::Command(Command::Audit(args))) => return crate::audit::main(&args),
        Ok(Parsed::Command(Command::Bench(args))) => return crate::bench::main(&args),
        Ok(Parsed::Command(Command::Pull(args))) => image(&ImageCommand::Pull(args)),
        Ok(Parsed::Command(Command::Images(args))) => image(&ImageCommand::Ls(args)),
        Ok(Parsed::Command(Command::Rmi(args))) => image(&ImageCommand::Rm(args)),
        Ok(Parsed::Command(Command::Image(args))) => image(&args.command),
        Ok(Parsed::Command(Command::Login(args))) => {
            login::login(&args).and_then(|text| print(&text))
        }
        Ok(Parsed::Command(Command::Logout(args))) => {
            login::logout(&args).and_then(|text| print(&text))
        }
        Ok(Parsed::Command(Command::System(SystemArgs { command }))) => {
            let text = confined().and_then(|()| match command {
                SystemCommand::Df(args) => disk_usage::df(&args),
                SystemCommand::Limit(args) => disk_usage::limit(&args),
            });
            text.and_then(|text| print(&text))
        }
        Ok(Parsed::Command(Command::Load(args))) => {
            archives::load(&args).and_then(|text| print(&text))
        }
        Ok(Parsed::Command(Command::Save(args))) => confined().and_then(|()| archives::save(&args)),
        Ok(Parsed::Command(Command::Volume(args))) => {
            confined().and_then(|()| volumes::main(&args)).and_then(|text| print(&text))
        }
        Ok(Parsed::Command(Command::Attach(args))) => {
            return ExitCode::from(crate::attach::attach(&args));
        }
        Ok(Parsed::Command(Command::Logs(args))) => crate::logs::logs(&args),
        Ok(Parsed::Command(Command::Stop(args))) => stop::stop(&args).and_then(|it| print(&it)),
        Ok(Parsed::Command(Command::Kill(args))) => stop::kill(&args).and_then(|it| print(&it)),
        Ok(Parsed::Command(Command::Wait(args))) => stop::wait(&args).and_then(|it| print(&it)),
        Ok(Parsed::Command(Command::Cp(args))) => crate::copy::copy(&args),
        Ok(Parsed::Command(Command::Ps(args))) => {
            confined().and_then(|()| sandboxes::ps(&args)).and_then(|text| print(&text))
        }
        Ok(Parsed::Command(Command::Port(args))) => {
            confined().and_then(|()| sandboxes::port(&args)).and_then(|text| print(&text))
        }
        Ok(Parsed::Command(Command::Stats(args))) => crate::stats::stats(&args),
        Ok(Parsed::Command(Command::Rm(args))) if args.force => {
            sandboxes::rm(&args).and_then(|text| print(&text))
        }
        Ok(Parsed::Command(Command::Rm(args))) => {
            confined().and_then(|()| sandboxes::rm(&args)).and_then(|text| print(&text))
        }
        Ok(Parsed::Command(Command::SeccompProfile)) => print(&crate::engine_profile::json()),
        Err(failure) => Err(failure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What is done with images. Pulling walls itself in once it knows how to reach the registries.
fn image(command: &ImageCommand) -> Result<(), Failure> {
    let text = match command {
        ImageCommand::Pull(args) => pull::pull(args),
        ImageCommand::Ls(args) if args.outdated => outdated::outdated(args),
        ImageCommand::Ls(args) => confined().and_then(|()| images::images(args)),
        ImageCommand::Rm(args) => confined().and_then(|()| images::rmi(args)),
        ImageCommand::Inspect(args) => confined().and_then(|()| images::inspect(args)),
        ImageCommand::Prune(args) => confined().and_then(|()| images::prune(args)),
    };
    print(&text?)
}

/// Walls this process in.
fn confined() -> Result<(), Failure> {
    crate::jail::confine_launcher(false).map_err(Failure::plain)
}

/// As many descriptors as any sandbox takes.
const ENOUGH_DESCRIPTORS: u64 = 4096;

/// Puts right what whoever started this process may have left it with.
fn prepare() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    crate::sys::keep_ended_children();
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(ENOUGH_DESCRIPTORS, |hard| hard.min(ENOUGH_DESCRIPTORS));
    if current.is_some_and(|soft| soft < wanted) {
        // Where it is refused, what there is may do.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

/// Writes to standard output. A reader that has gone away is no failure.
///
/// # Errors
/// Any other of writing.
pub fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::plain(error)),
        _ => Ok(()),
    }
}
