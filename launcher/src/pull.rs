//! The image of a run, and `cofferdam pull`: from a reference to layers in the store, with progress for whoever
//! waits.
//!
//! Owns: whether a registry may have to be asked, and what the user sees meanwhile. Never does: parse a layer, or
//! speak to a registry; processes of their own do.

pub(crate) mod progress;

use crate::cli::images::{PullArgs, PullPolicy, RegistryArgs};
use crate::error::{Explain, Failure, say};
use crate::jail::unpack::JailedUnpacker;
use crate::jail::{self, Reach};
use crate::plan::{ImageDefaults, RunPlan};
use crate::registries::{self, Registries};
use crate::session::ends_a_process;
use crate::session::signals::Signals;
use image::fetch::{FetchError, FetchFailure, Pull};
use image::layer::Limits;
use image::manifest::Platform;
use image::policy::{Policy, PolicyError};
use image::reference::ReferenceError;
use image::reference::name::ImageName;
use image::source::SourceError;
use image::store::StoreError;
use image::{AtHand, Image, ImageError, LayerError, Reference, Request, Store};
use progress::{Afterwards, Progress};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

// Whatever image is prepared can be told to the agent.
const _: () = assert!(image::manifest::MAX_LAYERS <= protocol::limits::MAX_LAYERS);

const ROOM_HINT: &str =
    "free space on the volume of the state directory (--state-dir), or give it a larger one";

const LIMIT_HINT: &str = "cofferdam image prune removes what no image needs; cofferdam system limit lets the store take more";

impl Explain for ImageError {
    fn hint(&self) -> Option<String> {
        if self.is_out_of_room() {
            return Some(ROOM_HINT.to_owned());
        }
        match self {
            Self::Source { source, .. } => match &**source {
                SourceError::Fetch { source, host } => fetch_hint(source, host),
                SourceError::NotPulled(_) => Some("--pull missing, or cofferdam pull".to_owned()),
                _ => None,
            },
            Self::Policy { source: PolicyError::NotSigned { .. }, .. } => {
                Some("signatures come with the image when it is pulled (cofferdam pull), GPG's from where registries.d says".to_owned())
            }
            Self::Policy { .. } => {
                Some("name an image that the policy accepts, or change it (--policy)".to_owned())
            }
            Self::Layer { source, .. } | Self::Tree { source, .. } => match &**source {
                LayerError::Fetch(failure) => fetch_hint(failure, "HOST"),
                LayerError::Store(error) => error.hint(),
                _ => None,
            },
        }
    }
}

/// What helps where a registry does not give what it is asked for.
fn fetch_hint(failure: &FetchFailure, host: &str) -> Option<String> {
    let FetchFailure::Registry(error) = failure else { return None };
    Some(match error {
        FetchError::NoRoom => ROOM_HINT.to_owned(),
        FetchError::NoAddress => {
            "does this container have a network? (/etc/resolv.conf says who knows names)".to_owned()
        }
        FetchError::Unreachable(_) => "does this container have a network?".to_owned(),
        FetchError::Proxy(_) => {
            format!("HTTPS_PROXY or ALL_PROXY names it; NO_PROXY={host} goes round it")
        }
        FetchError::Tls(_) => format!(
            "put the certificate of {host}'s authority into /etc/docker/certs.d/{host}/ca.crt, or name it \
             with --insecure-registry {host}"
        ),
        FetchError::Refused { named: false, .. } => format!(
            "where it is not for everybody: cofferdam login {host}, or name a file of credentials (--authfile)"
        ),
        FetchError::Refused { named: true, .. } => {
            "the credentials that are known for it do not do".to_owned()
        }
        FetchError::TooOften { .. } => {
            "wait, log in, or set up a mirror (registries.conf)".to_owned()
        }
        _ => return None,
    })
}

impl Explain for StoreError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Limit { .. } => return Some(LIMIT_HINT.to_owned()),
            Self::NoLimit { .. } => return Some("cofferdam system limit SIZE, or none".to_owned()),
            _ => {}
        }
        if self.is_out_of_room() {
            return Some(ROOM_HINT.to_owned());
        }
        Some("the state directory (--state-dir) must be a volume or tmpfs that this user may write to".to_owned())
    }
}
impl Explain for ReferenceError {
    fn hint(&self) -> Option<String> {
        Some(
            "an image is NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME:TAG]"
                .to_owned(),
        )
    }
}

/// What an image is had by: what the user says of it, read before this process is walled in.
pub struct Means {
    /// Which images are accepted.
    pub policy: Policy,
    /// How to reach its registry, where that may have to be asked.
    pub registries: Option<Registries>,
    /// The image itself, where the store has it and that does.
    pub at_hand: Option<AtHand>,
}

impl Means {
    /// The directory of this machine that signatures are read from, where there is one.
    pub fn directory(&self) -> Option<&Path> {
        self.registries.as_ref().and_then(Registries::directory)
    }
}

/// What a run's image is had by.
///
/// # Errors
/// Where the reference, or what the user says about images and registries, is malformed.
pub fn means(
    image: &str,
    pull: PullPolicy,
    args: &RegistryArgs,
    state_dir: &Path,
) -> Result<Means, Failure> {
    let policy = registries::policy(args)?;
    let reference: Reference = image.parse()?;
    let mut means = Means { policy, registries: None, at_hand: None };
    let Reference::Registry(name) = &reference else { return Ok(means) };
    if pull == PullPolicy::Missing
        && let Ok(store) = Store::open(state_dir)
    {
        means.at_hand = image::at_hand(name, &Platform::native(), &store);
    }
    if pull == PullPolicy::Never || means.at_hand.is_some() {
        return Ok(means);
    }
    let registries = Registries::of(name, args)?;
    means.registries = Some(match means.policy.asks_for(&reference).gpg {
        true => registries.and_signatures(name, args)?,
        false => registries,
    });
    Ok(means)
}

/// Has the image of the plan in the store, and its layers open.
///
/// # Errors
/// Where it is not to be had.
pub fn image(plan: &RunPlan, mut means: Means) -> Result<Image, Failure> {
    let reference: Reference = plan.image.parse()?;
    let pull = match plan.sandbox.pull {
        PullPolicy::Always => Pull::Always,
        PullPolicy::Missing => Pull::Missing,
        PullPolicy::Never => Pull::Never,
    };
    let progress = Progress::new(plan.sandbox.quiet, Afterwards::Clear);
    let store = Store::open(&plan.sandbox.state_dir)?;
    let wanted = Wanted { reference: &reference, name: None, at_hand: means.at_hand.take() };
    prepare(wanted, &store, &means, pull, &progress)
}

/// Puts an image that lies in a file into the store, by a name.
///
/// # Errors
/// Where it is not to be had.
pub fn keep(
    reference: &Reference,
    name: &ImageName,
    store: &Store,
    means: &Means,
    quiet: bool,
) -> Result<(), Failure> {
    let progress = Progress::new(quiet, Afterwards::Clear);
    let wanted = Wanted { reference, name: Some(name), at_hand: None };
    prepare(wanted, store, means, Pull::Never, &progress).map(drop)
}

/// Which image is wanted.
struct Wanted<'a> {
    reference: &'a Reference,
    /// What it is to be called from now on.
    name: Option<&'a ImageName>,
    at_hand: Option<AtHand>,
}

fn prepare(
    Wanted { reference, name, at_hand }: Wanted<'_>,
    store: &Store,
    means: &Means,
    pull: Pull,
    progress: &Progress,
) -> Result<Image, Failure> {
    let request = Request {
        reference,
        platform: &Platform::native(),
        limits: &Limits::default(),
        policy: &means.policy,
        remote: means.registries.as_ref().map(|registries| registries.remote(pull)),
        name,
        progress: &|layer| progress.show(layer),
    };
    let image = match at_hand {
        Some(found) => image::prepare_at_hand(&request, found, store, &JailedUnpacker),
        None => image::prepare(&request, store, &JailedUnpacker),
    };
    progress.end();
    Ok(image?)
}

/// `cofferdam pull`; gives what to print on standard output: what was pulled, a line each.
///
/// # Errors
/// At the first image that is not to be had.
pub fn pull(args: &PullArgs) -> Result<String, Failure> {
    let mut asked: Vec<(Reference, Means)> = Vec::new();
    for text in &args.images {
        let means = means(text, PullPolicy::Always, &args.registry, &args.state_dir)?;
        asked.push((text.parse()?, means));
    }
    let fetching = asked.iter().any(|(_, means)| means.registries.is_some());
    jail::confine_launcher(fetching).map_err(Failure::plain)?;
    end_on_signals("interrupted: what was fetched is kept, and the next pull goes on from there")?;
    // Made first, so that it is there to be left open. Where it cannot be, the store says so.
    let _ = std::fs::create_dir_all(&args.state_dir);
    let mut reach = if fetching { jail::fetch::reach() } else { Reach::default() };
    reach
        .read
        .extend(asked.iter().filter_map(|(reference, _)| reference.path()).map(Path::to_owned));
    reach.read.extend(asked.iter().filter_map(|(_, means)| means.directory()).map(Path::to_owned));
    reach.execute.push("/proc/self/exe".into());
    reach.write.push(args.state_dir.clone());
    reach.devices.push("/dev/null".into());
    jail::close_launcher_in(&reach).map_err(Failure::plain)?;
    let store = Store::open(&args.state_dir)?;
    let mut pulled = String::new();
    for (reference, means) in &asked {
        let known = |reference: &Reference| match reference {
            Reference::Registry(name) => store.named(name).ok().flatten(),
            _ => None,
        };
        let before = known(reference);
        let progress = Progress::new(args.quiet, Afterwards::Keep);
        let wanted = Wanted { reference, name: None, at_hand: None };
        prepare(wanted, &store, means, Pull::Always, &progress)?;
        let now = known(reference);
        if let Some(now) = now.as_ref().filter(|_| !args.quiet) {
            let news = match &before {
                Some(before) if before.config == now.config => "is up to date",
                Some(_) => "was replaced by a newer one",
                None => "is new here",
            };
            say(&format!("{reference} {news}: {}", now.digest));
        }
        let _ = writeln!(pulled, "{}", now.map_or(reference.to_string(), |now| now.name));
    }
    Ok(pulled)
}

/// As PID 1 of the outer container, a process that takes no signals cannot be ended by them.
///
/// # Errors
/// Where no thread can wait for them.
pub fn end_on_signals(words: &'static str) -> Result<(), Failure> {
    const WHILE: Duration = Duration::from_secs(3600);
    let signals = Signals::take().map_err(Failure::plain)?;
    let wait = move || {
        loop {
            let _ = crate::wait::readable_within(&signals, WHILE);
            if let Some(number) = signals.next().filter(|number| ends_a_process(*number)) {
                say(words);
                std::process::exit(128 + i32::from(number));
            }
        }
    };
    let spawned = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
    spawned.map(|_| ()).map_err(Failure::plain)
}

/// What the image says about running it.
pub fn defaults(image: &Image) -> ImageDefaults {
    let config = &image.config;
    ImageDefaults {
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        env: config.env.clone(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        stop_signal: config.stop_signal.clone(),
        volumes: config.volumes.clone(),
        health: config.health.clone(),
    }
}
