//! The second step of the plan: the typed choices meet the image's configuration.
//!
//! Follows the OCI image specification's config and moby's merge: `--entrypoint` also drops the
//! image's Cmd, a typed command replaces it, and an empty `--entrypoint` leaves the command alone.

use super::health::{HealthError, HealthPlan};
use super::profile::{UNPRIVILEGED_USER, is_root};
use super::{RunPlan, environment, signal};
use crate::error::Explain;
use crate::plan::VolumeMount;
use protocol::Program;

/// What an image says about running it. Hostile text: checked here, and again by the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// Entrypoint.
    pub entrypoint: Vec<String>,
    /// Cmd.
    pub cmd: Vec<String>,
    /// Env, as NAME=value.
    pub env: Vec<String>,
    /// User; empty is root.
    pub user: String,
    /// WorkingDir; empty is `/`.
    pub working_dir: String,
    /// StopSignal.
    pub stop_signal: Option<String>,
    /// Volumes: where a container is to have directories that are no part of its root.
    pub volumes: Vec<String>,
    /// By what it is known that it is well.
    pub health: image::HealthCheck,
}

/// The container's first process, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    /// Program and arguments; at least one.
    pub args: Vec<String>,
    /// NAME=value.
    pub env: Vec<String>,
    /// Absolute.
    pub cwd: String,
    /// `name|uid[:name|gid]`; empty is root.
    pub user: String,
    /// What stops it.
    pub stop_signal: u8,
    /// The host name it sees.
    pub hostname: String,
    /// Volumes and directories that it is given.
    pub volumes: Vec<VolumeMount>,
    /// By what it is known that it is well, if anybody asks.
    pub health: Option<HealthPlan>,
    /// What the user should know; not to be printed with `--quiet`.
    pub note: Option<String>,
}

/// Why an image cannot be run so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// Nothing to run.
    #[error("no command specified: neither the image nor the command line names a program")]
    NoCommand,
    /// A text that no argument can hold.
    #[error("{0} holds a null character")]
    Null(&'static str),
    /// An id that a user namespace does not have.
    #[error("user {0:?} is none of the 65536 that a container with ids of its own can have")]
    NoSuchId(String),
    /// The image's StopSignal is none.
    #[error("the image's StopSignal")]
    StopSignal(#[source] signal::SignalError),
    /// The health check.
    #[error(transparent)]
    Health(#[from] HealthError),
}

impl Explain for ProcessError {
    fn hint(&self) -> Option<String> {
        match self {
            ProcessError::NoCommand => {
                Some("write it after the image: cofferdam run IMAGE sh".into())
            }
            ProcessError::Null(_) => None,
            ProcessError::Health(error) => error.hint(),
            ProcessError::NoSuchId(_) => Some("name one from 0 to 65535 with --user".into()),
            ProcessError::StopSignal(_) => Some("override it with --stop-signal".into()),
        }
    }
}

/// Length of the short form of a sandbox's id, as Docker's of a container's.
const SHORT_ID_BYTES: usize = 12;

impl RunPlan {
    /// Resolves the first process of the sandbox called `sandbox_id`.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub fn with_image(
        &self,
        image: &ImageDefaults,
        sandbox_id: &str,
    ) -> Result<ProcessPlan, ProcessError> {
        let choices = &self.process;
        let args = match choices.program {
            Program::Witness => vec!["witness".to_owned()],
            _ => arguments(choices.entrypoint.as_deref(), &choices.command, image),
        };
        if args.first().is_none_or(String::is_empty) {
            return Err(ProcessError::NoCommand);
        }
        let stop_signal = match (choices.stop_signal, image.stop_signal.as_deref()) {
            (Some(number), _) => number,
            (None, None | Some("")) => signal::TERM,
            (None, Some(text)) => signal::parse(text).map_err(ProcessError::StopSignal)?,
        };
        let short_id = sandbox_id.get(..SHORT_ID_BYTES).unwrap_or(sandbox_id);
        let hostname = self.container.hostname.clone().unwrap_or_else(|| short_id.to_owned());
        let terminal = choices.terminal.is_some();
        let (user, note) = self.user(image);
        if self.container.security.own_users && user.split(':').any(is_out_of_range) {
            return Err(ProcessError::NoSuchId(user));
        }
        let plan = ProcessPlan {
            env: environment::merge(&image.env, &choices.env, &hostname, terminal),
            cwd: working_directory(choices.workdir.as_deref().unwrap_or(&image.working_dir)),
            user,
            args,
            stop_signal,
            hostname,
            volumes: self.volumes(image),
            // A witness is asked other things.
            health: match choices.program {
                Program::Witness => None,
                _ => choices.health.with_image(&image.health)?,
            },
            note,
        };
        plan.checked()
    }

    /// What was asked for, and what the image declares at other places: nothing under --profile strict, where each
    /// place that can be written to is named by the user.
    fn volumes(&self, image: &ImageDefaults) -> Vec<VolumeMount> {
        let mut volumes = self.container.volumes.clone();
        if self.container.strict {
            return volumes;
        }
        for declared in image.volumes.iter().filter_map(|path| VolumeMount::declared(path)) {
            let taken = self.container.mounts.iter().map(|mount| &mount.destination);
            let taken = taken.chain(self.container.shares.iter().map(|share| &share.destination));
            let mut taken = taken.chain(volumes.iter().map(|volume| &volume.destination));
            if !taken.any(|place| *place == declared.destination) {
                volumes.push(declared);
            }
        }
        volumes
    }

    /// Whom it runs as, and what to say of that.
    fn user(&self, image: &ImageDefaults) -> (String, Option<String>) {
        let user = self.process.user.as_ref().unwrap_or(&image.user);
        if !self.container.security.root_refused || !is_root(user) {
            return (user.clone(), None);
        }
        let note = format!(
            "the image's user is root: under --profile strict it runs as {UNPRIVILEGED_USER} (nobody)"
        );
        (UNPRIVILEGED_USER.to_owned(), Some(note))
    }
}

impl ProcessPlan {
    fn checked(self) -> Result<Self, ProcessError> {
        let null = |text: &String| text.contains('\0');
        if self.args.iter().any(null) {
            Err(ProcessError::Null("an argument of the command"))
        } else if null(&self.cwd) {
            Err(ProcessError::Null("the working directory"))
        } else if null(&self.user) {
            Err(ProcessError::Null("the user"))
        } else {
            Ok(self)
        }
    }
}

/// Whether it is a number that no id of a user namespace has.
fn is_out_of_range(id: &str) -> bool {
    id.parse::<u32>().is_ok_and(|id| id > u32::from(u16::MAX))
}

fn arguments(entrypoint: Option<&str>, command: &[String], image: &ImageDefaults) -> Vec<String> {
    let from_image = |typed: &[String], image: &[String]| {
        if typed.is_empty() { image.to_vec() } else { typed.to_vec() }
    };
    match entrypoint {
        Some("") => command.to_vec(),
        Some(program) => {
            std::iter::once(program.to_owned()).chain(command.iter().cloned()).collect()
        }
        None => {
            // An image writes [""] to say that it has none, though its base had.
            let reset = image.entrypoint.first().is_some_and(String::is_empty);
            let mut args = if reset { Vec::new() } else { image.entrypoint.clone() };
            args.extend(from_image(command, &image.cmd));
            args
        }
    }
}

/// A relative working directory is taken from the root, as Docker does with an image's.
pub fn working_directory(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}
