//! What a sandbox has on disk, and the files its machine is made of.
//!
//! Owns: its identifier, its record, its writable disk, the choice of kernel. Never does: run it.

use crate::accelerator::{ConsoleSink, MachineParts, Offer, Stretch};
use crate::companions;
use crate::control::Control;
use crate::error::{Explain, Failure};
use crate::host::NamedInputs;
use crate::outcome::Outcome;
use crate::plan::RunPlan;
use crate::published_sockets;
use crate::start::{self, Before, Beginning, StartError};
use crate::state::{
    Again, OwnSandbox, PublishedPort, PublishedSocket, Record, Sandboxes, StateError, Status,
    now_ms,
};
use crate::supervisor::Note;
use crate::volumes::Held;
use ext4::Identity;
use image::Image;
use image::store::StoredFile;
use payload::{Part, Payload, PayloadError};
use protocol::ContainerId;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The word for the kernel that has what few need.
const FULL: &str = "full";

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
    /// The second kernel did not come with this program.
    #[error("no kernel with what few need lies beside this program")]
    NoFullKernel,
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
            SandboxError::NoFullKernel => {
                Some("make full-kernel makes it; a file called full is ./full".to_owned())
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
            kernel: kernel(plan.sandbox.kernel.as_deref())?,
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

/// Whether a sandbox is new, and what is kept of it for the next time.
#[derive(Debug)]
pub struct Begins {
    /// Its identifier.
    pub id: ContainerId,
    kept: Again,
    is_new: bool,
}

impl Begins {
    /// One that was before, or else a new one.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn of(beginning: &Beginning, inputs: &NamedInputs, image: &Image) -> Result<Self, Failure> {
        if let Some(Before { id, again }) = &beginning.before {
            return Ok(Self { id: id.clone(), kept: again.clone(), is_new: false });
        }
        let inputs = inputs.asked_for(&beginning.args);
        let (words, directory) = (crate::detached::words(), beginning.directory.clone());
        let kept = Again::new(words, directory, inputs, start::layers(image));
        Ok(Self { id: random_id()?, kept, is_new: true })
    }
}

/// A sandbox of this process. One that is dropped before its [end](Sandbox::end) leaves nothing.
#[derive(Debug)]
pub struct Sandbox {
    own: OwnSandbox,
    record: Record,
    /// The ports that were published from the first.
    ports: Vec<PublishedPort>,
    program: Arc<File>,
    payload: Payload,
    upper: Stretch,
    volumes: Vec<Held>,
    remove: bool,
}

impl Sandbox {
    /// Removes what killed sandboxes have left, then makes this one's record and disk, or takes them as they are. The
    /// volumes are its own while it lives.
    ///
    /// # Errors
    /// Where the state directory or the program itself cannot be used.
    pub fn begin(
        plan: &RunPlan,
        image: &Image,
        begins: Begins,
        volumes: Vec<Held>,
        ports: Vec<PublishedPort>,
    ) -> Result<Self, Failure> {
        let program = Arc::new(open(Path::new("/proc/self/exe"))?);
        let payload = Payload::locate(&program).map_err(SandboxError::from)?;
        let sandboxes = Sandboxes::open(&plan.sandbox.state_dir)?;
        crate::sandboxes::sweep(&sandboxes)?;
        let sockets = published(plan, &begins.id);
        let Begins { id, kept, is_new } = begins;
        let (own, record, disk) = if is_new {
            let name = plan.sandbox.name.as_ref().map(ToString::to_string);
            let command = command_line(plan, image);
            let record = Record::new(id, name, plan.image.clone(), command);
            let record = record.with_ports(ports.clone()).with_sockets(sockets);
            let record = record.that_lasts(plan.sandbox.detached && !plan.sandbox.remove);
            let own = sandboxes.create(&record)?;
            let disk = own.create_upper(!plan.sandbox.remove)?;
            ext4::format(&disk, &plan.sandbox.disk, &disk_identity()?)
                .map_err(SandboxError::Disk)?;
            if !plan.sandbox.remove {
                kept.write(own.path())?;
            }
            (own, record, disk)
        } else {
            if kept.layers != start::layers(image) {
                return Err(StartError::OtherImage(plan.image.clone()).into());
            }
            let (own, record) = sandboxes.resume(&id)?;
            let record = record.with_ports(ports.clone()).with_sockets(sockets);
            let (disk, found) = own.open_upper()?;
            let wanted = plan.sandbox.disk.bytes();
            if found != wanted {
                return Err(StartError::DiskSize { found, wanted }.into());
            }
            own.say(&record)?;
            (own, record, disk)
        };
        let length = plan.sandbox.disk.bytes();
        let upper = Stretch { file: Arc::new(disk), offset: 0, length };
        let remove = plan.sandbox.remove;
        Ok(Self { own, record, ports, program, payload, upper, volumes, remove })
    }

    /// Its identifier.
    pub fn id(&self) -> &ContainerId {
        &self.record.id
    }

    /// Where others come to it, as long as it is there.
    ///
    /// # Errors
    /// Where its socket cannot be made.
    pub fn listen(&self) -> Result<Control, Failure> {
        Ok(Control::listen(self.own.path())?)
    }

    /// Where others come to its container's own sockets.
    ///
    /// # Errors
    /// Where they cannot be made.
    pub fn publish_sockets(&self) -> Result<Vec<OwnedFd>, Failure> {
        let inside: Vec<_> = self.record.sockets.iter().map(|it| it.inside.clone()).collect();
        Ok(published_sockets::make(self.own.path(), &inside)?)
    }

    /// Whether there is no room left for its disk: then the guest has perhaps seen writes fail.
    pub fn is_out_of_room(&self) -> bool {
        const ROOM_BYTES: u64 = 1 << 20;
        let place = rustix::fs::fstatvfs(&self.upper.file);
        place.is_ok_and(|it| it.f_bavail.saturating_mul(it.f_frsize) < ROOM_BYTES)
    }

    /// What its machine is made of.
    pub fn machine_parts(
        &mut self,
        plan: &RunPlan,
        files: NamedFiles,
        console: ConsoleSink,
        image: Image,
        (offers, (line, layers_line)): (Vec<Offer>, (OwnedFd, OwnedFd)),
    ) -> MachineParts {
        let builtin = |part: Part| Stretch {
            file: Arc::clone(&self.program),
            offset: part.offset,
            length: part.length,
        };
        MachineParts {
            kernel: files.kernel.unwrap_or_else(|| builtin(self.payload.kernel)),
            initramfs: builtin(self.payload.initramfs),
            layers: image.into_files().map(stretch).collect(),
            writable: std::iter::once(self.upper.clone())
                .chain(self.volumes.drain(..).map(volume))
                .collect(),
            shares: None,
            network: None,
            memory_mib: plan.sandbox.vm.memory_mib,
            vcpus: plan.sandbox.vm.vcpus,
            console,
            counted: false,
            offers,
            line,
            layers_line,
        }
    }

    /// Records that these ports are published, besides those from the first.
    ///
    /// # Errors
    /// Where the state directory cannot be written.
    pub fn publishes_besides(&mut self, ports: Vec<PublishedPort>) -> Result<(), StateError> {
        self.record.ports = [self.ports.clone(), ports].concat();
        self.own.say(&self.record)
    }

    /// Records what is noted of it.
    ///
    /// # Errors
    /// Where the state directory cannot be written.
    pub fn note(&mut self, note: Note) -> Result<(), StateError> {
        match note {
            Note::Started => self.record.started_ms = Some(now_ms()),
            Note::Paused(paused) => self.record.paused = paused,
            Note::Health(health) => self.record.health = Some(health),
            Note::Name(name) => self.record.name = Some(name),
        }
        self.own.say(&self.record)
    }

    /// Removes it, or records how it ended, and whether somebody had asked for that.
    ///
    /// # Errors
    /// Where the state directory cannot be written.
    pub fn end(mut self, outcome: &Outcome, is_asked: bool) -> Result<(), Failure> {
        if self.remove {
            return Ok(self.own.remove()?);
        }
        self.record.status = Status::Exited { exit_code: outcome.exit_code() };
        self.record.error = outcome.ending().message;
        self.record.stopped = is_asked;
        self.record.ended_ms = Some(now_ms());
        self.record.paused = false;
        self.record.health = None;
        self.record.ports.clear();
        self.record.sockets.clear();
        Ok(self.own.keep(&self.record)?)
    }
}

/// The kernel that was named, by a file or a flavour.
fn kernel(named: Option<&Path>) -> Result<Option<Stretch>, SandboxError> {
    let path = match named {
        Some(name) if name == Path::new(FULL) => {
            Some(companions::find(companions::FULL_KERNEL).ok_or(SandboxError::NoFullKernel)?)
        }
        other => other.map(Path::to_owned),
    };
    path.as_deref().map(whole).transpose()
}

/// Where the sockets of its container's are reached that it publishes.
fn published(plan: &RunPlan, id: &ContainerId) -> Vec<PublishedSocket> {
    let directory = crate::state::directory(&plan.sandbox.state_dir, id);
    let one = |inside: &String| PublishedSocket {
        inside: inside.clone(),
        outside: published_sockets::outside(&directory, inside),
    };
    plan.container.sockets.iter().map(one).collect()
}

fn volume(held: Held) -> Stretch {
    Stretch { file: Arc::new(held.disk), offset: 0, length: held.length }
}

fn stretch(StoredFile { file, length }: StoredFile) -> Stretch {
    Stretch { file: Arc::new(file), offset: 0, length }
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
    let bytes: [u8; 6] = random()?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    ContainerId::try_from(text).map_err(Failure::plain)
}

/// A UUID of its own for a disk that is made now.
///
/// # Errors
/// Where the kernel gives no random bytes.
pub fn disk_identity() -> Result<Identity, SandboxError> {
    let mut uuid: [u8; 16] = random()?;
    // Version 4, and the variant of RFC 9562.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Identity { uuid, made_at: u32::try_from(since.as_secs()).unwrap_or(u32::MAX) })
}

/// A word that nobody else has.
///
/// # Errors
/// Where the kernel gives no random bytes.
pub fn random_word() -> Result<String, SandboxError> {
    let bytes: [u8; 16] = random()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random<const COUNT: usize>() -> Result<[u8; COUNT], SandboxError> {
    let mut bytes = [0; COUNT];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(SandboxError::Random)?;
    Ok(bytes)
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
