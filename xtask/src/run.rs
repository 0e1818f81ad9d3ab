//! `make run`: the demo. Host → Container → VM → Container, and what each layer allows.
//!
//! The same job runs twice, unchanged: in the outer container's place, where it must be refused, and in
//! the privileged container of the microVM, which the launcher starts from inside the outer container.

mod judge;
mod layers;
mod place;
mod report;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use self::layers::{Layer, Timings};
pub use self::place::Accelerator;
use self::place::Place;
use self::report::JobReport;
use crate::build::Built;
use crate::engine::Engine;
use crate::progress;
use crate::workspace::Workspace;
use crate::{images, process};

const STATE_VOLUME: &str = "cofferdam-demo-state:/var/lib/cofferdam";
const TIMINGS: &str = "/var/lib/cofferdam/demo-timings.json";
const JOB: &str = "/usr/local/bin/demo-job";
const DEMO_IMAGE: &str = "cofferdam-demo:latest";

/// Runs the demo with what was built, and gives who ran the VM.
///
/// # Errors
/// Those of the engine; and where a layer does not do what it must.
pub fn demo(
    workspace: &Workspace,
    built: &Built,
    wanted: Option<Accelerator>,
) -> Result<Accelerator> {
    let demo_image = images::demo(workspace)?;
    let begun = Instant::now();

    progress::heading("The outer container");
    let mut engine = Engine::choose()?;
    engine.load("cofferdam:latest", &built.image)?;
    engine.load("cofferdam:tcg", &built.tcg_image)?;
    engine.load(DEMO_IMAGE, &demo_image.docker_archive)?;
    engine.adapt("cofferdam:latest")?;
    let place = Place::survey(&engine, wanted)?;
    progress::say(&place.verdict);
    progress::say_command(&format!("{} run --rm {} …", engine.name(), place.flags.join(" ")));

    progress::heading("The job, in the outer container's place");
    let mut outer = unprivileged(&engine, &place);
    outer.args(["--env", "DEMO_SCRATCH=/dev/shm", "--entrypoint", JOB, DEMO_IMAGE]);
    let refused = JobReport::of(&mut outer)?;

    progress::heading("The same job, in a privileged container of a microVM started from there");
    let mount = format!("{}:/images/demo:ro", demo_image.oci.display());
    let mut launcher = unprivileged(&engine, &place);
    launcher.args(["--volume", STATE_VOLUME, "--volume", &mount, place.image, "run"]);
    launcher.args(place.accelerator_flags());
    launcher.args(["--rm", "--privileged", "--timings", TIMINGS, "oci:/images/demo", JOB]);
    progress::say_command(&process::shown(&launcher));
    let launched = Instant::now();
    let worked = JobReport::of(&mut launcher)?;
    let took = launched.elapsed();
    let timings = read_timings(&engine)?;

    let host_kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let rows = [
        Layer::host(&host_kernel, begun.elapsed())?,
        Layer::outer(&refused, took, &timings),
        Layer::microvm(&worked, &timings),
        Layer::inner(&worked, &timings),
    ];
    progress::block(&layers::table(&rows));
    progress::block(layers::WHAT_TOOK_MEANS);
    let complaints = judge::complaints(&host_kernel, &refused, &worked);
    ensure!(
        complaints.is_empty(),
        "the layers are not what they should be:\n{}",
        complaints.join("\n")
    );
    progress::heading("Refused outside, done inside: each layer is what it should be");
    Ok(place.accelerator)
}

/// An engine's `run` with nothing granted but what every platform allows, and the KVM.
fn unprivileged(engine: &Engine, place: &Place) -> Command {
    let mut command = engine.run();
    command.args(&place.flags);
    command
}

/// The launcher's own account of its time. It stands in the state volume, for nothing else in the outer
/// container can be written.
fn read_timings(engine: &Engine) -> Result<Timings> {
    let mut cat = engine.run();
    cat.args(["--network", "none", "--volume", STATE_VOLUME]);
    cat.args(["--entrypoint", "/bin/cat", "cofferdam:tcg", TIMINGS]);
    Timings::parse(&process::capture(&mut cat)?).context("the launcher's timings are not there")
}

/// Seconds, as the table shows them.
fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
