//! From the command line to the exit code: which command it is, and where its words go.

use crate::cli::images::{SystemArgs, SystemCommand};
use crate::cli::ps::InspectArgs;
use crate::cli::{self, Command, ImageCommand, Parsed};
use crate::error::{Failure, report};
use crate::{archives, disk_usage, images, login, outdated, pull, sandboxes, start, stop, volumes};
use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

/// The launcher, from its arguments to its exit code.
pub fn main() -> ExitCode {
    prepare();
    let done = match cli::parse(std::env::args_os()) {
        Ok(Parsed::Text(text)) => print(&text),
        Ok(Parsed::Command(command)) => match exit_code(command) {
            ControlFlow::Break(code) => return code,
            ControlFlow::Continue(command) => done(command),
        },
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

/// Of those that have an exit code of their own; any other command is given back.
fn exit_code(command: Command) -> ControlFlow<ExitCode, Command> {
    ControlFlow::Break(ExitCode::from(match command {
        Command::Run(args) if args.warden => crate::warden::run(&args),
        Command::Run(args) if args.detach && args.keeper.is_none() => crate::detached::run(&args),
        Command::Run(args) => crate::run::run(&args),
        Command::Docker(args) => crate::docker::main(&args),
        Command::Exec(args) => crate::exec::exec(&args),
        Command::Top(args) => crate::exec::top(&args),
        Command::Attach(args) => crate::attach::attach(&args),
        Command::Start(args) => start::start(&args),
        Command::Restart(args) => start::restart(&args),
        Command::Doctor(args) => return ControlFlow::Break(crate::doctor::main(&args)),
        Command::Audit(args) => return ControlFlow::Break(crate::audit::main(&args)),
        Command::Bench(args) => return ControlFlow::Break(crate::bench::main(&args)),
        other => return ControlFlow::Continue(other),
    }))
}

/// Does what either succeeds or fails.
fn done(command: Command) -> Result<(), Failure> {
    match command {
        Command::Pull(args) => image(&ImageCommand::Pull(args)),
        Command::Images(args) => image(&ImageCommand::Ls(args)),
        Command::Rmi(args) => image(&ImageCommand::Rm(args)),
        Command::Image(args) => image(&args.command),
        Command::Login(args) => login::login(&args).and_then(|text| print(&text)),
        Command::Logout(args) => login::logout(&args).and_then(|text| print(&text)),
        Command::Load(args) => archives::load(&args).and_then(|text| print(&text)),
        Command::Save(args) => confined().and_then(|()| archives::save(&args)),
        Command::System(SystemArgs { command }) => {
            let text = confined().and_then(|()| match command {
                SystemCommand::Df(args) => disk_usage::df(&args),
                SystemCommand::Limit(args) => disk_usage::limit(&args),
            });
            text.and_then(|text| print(&text))
        }
        Command::SeccompProfile => print(&crate::engine_profile::json()),
        Command::Completion(args) => print(&cli::manual::completion(&args)),
        Command::Man(args) => cli::manual::man(&args),
        other => with_sandboxes(other),
    }
}

/// The same with sandboxes, and what they leave.
fn with_sandboxes(command: Command) -> Result<(), Failure> {
    let text = match command {
        Command::Logs(args) => return crate::logs::logs(&args),
        Command::Cp(args) => return crate::copy::copy(&args),
        Command::Stats(args) => return crate::stats::stats(&args),
        Command::Stop(args) => stop::stop(&args),
        Command::Kill(args) => stop::kill(&args),
        Command::Pause(args) => stop::pause(&args, true),
        Command::Unpause(args) => stop::pause(&args, false),
        Command::Wait(args) => stop::wait(&args),
        Command::Ps(args) => confined().and_then(|()| sandboxes::ps(&args)),
        Command::Update(args) => crate::update::update(&args),
        Command::Rename(args) => stop::rename(&args),
        Command::Events(args) => return crate::events::events(&args),
        Command::Port(args) => confined().and_then(|()| sandboxes::port(&args)),
        Command::Inspect(args) => {
            // Where this process is, it does not know once it is walled in.
            let state_dir = std::path::absolute(&args.state_dir).unwrap_or(args.state_dir);
            let args = InspectArgs { state_dir, ..args };
            confined().and_then(|()| sandboxes::inspect(&args))
        }
        Command::Rm(args) if args.force => sandboxes::rm(&args),
        Command::Rm(args) => confined().and_then(|()| sandboxes::rm(&args)),
        Command::Volume(args) => confined().and_then(|()| volumes::main(&args)),
        // What is done elsewhere does not come here.
        _ => Ok(String::new()),
    };
    print(&text?)
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
