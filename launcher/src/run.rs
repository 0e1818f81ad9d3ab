//! `cofferdam run`, one line per stage: arguments → plan → image → machine → handshake → container
//! → outcome → exit code.
//!
//! Owns: the order of the stages. Never does: a stage's own work.

use crate::accelerator::{self, Choice, Machine};
use crate::agent_client::AgentClient;
use crate::cli::RunArgs;
use crate::container_spec::container_spec;
use crate::error::{Failure, clean};
use crate::host::{HostFacts, NamedInputs};
use crate::jail::channel::Channel;
use crate::outcome::Outcome;
use crate::plan::{ProcessPlan, RunPlan};
use crate::pull;
use crate::sandbox::Sandbox;
use crate::session::terminal::{self, Signals};
use crate::session::{Ending, SupervisorMessage};
use crate::streams::Streams;
use crate::supervisor::{Job, Supervisor};
use crate::timings::Clock;
use std::io::Write;

/// Runs a container in a new microVM, with this process's terminal as its own. Gives the exit code.
pub fn run(args: &RunArgs) -> u8 {
    let ending = match attached(args) {
        Ok(ending) => ending,
        Err(failure) => ending_of(&failure),
    };
    if let Some(message) = ending.message {
        let failure = Failure::plain(message);
        crate::command::report(&match ending.hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        });
    }
    ending.exit_code
}

/// The terminal side runs beside the rest from the first moment, because signals may come at any.
fn attached(args: &RunArgs) -> Result<Ending, Failure> {
    let clock = Clock::start();
    let signals = Signals::take().map_err(Failure::plain)?;
    let (supervisor_end, terminal_end) = Channel::pair().map_err(Failure::plain)?;
    let terminal = std::thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(move || terminal::attach(&terminal_end, &signals))
        .map_err(Failure::plain)?;
    let ending = match stages(args, &supervisor_end, clock) {
        Ok(outcome) => outcome.ending(),
        Err(failure) => ending_of(&failure),
    };
    let message = SupervisorMessage::Ended(ending);
    supervisor_end.send(&message, &[]).map_err(Failure::plain)?;
    match terminal.join() {
        Ok(ending) => ending.map_err(Failure::plain),
        Err(_) => Err(Failure::plain("the terminal side failed")),
    }
}

fn stages(args: &RunArgs, session: &Channel, mut clock: Clock) -> Result<Outcome, Failure> {
    let inputs = NamedInputs::read(args)?;
    let plan = RunPlan::resolve(args, &inputs, &HostFacts::ask())?;
    plan.warnings.iter().for_each(|warning| say(&plan, warning));
    clock.reached("plan");

    let path = std::env::var("PATH").unwrap_or_default();
    let choice = accelerator::choose(plan.sandbox.accelerator, &path)?;
    if let Choice::Tcg { reason: Some(reason), .. } = &choice {
        say(&plan, &format!("{reason}: using QEMU's TCG, which is slow and no hardware wall"));
    }
    clock.reached("accelerator");

    let image = pull::image(&plan)?;
    clock.reached("image");

    let sandbox = Sandbox::create(&plan, &image)?;
    let process = plan.with_image(&pull::defaults(&image), sandbox.id().as_str())?;
    let mut streams = Streams::make(&plan)?;
    let parts = sandbox.machine_parts(&plan, image.layers, streams.take_offers())?;
    let mut machine = Machine::start(&choice, &parts).map_err(Failure::plain)?;
    // The machine's processes have their own copies: ours would keep streams open that should end.
    drop(parts);
    clock.reached("machine");

    let agent = AgentClient::new(streams.take_control()?);
    streams.hand_to(session).map_err(Failure::plain)?;
    let spec = container_spec(&plan, &process, sandbox.names()?, sandbox.layers(), streams.ports());
    let job = job(&plan, &process, &choice, spec);
    let mut supervisor = Supervisor::new(&mut machine, agent, session, job);
    let outcome = supervisor.run();
    clock.supervised(&supervisor.timings);
    drop(machine);
    clock.reached("teardown");

    sandbox.end(&outcome)?;
    clock.write(args.timings.as_deref())?;
    Ok(outcome)
}

fn job(
    plan: &RunPlan,
    process: &ProcessPlan,
    choice: &Choice,
    spec: protocol::ContainerSpec,
) -> Job {
    Job {
        spec,
        boot_timeout: plan.sandbox.boot_timeout.unwrap_or(choice.boot_timeout()),
        timeout: plan.sandbox.timeout,
        stop_signal: process.stop_signal,
        stop_timeout: plan.sandbox.stop_timeout,
        keep_disk: !plan.sandbox.remove,
    }
}

/// Says something on standard error, unless the user wants quiet.
fn say(plan: &RunPlan, words: &str) {
    if !plan.sandbox.quiet {
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "cofferdam: {}", clean(words));
    }
}

fn ending_of(failure: &Failure) -> Ending {
    Ending {
        exit_code: failure.exit_code(),
        message: Some(failure.message()),
        hint: failure.hint().map(str::to_owned),
    }
}
