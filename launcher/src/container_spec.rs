//! The plan and the image → the one request that tells the agent everything. Pure.
//!
//! Never does: chooses. What is decided stands in the plan; here it only takes its form.

use crate::capabilities;
use crate::error::Failure;
use crate::plan::volume::VolumeName;
use crate::plan::{ProcessPlan, RunPlan, Security, Storage};
use protocol::{
    ContainerId, ContainerSpec, DiskExtent, Mount, MountSource, NamespaceRef, Namespaces,
    ProcessId, ProcessSpec, Rootfs, Stdio, Upper, port,
};

/// Every file system, and so every extent, is a multiple of this, in bytes.
pub const ALIGNMENT: u64 = 4096;

/// The names under which the agent will know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The container.
    pub container: ContainerId,
    /// Its init process.
    pub init: ProcessId,
}

impl Names {
    /// Those of a sandbox's first container.
    ///
    /// # Errors
    /// Never: the name is well formed.
    pub fn of_first(container: ContainerId) -> Result<Self, Failure> {
        let init = ProcessId::try_from("init".to_owned()).map_err(Failure::plain)?;
        Ok(Self { container, init })
    }
}

/// The host ports of the streams, in the order in which they are to be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPorts {
    /// Three streams; without a standard input, two.
    Pipes {
        /// Standard input, with `-i`.
        stdin: Option<u32>,
        /// Standard output.
        stdout: u32,
        /// Standard error.
        stderr: u32,
    },
    /// One terminal.
    Terminal(u32),
}

impl StreamPorts {
    /// The ports that a plan's first process needs, from [`port::FIRST_STREAM_PORT`] up.
    pub fn for_plan(plan: &RunPlan) -> Self {
        let first = port::FIRST_STREAM_PORT;
        if plan.process.terminal.is_some() {
            StreamPorts::Terminal(first)
        } else {
            let stdin = plan.process.interactive.then_some(first);
            StreamPorts::Pipes { stdin, stdout: first + 1, stderr: first + 2 }
        }
    }
}

/// Where all file systems of a container stand on its sandbox's disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disks {
    /// The layers, lowest first.
    pub layers: Vec<DiskExtent>,
    /// Where writes go, then volumes.
    pub writable: Vec<DiskExtent>,
}

/// Why file systems make no disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtentsError {
    /// A disk has something on it.
    #[error("the image has no layer")]
    None,
    /// Its file was cut, or is none of ours.
    #[error("file system {index} is {length} bytes long, which is no multiple of {ALIGNMENT}")]
    Length {
        /// Which, counted from 0: of layers, the lowest.
        index: usize,
        /// Its length.
        length: u64,
    },
    /// They do not fit any disk.
    #[error("file systems are together longer than any disk")]
    TooLong,
}

impl crate::error::Explain for ExtentsError {}

/// Where each file system stands on the disk that holds them all, one after the other.
///
/// # Errors
/// [`ExtentsError`].
pub fn extents(lengths: &[u64]) -> Result<Vec<DiskExtent>, ExtentsError> {
    let mut offset = 0u64;
    let mut extents = Vec::with_capacity(lengths.len());
    for (index, &length) in lengths.iter().enumerate() {
        if length == 0 || !length.is_multiple_of(ALIGNMENT) {
            return Err(ExtentsError::Length { index, length });
        }
        extents.push(DiskExtent { offset, length });
        offset = offset.checked_add(length).ok_or(ExtentsError::TooLong)?;
    }
    if extents.is_empty() { Err(ExtentsError::None) } else { Ok(extents) }
}

impl Disks {
    /// Where writes go.
    fn upper(&self) -> DiskExtent {
        self.writable.first().copied().unwrap_or(DiskExtent { offset: 0, length: 0 })
    }
}

/// What is mounted in the container: what the plan says; its volumes, each of which has a place on the disk; and what it
/// is given of this place, by the numbers that the share process knows.
pub fn mounts(
    plan: &RunPlan,
    process: &ProcessPlan,
    disks: &Disks,
    place: impl Fn(&VolumeName) -> Option<usize>,
) -> Vec<Mount> {
    // A strict container has no place to write to from which it could start a program.
    const STRICT: [&str; 3] = ["nosuid", "nodev", "noexec"];
    let options = |readonly: bool| {
        let mut options = vec![if readonly { "ro" } else { "rw" }.to_owned()];
        options.extend(STRICT.iter().filter(|_| plan.container.strict).map(|&it| it.to_owned()));
        options
    };
    let mut mounts = plan.container.mounts.clone();
    for volume in &process.volumes {
        let source = match &volume.volume {
            None => MountSource::Directory { copy: volume.copy },
            Some(name) => {
                let extent = place(name).and_then(|index| disks.writable.get(index + 1));
                let Some(&extent) = extent else { continue };
                MountSource::Volume { extent, copy: volume.copy }
            }
        };
        mounts.push(Mount {
            destination: volume.destination.clone(),
            source,
            options: options(volume.readonly),
        });
    }
    for (number, share) in (0u32..).zip(&plan.container.shares) {
        mounts.push(Mount {
            destination: share.destination.clone(),
            source: MountSource::Share { number },
            options: options(share.readonly),
        });
    }
    mounts
}

/// The whole request, but for a network: whoever has one adds it.
pub fn container_spec(
    plan: &RunPlan,
    process: &ProcessPlan,
    names: Names,
    disks: Disks,
    mounts: Vec<Mount>,
    ports: StreamPorts,
) -> ContainerSpec {
    let container = &plan.container;
    let security = &container.security;
    ContainerSpec {
        id: names.container,
        hostname: process.hostname.clone(),
        network: None,
        rootfs: Rootfs {
            upper: match plan.sandbox.storage {
                Storage::Disk => Upper::Disk(disks.upper()),
                Storage::Memory { bytes } => Upper::Memory { bytes },
            },
            layers: disks.layers,
            readonly: container.readonly_root,
        },
        mounts,
        namespaces: namespaces(security),
        devices: security.devices,
        resources: container.resources,
        seccomp: security.seccomp.clone(),
        apparmor: security.apparmor,
        masked_paths: security.masked_paths.clone(),
        readonly_paths: security.readonly_paths.clone(),
        reaper: container.reaper,
        init_id: names.init,
        init: ProcessSpec {
            program: plan.process.program,
            args: process.args.clone(),
            env: process.env.clone(),
            cwd: process.cwd.clone(),
            user: process.user.clone(),
            capabilities: if security.ambient {
                capabilities::lasting_sets(security.capabilities)
            } else {
                capabilities::process_sets(security.capabilities)
            },
            no_new_privileges: security.no_new_privileges,
            root_refused: security.root_refused,
            rlimits: container.rlimits.clone(),
            stdio: stdio(plan, ports),
        },
    }
}

fn namespaces(security: &Security) -> Namespaces {
    if security.guest_namespaces {
        let guest = || NamespaceRef::Guest;
        return Namespaces {
            mount: NamespaceRef::New,
            pid: guest(),
            network: guest(),
            uts: guest(),
            ipc: guest(),
            cgroup: guest(),
            user: guest(),
        };
    }
    let user = if security.own_users { NamespaceRef::New } else { NamespaceRef::Guest };
    Namespaces { user, ..Namespaces::default() }
}

fn stdio(plan: &RunPlan, ports: StreamPorts) -> Stdio {
    match ports {
        StreamPorts::Pipes { stdin, stdout, stderr } => {
            Stdio::Pipes { stdin_port: stdin, stdout_port: stdout, stderr_port: stderr }
        }
        StreamPorts::Terminal(port) => Stdio::Terminal {
            port,
            input: plan.process.interactive,
            size: plan.process.terminal.unwrap_or(crate::plan::DEFAULT_TERMINAL),
        },
    }
}

#[cfg(test)]
pub(crate) mod tests;
