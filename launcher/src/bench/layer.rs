//! How a program is started at each layer.

use super::text;
use crate::cli::BenchArgs;
use crate::host::place::find_program;
use clap::ValueEnum;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// The layers there are, the least walled first.
pub const NAMES: [&str; 4] = ["host", "container", "vm", "nested"];
/// The kernel's name for this very program: its file may be another by now.
const MYSELF: &str = "/proc/self/exe";

/// How long a guest may take to boot, in seconds, each of whose processes' calls waits for a tracer.
const BOOT_TIMEOUT: &str = "150";
/// By this label an engine knows the containers of a bench, with the process's number.
const LABEL: &str = "cofferdam.bench";

/// A place where workloads run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// Where the launcher stands.
    Host,
    /// A container of an engine.
    Container {
        /// What the layer is called.
        name: String,
        /// The engine's program.
        engine: String,
        /// The image as it knows it.
        image: String,
        /// What tells its containers from others.
        label: String,
    },
    /// In a microVM, in no container.
    Vm {
        /// The flags of `run`, and the image.
        run: Vec<String>,
    },
    /// A container in a microVM.
    Nested {
        /// The flags of `run`, and the image.
        run: Vec<String>,
    },
}

/// No layer is called so.
#[derive(Debug, thiserror::Error)]
#[error("no layer is called {0:?}")]
pub struct UnknownLayer(pub String);

impl Layer {
    /// The layer of this name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn named(name: &str, args: &BenchArgs) -> Result<Self, UnknownLayer> {
        match name {
            "host" => Ok(Self::Host),
            "container" => Ok(Self::container(name, &args.engine, args)),
            "vm" => Ok(Self::Vm { run: flags(args, &["--no-container"]) }),
            "nested" => Ok(Self::Nested { run: flags(args, &[]) }),
            _ => Err(UnknownLayer(name.to_owned())),
        }
    }

    /// The containers of an engine.
    fn container(name: &str, engine: &str, args: &BenchArgs) -> Self {
        let image = args.engine_image.clone().unwrap_or_else(|| args.image.clone());
        let label = format!("{LABEL}={}", std::process::id());
        Self::Container { name: name.to_owned(), engine: engine.to_owned(), image, label }
    }

    /// A peer, whose containers are a layer of its name; nothing where it is not installed.
    pub fn peer(engine: &str, args: &BenchArgs) -> Option<Self> {
        let name = engine.rsplit('/').next().unwrap_or(engine);
        is_installed(engine).then(|| Self::container(name, engine, args))
    }

    /// Those that are measured where nobody names any: all, but a container only where there is an engine.
    pub fn usual(args: &BenchArgs) -> Vec<&'static str> {
        let has_engine = is_installed(&args.engine);
        NAMES.into_iter().filter(|name| *name != "container" || has_engine).collect()
    }

    /// Its name, and what it is.
    pub fn described(&self) -> ::bench::Layer {
        let (name, scope) = match self {
            Self::Host => ("host", "a process where the launcher stands".to_owned()),
            Self::Container { name, engine, .. } => (
                name.as_str(),
                format!("a process in a container of {engine}, as it is by default"),
            ),
            Self::Vm { .. } => (
                "vm",
                "a process in a microVM of cofferdam, in no container: the image is its root"
                    .to_owned(),
            ),
            Self::Nested { .. } => {
                ("nested", "a process in a container in a microVM of cofferdam".to_owned())
            }
        };
        ::bench::Layer { name: text(name), scope: text(&scope) }
    }

    /// A command that starts this program there, with its standard streams as the program's.
    pub fn command(&self, program: &[&str]) -> Command {
        let (first, rest) = self.words(MYSELF.as_ref(), program);
        let mut command = Command::new(first);
        command.args(rest);
        command
    }

    /// The same in a guest, with the launcher's account of it (`--timings`) in a file; nothing where there is no guest.
    pub fn accounted(&self, program: &[&str], file: &str) -> Option<Command> {
        let (Self::Vm { run } | Self::Nested { run }) = self else { return None };
        let mut command = Command::new(MYSELF);
        command.args(["run", "--timings", file]).args(run).args(program);
        Some(command)
    }

    /// Removes what an engine still has of this bench: a container may outlive the client that is ended.
    pub fn tidy(&self) {
        let Self::Container { engine, label, .. } = self else { return };
        let filter = format!("label={label}");
        let list = ["ps", "--all", "--quiet", "--filter", &filter];
        let Ok(left) = Command::new(engine).args(list).output() else { return };
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        if !left.trim().is_empty() {
            let _ =
                Command::new(engine).args(["rm", "--force"]).args(left.split_whitespace()).output();
        }
    }

    /// The words of that command, the first of them apart, where this program is called so.
    pub fn words<'a>(
        &'a self,
        myself: &'a OsStr,
        program: &[&'a str],
    ) -> (&'a OsStr, Vec<&'a OsStr>) {
        let program = program.iter().map(|word| OsStr::new(*word));
        match self {
            Self::Host => {
                let mut words = program;
                (words.next().unwrap_or(OsStr::new("sh")), words.collect())
            }
            Self::Container { engine, image, label, .. } => {
                let run =
                    ["run", "--rm", "--interactive", "--network", "none", "--label", label, image];
                (OsStr::new(engine), run.into_iter().map(OsStr::new).chain(program).collect())
            }
            Self::Vm { run } | Self::Nested { run } => {
                let run = run.iter().map(OsStr::new);
                (myself, [OsStr::new("run")].into_iter().chain(run).chain(program).collect())
            }
        }
    }
}

/// What every run has: as many processors as a measurement needs that is to be the same elsewhere.
fn flags(args: &BenchArgs, more: &[&str]) -> Vec<String> {
    let accelerator = args.accel.to_possible_value();
    let accelerator = accelerator.as_ref().map_or("auto", |value| value.get_name());
    let state_dir = args.state_dir.display().to_string();
    let flags = ["--rm", "--quiet", "--interactive", "--vm-cpus", "1", "--accel", accelerator];
    let places = ["--boot-timeout", BOOT_TIMEOUT, "--state-dir", &state_dir];
    let flags = flags.into_iter().chain(places).chain(more.iter().copied());
    flags.chain([args.image.as_str()]).map(str::to_owned).collect()
}

/// Whether a program is somewhere in PATH, or where it says.
fn is_installed(program: &str) -> bool {
    let place = if program.contains('/') { std::path::absolute(program).ok() } else { None };
    let name = place.as_deref().and_then(Path::to_str).unwrap_or(program);
    find_program(name, &std::env::var("PATH").unwrap_or_default()).is_some()
}
