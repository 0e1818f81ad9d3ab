//! How a program is started at each layer.

mod bundle;
mod peers;
mod qemu;
mod scratch;

use super::group::GroupError;
use super::text;
use crate::cli::BenchArgs;
use crate::host::place::find_program;
use bundle::Runtime;
use clap::ValueEnum;
pub use peers::{PeerError, peers};
use qemu::Qemu;
use std::ffi::{OsStr, OsString};
use std::io;
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
#[derive(Debug)]
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
    /// A container of a runtime, with no engine.
    Runtime(Runtime),
    /// QEMU's own microVM, in no container.
    Qemu(Qemu),
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

    /// Those that are measured where nobody names any: all, but a container only where there is an engine.
    pub fn usual(args: &BenchArgs) -> Vec<&'static str> {
        let has_engine = is_installed(&args.engine);
        NAMES.into_iter().filter(|name| *name != "container" || has_engine).collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Host => "host",
            Self::Container { name, .. } => name,
            Self::Runtime(runtime) => file_name(&runtime.program),
            Self::Qemu(_) => "qemu",
            Self::Vm { .. } => "vm",
            Self::Nested { .. } => "nested",
        }
    }

    /// What it is.
    fn scope(&self) -> String {
        match self {
            Self::Host => "a process where the launcher stands".to_owned(),
            Self::Container { engine, .. } => {
                format!("a process in a container of {engine}, as it is by default")
            }
            Self::Runtime(runtime) => {
                format!("a process in a container of {}, as the bundle has it", runtime.program)
            }
            Self::Qemu(_) => "a process in QEMU's microvm with cofferdam's kernel, in no container: the image is its \
                              root, on an ext4 disk, and a serial port its stream"
                .to_owned(),
            Self::Vm { .. } => {
                "a process in a microVM of cofferdam, in no container: the image is its root"
                    .to_owned()
            }
            Self::Nested { .. } => "a process in a container in a microVM of cofferdam".to_owned(),
        }
    }

    /// Its name, and what it is, as a record has them.
    pub fn described(&self) -> ::bench::Layer {
        ::bench::Layer { name: text(self.name()), scope: text(&self.scope()) }
    }

    /// A command that starts this program there, with its standard streams as the program's.
    ///
    /// # Errors
    /// Where what it needs cannot be written.
    pub fn command(&self, program: &[&str]) -> Result<Command, GroupError> {
        self.wrapped(&[], MYSELF.as_ref(), program)
    }

    /// The same as the last words of another program's command, where this program is called so.
    ///
    /// # Errors
    /// Where what it needs cannot be written.
    pub fn wrapped(
        &self,
        before: &[&str],
        myself: &OsStr,
        program: &[&str],
    ) -> Result<Command, GroupError> {
        let failed = |error| GroupError::of(self.name(), error);
        let mut words: Vec<OsString> = before.iter().map(OsString::from).collect();
        words.extend(self.words(myself, program).map_err(failed)?);
        let (first, rest) =
            words.split_first().ok_or(failed(io::ErrorKind::InvalidInput.into()))?;
        let mut command = Command::new(first);
        command.args(rest);
        Ok(command)
    }

    /// The same in a guest of ours, with the launcher's account of it (`--timings`) in a file; nothing elsewhere.
    pub fn accounted(&self, program: &[&str], file: &str) -> Option<Command> {
        let (Self::Vm { run } | Self::Nested { run }) = self else { return None };
        let mut command = Command::new(MYSELF);
        command.args(["run", "--timings", file]).args(run).args(program);
        Some(command)
    }

    /// Removes what is still there of this bench: a container may outlive the client that is ended.
    pub fn tidy(&self) {
        match self {
            Self::Container { engine, label, .. } => tidy(engine, label),
            Self::Runtime(runtime) => runtime.tidy(),
            Self::Host | Self::Qemu(_) | Self::Vm { .. } | Self::Nested { .. } => {}
        }
    }

    fn words(&self, myself: &OsStr, program: &[&str]) -> io::Result<Vec<OsString>> {
        let owned = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        Ok(match self {
            Self::Host => owned(program),
            Self::Container { engine, image, label, .. } => {
                let run = [engine, "run", "--rm", "--interactive", "--network", "none"];
                [owned(&run), owned(&["--label", label, image]), owned(program)].concat()
            }
            Self::Runtime(runtime) => runtime.words(program)?,
            Self::Qemu(qemu) => qemu.words(program)?,
            Self::Vm { run } | Self::Nested { run } => {
                let mut words = vec![myself.to_owned(), "run".into()];
                words.extend(run.iter().map(OsString::from));
                words.extend(owned(program));
                words
            }
        })
    }
}

/// Removes the containers of an engine that have this label.
fn tidy(engine: &str, label: &str) {
    let filter = format!("label={label}");
    let list = ["ps", "--all", "--quiet", "--filter", &filter];
    let Ok(left) = Command::new(engine).args(list).output() else { return };
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    if !left.trim().is_empty() {
        let _ = Command::new(engine).args(["rm", "--force"]).args(left.split_whitespace()).output();
    }
}

/// What a program is called, wherever it is.
fn file_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
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
