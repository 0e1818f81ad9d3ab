//! `cofferdam run`, one line per stage: arguments → plan → image → machine → handshake → container
//! → outcome → exit code.
//!
//! Owns: the order of the stages. Never does: a stage's own work.

use crate::accelerator::{self, Choice, Machine};
use crate::agent_client::AgentClient;
use crate::beside::Beside;
use crate::cli::run::{Keeper, LogDriver};
use crate::cli::{Accelerator, RunArgs};
use crate::container_spec::{Disks, Names, StreamPorts, container_spec, extents, mounts};
use crate::detached::Starter;
use crate::error::{Failure, say};
use crate::host::{HostFacts, NamedInputs};
use crate::jail::channel::Channel;
use crate::jail::{self, Reach};
use crate::last_words::LastWords;
use crate::layers_disk::LayersDisk;
use crate::log::Limits;
use crate::outcome::Outcome;
use crate::outer_walls::{self, Around, WallsMissing};
use crate::plan::{ProcessPlan, RunPlan, disk_size};
use crate::pull::{self, Means};
use crate::sandbox::{Begins, NamedFiles, Sandbox};
use crate::session::keeper::{self, Keeping};
use crate::session::signals::Signals;
use crate::session::{Ending, SupervisorMessage, terminal};
use crate::start::Beginning;
use crate::streams::Streams;
use crate::supervisor::{DockerPorts, Gate, Health, Job, Neighbours, Notes, Supervisor, Visitors};
use crate::timings::Clock;
use crate::volumes::OfRun;
use protocol::{ContainerSpec, Program, Request};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Runs a container in a new microVM, with this process's terminal as its own. Gives the exit code.
pub fn run(args: &RunArgs) -> u8 {
    told(attached(args))
}

/// Tells the user how it ended; gives the exit code.
pub fn told(ending: Result<Ending, Failure>) -> u8 {
    let ending = match ending {
        Ok(ending) => ending,
        Err(failure) => ending_of(&failure),
    };
    if let Some(message) = ending.message {
        let failure = Failure::plain(message);
        crate::error::report(&match ending.hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        });
    }
    ending.exit_code
}

/// The terminal side runs beside the rest from the first moment, because signals may come at any.
fn attached(args: &RunArgs) -> Result<Ending, Failure> {
    if let Some(sandbox) = &args.sandbox {
        return crate::join::joined(args, sandbox);
    }
    let beginning = Beginning::of(args)?;
    let args = &beginning.args;
    let clock = Clock::start();
    let starter = args.keeper.map(|kind| Starter::take(kind == Keeper::Bound)).transpose()?;
    let limits = Limits::from_options(&args.log_opt)?;
    // Asked now: soon this process walls itself in, and whose wall is which cannot be told any more.
    let around = args.require_walls.then(Around::ask);
    let means = pull::means(args.image(), args.pull, &args.registry, &args.state_dir)?;
    // They are to reach what this process never will.
    let mut beside = Beside::start(args)?;
    jail::confine_launcher(means.registries.is_some()).map_err(Failure::plain)?;
    let signals = Signals::take().map_err(Failure::plain)?;
    let (supervisor_end, terminal_end) = Channel::pair().map_err(Failure::plain)?;
    let limits = (args.log_driver == LogDriver::K8sFile).then_some(limits);
    let keeping = Keeping { state_dir: args.state_dir.clone(), limits };
    let terminal = std::thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(move || match starter {
            Some(starter) => keeper::keep(&terminal_end, &signals, starter, &keeping),
            None => terminal::attach(&terminal_end, &signals, None),
        })
        .map_err(Failure::plain)?;
    let around = around.as_ref();
    let done = stages(&beginning, means, around, &mut beside, &supervisor_end, clock);
    let ending = done.map_or_else(|failure| ending_of(&failure), |outcome| outcome.ending());
    // It puts the terminal's mode back: it is waited for whether it can be told or not.
    if supervisor_end.send(&SupervisorMessage::Ended(ending), &[]).is_err() {
        drop(supervisor_end);
    }
    match terminal.join() {
        Ok(ending) => ending.map_err(Failure::plain),
        Err(_) => Err(Failure::plain("the terminal side failed")),
    }
}

fn stages(
    beginning: &Beginning,
    means: Means,
    around: Option<&Around>,
    beside: &mut Beside,
    session: &Channel,
    mut clock: Clock,
) -> Result<Outcome, Failure> {
    let (args, inputs) = (&beginning.args, beginning.inputs()?);
    let (plan, choice) = planned(args, &inputs, &mut clock)?;
    around.map_or(Ok(()), |around| require_walls(around, &choice))?;
    beside.connect(choice.link())?;
    let mut files = NamedFiles::open(&plan, args.timings.as_deref())?;
    let timings = files.take_timings();
    close_in(&plan, reach(&choice, &files, means.directory()), means.registries.is_some())?;
    args.audited.then(crate::audit::tell_reach).transpose().map_err(Failure::plain)?;
    let (last_words, console) = LastWords::or_everything(files.take_console())?;

    let image = fetched(&plan, &choice, &files, means)?;
    let begins = Begins::of(beginning, &inputs, &image)?;
    let process = plan.with_image(&pull::defaults(&image), begins.id.as_str())?;
    process.note.iter().filter(|_| !plan.sandbox.quiet).for_each(|note| say(note));
    let usual = disk_size::resolve("--disk-size", None)?;
    let volumes = OfRun::hold(&plan.sandbox.state_dir, &process.volumes, &usual)?;
    let names = Names::of_first(begins.id.clone())?;
    let network = beside.network();
    let spec = spec(&plan, &process, names, &image.file_systems(), &volumes, network)?;
    let job = job(&plan, &process, &choice, spec);
    clock.reached("image");

    let ports = beside.published()?;
    let mut sandbox = Sandbox::begin(&plan, &image, begins, volumes.give(), ports)?;
    let control = sandbox.listen()?;
    let gate = Gate::new(sandbox.publish_sockets()?);
    session.send(&SupervisorMessage::Kept(sandbox.id().clone()), &[]).map_err(Failure::plain)?;
    let mut streams = Streams::make(&plan)?;
    let (layers, layers_line) = layers_disk(&image)?;
    let (offers, line) = streams.take_offers()?;
    let mut parts =
        sandbox.machine_parts(&plan, files, console, image, (offers, (line, layers_line)));
    parts.counted = timings.is_some();
    beside.give(&mut parts);
    let mut machine = Machine::start(&choice, &parts).map_err(Failure::plain)?;
    // The machine's processes have their own copies: ours would keep streams open that should end.
    drop(parts);
    clock.reached("machine");

    let agent = AgentClient::new(streams.take_control()?);
    streams.hand_to(session).map_err(Failure::plain)?;
    let kept = RefCell::new(&mut sandbox);
    let neighbours = neighbours(beside, plan.sandbox.quiet, &kept);
    let mut supervisor = Supervisor::new(&mut machine, agent, session, job, neighbours);
    let visitors = Visitors::new(control, streams.into_line(), layers);
    let visitors = visitors.with_gate(gate, plan.container.sockets.clone());
    supervisor.admit(visitors, process.health.map(Health::new), notes(&kept));
    let outcome = supervisor.run();
    clock.supervised(&supervisor.timings);
    let (is_asked, visitors) = supervisor.into_visitors();
    clock.counted(machine.take_counts());
    drop(machine);
    let outcome = outcome.explained(|| last_words.reason());
    clock.reached("teardown");
    ended(sandbox, &outcome, is_asked);
    // Now that it is recorded.
    visitors.into_iter().for_each(|visitors| visitors.end(&outcome.ending()));
    if let Some(Err(error)) = timings.map(|file| clock.write(&file)) {
        say(&format!("cannot write the timings: {error}"));
    }
    Ok(outcome)
}

/// Those beside the machine, as its supervisor knows them.
fn neighbours<'a>(
    beside: &'a Beside,
    quiet: bool,
    sandbox: &'a RefCell<&mut Sandbox>,
) -> Neighbours<'a> {
    let docker = beside.docker_ports().map(|how| {
        let keep = |ports| drop(sandbox.borrow_mut().publishes_besides(ports));
        DockerPorts::new(how, Box::new(keep))
    });
    Neighbours { processes: beside.watched(), orders: beside.orders(quiet), docker }
}

/// Where it is noted what becomes of a sandbox. A record that cannot be written is one that says less.
fn notes<'a>(sandbox: &'a RefCell<&mut Sandbox>) -> Notes<'a> {
    Box::new(|note| drop(sandbox.borrow_mut().note(note)))
}

/// Removes a sandbox, or records how it ended; and says where there is no room left for what the guest has written.
fn ended(sandbox: Sandbox, outcome: &Outcome, is_asked: bool) {
    if sandbox.is_out_of_room() {
        crate::error::report(
            &Failure::plain(
                "the state directory has no room left: writes in the sandbox may have failed",
            )
            .with_hint("free some space in it, or give it a larger volume"),
        );
    }
    // It has ended as it has: what cannot be written now changes nothing about that.
    if let Err(failure) = sandbox.end(outcome, is_asked) {
        say(&failure.message());
    }
}

/// What the agent is told.
fn spec(
    plan: &RunPlan,
    process: &ProcessPlan,
    names: Names,
    layers: &[u64],
    volumes: &OfRun,
    network: Option<protocol::Network>,
) -> Result<ContainerSpec, Failure> {
    let writable = [vec![plan.sandbox.disk.bytes()], volumes.lengths()].concat();
    let disks = Disks { layers: extents(layers)?, writable: extents(&writable)? };
    let mounts = mounts(plan, process, &disks, |name| volumes.place(name));
    let ports = StreamPorts::for_plan(plan);
    fitting(ContainerSpec { network, ..container_spec(plan, process, names, disks, mounts, ports) })
}

/// What is to be run, and by whom.
fn planned(
    args: &RunArgs,
    inputs: &NamedInputs,
    clock: &mut Clock,
) -> Result<(RunPlan, Choice), Failure> {
    let facts = HostFacts::ask();
    let mut plan = RunPlan::resolve(args, inputs, &facts)?;
    clock.reached("plan");

    let path = std::env::var("PATH").unwrap_or_default();
    let choice = accelerator::choose(plan.sandbox.accelerator, &path)?;
    if let Choice::Tcg { reason: Some(reason), .. } = &choice {
        // Said even with --quiet: the hardware's wall is not there, and nobody has asked for that.
        say(&format!("{reason}: using QEMU's TCG, which is slow and no hardware wall"));
        // QEMU takes memory of its own, of which the plan knows nothing yet.
        let mut args = args.clone();
        args.accel = Accelerator::Tcg;
        plan = RunPlan::resolve(&args, inputs, &facts)?;
    }
    if !plan.sandbox.quiet {
        plan.warnings.iter().for_each(|warning| say(warning));
    }
    clock.reached("accelerator");
    Ok((plan, choice))
}

/// Goes on only where no wall is missing.
fn require_walls(around: &Around, choice: &Choice) -> Result<(), WallsMissing> {
    let emulated = matches!(choice, Choice::Tcg { reason: Some(_), .. });
    let missing = outer_walls::missing(around, emulated);
    if missing.is_empty() { Ok(()) } else { Err(WallsMissing(missing)) }
}

/// What whoever runs the machine reaches by name, and where signatures are read.
fn reach<'a>(choice: &Choice, files: &'a NamedFiles, signatures: Option<&Path>) -> Reach<'a> {
    let mut reach = match choice {
        Choice::Tcg { qemu, .. } => jail::qemu::reach(qemu),
        Choice::Kvm(_) => Reach::default(),
    };
    reach.read.extend(signatures.map(Path::to_owned));
    reach.again.extend(files.for_qemu());
    reach
}

/// Leaves this process, and all it starts, no more to reach by name than `reach` and what any run takes.
///
/// # Errors
/// Where it cannot be done though the kernel can.
pub fn close_in(plan: &RunPlan, mut reach: Reach<'_>, fetching: bool) -> Result<(), Failure> {
    let reference: image::Reference = plan.image.parse()?;
    let state_dir = &plan.sandbox.state_dir;
    // Made first, so that it is there to be left open. Where it cannot be, whoever needs it says so.
    let _ = std::fs::create_dir_all(state_dir);
    reach.execute.push("/proc/self/exe".into());
    reach.read.extend(reference.path().map(Path::to_owned));
    if fetching {
        let more = jail::fetch::reach();
        reach.read.extend(more.read);
        reach.network = more.network;
    }
    reach.write.push(state_dir.clone());
    reach.devices.push("/dev/null".into());
    jail::close_launcher_in(&reach).map_err(Failure::plain)
}

/// The disk of the image's layers, as it may grow, and the machine's end of its line.
fn layers_disk(image: &image::Image) -> Result<(LayersDisk, OwnedFd), Failure> {
    let end = image.file_systems().iter().fold(0, |end: u64, length| end.saturating_add(*length));
    LayersDisk::of(end).map_err(|errno| Failure::plain(format!("cannot make a line: {errno}")))
}

/// The image; and what fetching it took is taken back, for nothing that a guest does may lead to a network.
fn fetched(
    plan: &RunPlan,
    choice: &Choice,
    files: &NamedFiles,
    means: Means,
) -> Result<image::Image, Failure> {
    let fetching = means.registries.is_some();
    let image = pull::image(plan, means)?;
    if fetching {
        jail::end_fetching().map_err(Failure::plain)?;
        close_in(plan, reach(choice, files, None), false)?;
    }
    Ok(image)
}

/// The same, if the agent can be told it: else it would be found out after the boot.
///
/// # Errors
/// Where it cannot.
pub fn fitting(spec: ContainerSpec) -> Result<ContainerSpec, Failure> {
    let request = Request::Start(Box::new(spec.clone()));
    match request.encode() {
        Ok(_) => Ok(spec),
        Err(error) => Err(Failure::plain(error)
            .with_context("cannot ask the guest agent for this container")
            .with_hint("write what is long to a file that the container reads")),
    }
}

fn job(plan: &RunPlan, process: &ProcessPlan, choice: &Choice, spec: ContainerSpec) -> Job {
    let boot_timeout = plan.sandbox.boot_timeout.unwrap_or(choice.boot_timeout());
    let (timeout, stop_timeout) = match spec.init.program {
        // It has little to do, but a guest that lies would never be done: what a boot may take is enough.
        Program::Witness => (Some(boot_timeout), Some(Duration::ZERO)),
        _ => (plan.sandbox.timeout, plan.sandbox.stop_timeout),
    };
    Job {
        spec,
        boot_timeout,
        timeout,
        stop_signal: process.stop_signal,
        stop_timeout,
        keep_disk: !plan.sandbox.remove || has_lasting_places(plan, process),
        detached: plan.sandbox.detached,
    }
}

/// Whether what the guest's kernel has not written yet would be missed: in a volume, or in what is shared.
fn has_lasting_places(plan: &RunPlan, process: &ProcessPlan) -> bool {
    process.volumes.iter().any(|volume| volume.volume.is_some())
        || plan.container.shares.iter().any(|share| !share.readonly)
}

fn ending_of(failure: &Failure) -> Ending {
    let hint = failure.hint().map(str::to_owned);
    Ending::new(failure.exit_code(), Some(failure.message()), hint)
}

#[cfg(test)]
mod tests;
