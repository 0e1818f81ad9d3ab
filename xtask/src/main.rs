//! Builds and runs all of cofferdam: the commands of README end here.
//!
//! Owns: what is built from what, and what is cached where. Never does: anything at `cofferdam`'s own
//! run time.
//!
//! ```text
//!   kernel ─────────────┐
//!   agent ─► initramfs ─┴─► dist/cofferdam ─► dist/cofferdam-image.tar, dist/cofferdam-tcg-image.tar
//!                                                 │
//!   images (demo, small, bench) ──────────────────┴─► run, test, measure, soak
//! ```

mod build;
mod cache;
mod contents;
mod digest;
mod engine;
mod form;
mod fuzz;
mod guest;
mod images;
mod job_place;
mod kernel;
mod licences;
mod measure;
mod packages;
mod process;
mod program;
mod progress;
mod readme;
mod reference_host;
mod run;
mod setup;
mod soak;
mod test;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::build::Built;
use crate::run::Accelerator;
use crate::soak::Part;
use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds and runs all of cofferdam")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the Debian packages that are missing
    Setup,
    /// Build the guest kernel
    Kernel,
    /// Build dist/cofferdam-kernel-full, the one of `--kernel full`: it has what few need
    FullKernel,
    /// Build the guest agent
    Agent,
    /// Build the initramfs
    Initramfs,
    /// Build the images that tests and the demo use, and print where they are
    Images {
        /// This one alone
        #[arg(value_enum)]
        name: Option<images::Name>,
    },
    /// Build dist/cofferdam and both outer images
    Build,
    /// Build dist/cofferdam-docker.tar, the image of `cofferdam docker`
    DockerImage,
    /// Build what the test of a job of CI runs in, and print where it is
    JobPlace,
    /// Build the emulator that tests and some measurements boot the reference host by, and print where it is
    Emulator,
    /// Build the launcher that tries its own walls, and print where it is
    Trial,
    /// Run the demo: four layers, and what each allows
    Run {
        /// Use what the last build left in dist/
        #[arg(long)]
        built: bool,
        /// Have the VM run by this, whatever else there is
        #[arg(long)]
        accel: Option<Accelerator>,
    },
    /// Run every test, as root
    Test,
    /// Refuse dependencies of unknown licence or origin
    Licences,
    /// Hold the guest kernel against what is recorded of kernel-hardening-checker's verdicts
    Hardening {
        /// The checker's own verdicts instead: what its `-m json` printed of this kernel
        #[arg(long)]
        verdicts: Option<PathBuf>,
    },
    /// Measure what it costs, as root
    Measure {
        /// This part alone
        #[arg(long)]
        part: Option<measure::Part>,
        /// Of images this one alone, again for more: what is known of others stays
        #[arg(long = "image", requires = "part", value_parser = measure::image_names())]
        images: Vec<String>,
    },
    /// Run what takes long, as root: tests, fuzzing, a checker of memory
    Soak {
        /// This part alone
        #[arg(long)]
        part: Option<Part>,
        /// How long each fuzz target runs now, in seconds: until it has had an hour in all
        #[arg(long, default_value_t = 3600)]
        fuzz_seconds: u32,
    },
    /// Feed parsers with what a coverage-guided fuzzer thinks of; what crashes one is kept
    Fuzz {
        /// One target of `tests/fuzz`; without, every one
        target: Option<String>,
        /// How long, in seconds, each
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    match dispatch(&Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command) -> Result<()> {
    let workspace = Workspace::find()?;
    match command {
        Command::Setup => setup::run(),
        Command::FullKernel => build::full_kernel(&workspace).map(drop),
        Command::Kernel => kernel::vmlinux(&workspace).map(|path| progress::result(&path)),
        Command::Agent => program::agent(&workspace).map(|path| progress::result(&path)),
        Command::Initramfs => guest::initramfs(&workspace).map(|path| progress::result(&path)),
        Command::Images { name } => {
            let names = name.as_ref().map_or(&images::Name::ALL[..], std::slice::from_ref);
            names.iter().try_for_each(|name| {
                progress::result(&name.build(&workspace)?.oci);
                Ok(())
            })
        }
        Command::Build => build::all(&workspace).map(drop),
        Command::JobPlace => job_place::make(&workspace).map(|path| progress::result(&path)),
        Command::Emulator => {
            reference_host::emulator(&workspace).map(|path| progress::result(&path))
        }
        Command::DockerImage => build::docker_image(&workspace).map(drop),
        Command::Trial => build::trial(&workspace).map(|path| progress::result(&path)),
        Command::Run { built, accel } => {
            let built = if *built { Built::left_in(&workspace) } else { build::all(&workspace)? };
            run::demo(&workspace, &built, *accel).map(drop)
        }
        Command::Test => test::all(&workspace),
        Command::Licences => licences::check(&workspace),
        Command::Hardening { verdicts } => {
            kernel::hardening::check(&workspace, verdicts.as_deref())
        }
        Command::Measure { part, images } => measure::all(&workspace, *part, images),
        Command::Soak { part, fuzz_seconds } => soak::run(&workspace, *part, *fuzz_seconds),
        Command::Fuzz { target, seconds } => fuzz::run(&workspace, target.as_deref(), *seconds),
    }
}
