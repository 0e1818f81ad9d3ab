//! What a sandbox has on disk, and the files its machine is made of.
//!
//! Owns: its identifier, its record, its writable disk, the choice of kernel. Never does: run it.

use crate::accelerator::{ConsoleSink, MachineParts, Offer, Stretch};
use crate::error::{Explain, Failure};
use crate::outcome::Outcome;
use crate::plan::RunPlan;
use crate::state::{OwnSandbox, Record, Sandboxes, Status};
use image::Image;
use payload::{Part, Payload, PayloadError};
use protocol::ContainerId;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a sandbox's files could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The binary carries no kernel, or a damaged one.
    #[error("cannot find the guest kernel in this program")]
    Payload(#[from] PayloadError),
    /// A file that was named could not be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The writable disk could not be made.
    #[error("cannot make the sandbox's writable disk")]
    Disk(#[source] io::Error),
    /// No identifier could be drawn.
    #[error("cannot draw a random identifier")]
    Random(#[source] rustix::io::Errno),
}

impl Explain for SandboxError {
    fn hint(&self) -> Option<String> {
        match self {
            SandboxError::Payload(PayloadError::Absent) => {
                Some("use the binary that make build leaves in dist/".to_owned())
            }
            SandboxError::Disk(error) if error.kind() == io::ErrorKind::StorageFull => Some(
                "free some space in the state directory, or give it a larger volume".to_owned(),
            ),
            _ => None,
        }
    }
}

/// The files that the user named, open before anything is done that they could make vain.
#[derive(Debug)]
pub struct NamedFiles {
    kernel: Option<Stretch>,
    console: Option<File>,
    timings: Option<File>,
}

impl NamedFiles {
    /// Opens them.
    ///
    /// # Errors
    /// For the first that cannot be opened.
    pub fn open(plan: &RunPlan, timings: Option<&Path>) -> Result<Self, SandboxError> {
        Ok(Self {
            kernel: plan.sandbox.kernel.as_deref().map(whole).transpose()?,
            console: plan.sandbox.console.as_deref().map(create).transpose()?,
            timings: timings.map(create).transpose()?,
        })
    }

    /// Those that QEMU, where there is no KVM, opens again.
    pub fn for_qemu(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let kernel = self.kernel.iter().map(|kernel| kernel.file.as_fd());
        kernel.chain(self.console.iter().map(AsFd::as_fd))
    }

    /// The file for all that the guest kernel says.
    pub fn take_console(&mut self) -> Option<File> {
        self.console.take()
    }

    /// The file for the stages' times.
    pub fn take_timings(&mut self) -> Option<File> {
        self.timings.take()
    }
}

/// A sandbox of this process. One that is dropped before its [end](Sandbox::end) leaves nothing.
#[derive(Debug)]
pub struct Sandbox {
    own: OwnSandbox,
    record: Record,
    program: Arc<File>,
    payload: Payload,
    upper: Stretch,
    remove: bool,
}

impl Sandbox {
    /// Removes what killed sandboxes have left, then makes this one's record and disk.
    ///
    /// # Errors
    /// Where the state directory or the program itself cannot be used.
    pub fn create(plan: &RunPlan, image: &Image, id: ContainerId) -> Result<Self, Failure> {
        let program = Arc::new(open(Path::new("/proc/self/exe"))?);
        let payload = Payload::locate(&program).map_err(SandboxError::from)?;
        let sandboxes = Sandboxes::open(&plan.sandbox.state_dir)?;
        crate::sandboxes::sweep(&sandboxes)?;
        let name = plan.sandbox.name.as_ref().map(ToString::to_string);
        let command = command_line(plan, image);
        let record = Record::new(id, name, plan.image.clone(), command);
        let own = sandboxes.create(&record)?;
        let disk = own.create_upper(!plan.sandbox.remove)?;
        let template = BufReader::new(PartReader::new(&program, payload.disk_template));
        let length = payload::sparse::decode(template, &disk).map_err(SandboxError::Disk)?;
        let upper = Stretch { file: Arc::new(disk), offset: 0, length };
        Ok(Self { own, record, program, payload, upper, remove: plan.sandbox.remove })
    }

    /// Whether there is no room left for its disk: then the guest has perhaps seen writes fail.
    pub fn is_out_of_room(&self) -> bool {
        const ROOM_BYTES: u64 = 1 << 20;
        let place = rustix::fs::fstatvfs(&self.upper.file);
        place.is_ok_and(|it| it.f_bavail.saturating_mul(it.f_frsize) < ROOM_BYTES)
    }

    /// What its machine is made of.
    pub fn machine_parts(
        &self,
        plan: &RunPlan,
        files: NamedFiles,
        console: ConsoleSink,
        layers: Vec<image::Layer>,
        offers: Vec<Offer>,
    ) -> MachineParts {
        let builtin = |part: Part| Stretch {
            file: Arc::clone(&self.program),
            offset: part.offset,
            length: part.length,
        };
        MachineParts {
            kernel: files.kernel.unwrap_or_else(|| builtin(self.payload.kernel)),
            initramfs: builtin(self.payload.initramfs),
            layers: layers.into_iter().map(layer).collect(),
            upper: self.upper.clone(),
            memory_mib: plan.sandbox.vm.memory_mib,
            vcpus: plan.sandbox.vm.vcpus,
            console,
            offers,
        }
    }

    /// Removes it, or records how it ended.
    ///
    /// # Errors
    /// Where the state directory cannot be written.
    pub fn end(mut self, outcome: &Outcome) -> Result<(), Failure> {
        if self.remove {
            return Ok(self.own.remove()?);
        }
        self.record.status = Status::Exited { exit_code: outcome.exit_code() };
        Ok(self.own.keep(&self.record)?)
    }
}

fn layer(layer: image::Layer) -> Stretch {
    Stretch { file: Arc::new(layer.file), offset: 0, length: layer.length }
}

fn command_line(plan: &RunPlan, image: &Image) -> Vec<String> {
    match (&plan.process.entrypoint, plan.process.command.as_slice()) {
        (None, []) => image.config.entrypoint.iter().chain(&image.config.cmd).cloned().collect(),
        (entrypoint, command) => entrypoint.iter().chain(command).cloned().collect(),
    }
}

/// A new identifier, for a sandbox and its first container.
///
/// # Errors
/// Where the kernel gives no random bytes.
pub fn random_id() -> Result<ContainerId, Failure> {
    let mut bytes = [0u8; 6];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(SandboxError::Random)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    ContainerId::try_from(text).map_err(Failure::plain)
}

fn open(path: &Path) -> Result<File, SandboxError> {
    File::open(path).map_err(|source| SandboxError::Open { path: path.to_owned(), source })
}

fn create(path: &Path) -> Result<File, SandboxError> {
    File::create(path).map_err(|source| SandboxError::Open { path: path.to_owned(), source })
}

fn whole(path: &Path) -> Result<Stretch, SandboxError> {
    let file = open(path)?;
    let metadata = file.metadata();
    let length =
        metadata.map_err(|source| SandboxError::Open { path: path.to_owned(), source })?.len();
    Ok(Stretch { file: Arc::new(file), offset: 0, length })
}

/// Reads one part of the binary, from its beginning to its end.
struct PartReader<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl<'a> PartReader<'a> {
    fn new(file: &'a File, part: Part) -> Self {
        Self { file, at: part.offset, left: part.length }
    }
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
