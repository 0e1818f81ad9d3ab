//! `cofferdam run --sandbox`: a container in a sandbox that runs, beside what runs there.
//!
//! Owns: the order of what is done for it; each stage is [`crate::run`]'s, but that there is a machine already, whose
//! supervisor is asked as by `cofferdam exec`.

use crate::cli::{RunArgs, Shared};
use crate::container_spec::{Disks, Names, StreamPorts, container_spec, extents, mounts};
use crate::control::RunningSandbox;
use crate::error::{Explain, Failure, say};
use crate::host::{HostFacts, NamedInputs};
use crate::jail::{self, Reach};
use crate::plan::{ProcessPlan, RunPlan};
use crate::pull::{self, Means};
use crate::run::{close_in, fitting};
use crate::sandbox;
use crate::session::signals::Signals;
use crate::session::{ContainerRequest, ControlRequest, Ending, terminal};
use image::Image;
use image::store::StoredFile;
use protocol::{ContainerSpec, NamespaceRef};
use std::os::fd::AsFd;
use std::path::Path;

/// Why no container can be added.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// What only a sandbox can have from its beginning.
    #[error("{0} cannot be added to a sandbox that runs")]
    OfTheSandbox(&'static str),
}

impl Explain for JoinError {
    fn hint(&self) -> Option<String> {
        Some("give it to the sandbox's own run, or copy what is needed (cofferdam cp)".to_owned())
    }
}

/// Runs a container in a sandbox that runs. Gives how it ended.
///
/// # Errors
/// Where it cannot be started.
pub fn joined(args: &RunArgs, wanted: &str) -> Result<Ending, Failure> {
    let means = pull::means(args.image(), args.pull, &args.registry, &args.state_dir)?;
    let running = RunningSandbox::reach(&args.state_dir, wanted)?;
    jail::confine_launcher(means.registries.is_some()).map_err(Failure::plain)?;
    let plan = RunPlan::resolve(args, &NamedInputs::read(args)?, &HostFacts::ask())?;
    let image = fetched(&plan, means)?;
    let names = Names::of_first(sandbox::random_id()?)?;
    let process = plan.with_image(&pull::defaults(&image), names.container.as_str())?;
    if !plan.sandbox.quiet {
        process.note.iter().for_each(|note| say(note));
    }
    let mut spec = spec(&plan, &process, names, &image)?;
    for kind in &args.share {
        let first = NamespaceRef::Container(running.id().clone());
        match kind {
            Shared::Network => spec.namespaces.network = first,
            Shared::Pid => spec.namespaces.pid = first,
            Shared::Ipc => spec.namespaces.ipc = first,
        }
    }
    let file_systems = image.file_systems();
    let (lengths, files): (Vec<u64>, Vec<_>) =
        image.into_files().map(|StoredFile { file, length }| (length, file)).unzip();
    let request = ContainerRequest { spec, files: lengths, file_systems };
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    // Until now they ended this process, and there was nothing to be told.
    let signals = Signals::take().map_err(Failure::plain)?;
    running.ask(&ControlRequest::Container(Box::new(request)), &files)?;
    let ending = terminal::attach(running.channel(), &signals, None);
    Ok(ending.map_err(|error| running.failed(error))?)
}

/// The image; and what fetching it took is taken back.
fn fetched(plan: &RunPlan, means: Means) -> Result<Image, Failure> {
    let fetching = means.registries.is_some();
    let read = means.directory().map(Path::to_owned).into_iter().collect();
    close_in(plan, Reach { read, ..Reach::default() }, fetching)?;
    let image = pull::image(plan, means)?;
    if fetching {
        jail::end_fetching().map_err(Failure::plain)?;
        close_in(plan, Reach::default(), false)?;
    }
    Ok(image)
}

/// What the agent is to be told, but for what the supervisor knows.
fn spec(
    plan: &RunPlan,
    process: &ProcessPlan,
    names: Names,
    image: &Image,
) -> Result<ContainerSpec, Failure> {
    if !plan.container.shares.is_empty() {
        return Err(JoinError::OfTheSandbox("a shared directory").into());
    }
    if process.volumes.iter().any(|volume| volume.volume.is_some()) {
        return Err(JoinError::OfTheSandbox("a named volume").into());
    }
    let disks = Disks { layers: extents(&image.file_systems())?, writable: Vec::new() };
    let mounts = mounts(plan, process, &disks, |_| None);
    let ports = StreamPorts::for_plan(plan);
    fitting(container_spec(plan, process, names, disks, mounts, ports))
}
