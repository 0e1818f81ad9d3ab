//! How a program is started at each layer.

use crate::cli::{Accelerator, BenchArgs};
use std::process::Command;

/// A place where workloads run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// Where the launcher stands.
    Host,
    /// A container of an engine.
    Container {
        /// The engine's program.
        engine: String,
        /// The image as it knows it.
        image: String,
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
            "container" => {
                let image = args.engine_image.clone().unwrap_or_else(|| args.image.clone());
                Ok(Self::Container { engine: args.engine.clone(), image })
            }
            "nested" => Ok(Self::Nested { run: nested(args) }),
            _ => Err(UnknownLayer(name.to_owned())),
        }
    }

    /// Its name, and what it is.
    pub fn described(&self) -> ::bench::Layer {
        let (name, scope) = match self {
            Self::Host => ("host", "a process where the launcher stands".to_owned()),
            Self::Container { engine, .. } => {
                ("container", format!("a process in a container of {engine}, as it is by default"))
            }
            Self::Nested { .. } => {
                ("nested", "a process in a container in a microVM of cofferdam".to_owned())
            }
        };
        ::bench::Layer { name: name.to_owned(), scope }
    }

    /// A command that starts this program there, with its standard streams as the program's.
    pub fn command(&self, program: &[&str]) -> Command {
        match self {
            Self::Host => {
                let mut command = Command::new(program.first().copied().unwrap_or("sh"));
                command.args(program.iter().skip(1));
                command
            }
            Self::Container { engine, image } => {
                let mut command = Command::new(engine);
                command.args(["run", "--rm", "--interactive", "--network", "none", image]);
                command.args(program);
                command
            }
            Self::Nested { run } => {
                // The kernel's name for this very program: its file may be another by now.
                let mut command = Command::new("/proc/self/exe");
                command.arg("run").args(run).args(program);
                command
            }
        }
    }
}

fn nested(args: &BenchArgs) -> Vec<String> {
    let accelerator = match args.accel {
        Accelerator::Auto => "auto",
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "tcg",
    };
    let state_dir = args.state_dir.display().to_string();
    let flags = ["--rm", "--quiet", "--interactive", "--accel", accelerator, "--state-dir"];
    let flags = flags.into_iter().map(str::to_owned);
    flags.chain([state_dir, args.image.clone()]).collect()
}
