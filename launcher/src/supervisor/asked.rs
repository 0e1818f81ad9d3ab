//! What the agent is asked for those who come: a further process of the first container, a copier in it, or a further
//! container.
//!
//! Owns: how each is made of what was asked. Never does: ask.

use crate::layers_disk::LayersDisk;
use crate::session::{ContainerRequest, ControlRequest, CopyRequest, ExecRequest, StreamKind};
use crate::streams::Line;
use protocol::{
    Capabilities, CapabilitySet, ContainerSpec, MountSource, NamespaceRef, ProcessId, ProcessRef,
    ProcessSpec, Program, Request, Stdio,
};
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// The sandbox's own container, and its first process.
pub type First<'a> = (&'a ProcessRef, &'a ContainerSpec);

/// What it is made with.
pub struct Means<'a> {
    /// By which streams are offered to the guest.
    pub line: &'a mut Line,
    /// Where layers are added.
    pub layers: &'a mut LayersDisk,
    /// The number of whoever comes.
    pub number: u64,
}

/// What is asked, and what comes of it.
pub struct Asked {
    /// The process.
    pub process: ProcessRef,
    /// Its streams, if anybody has them.
    pub kind: Option<StreamKind>,
    /// Our ends of them.
    pub ours: Vec<OwnedFd>,
    /// For the agent.
    pub request: Request,
}

impl Means<'_> {
    /// What the agent is to be asked; or why it is not.
    pub fn ask(
        self,
        request: ControlRequest,
        files: &[OwnedFd],
        (init, first): First<'_>,
    ) -> Result<Asked, String> {
        let streams = streams(self.line, &request);
        let (kind, ours, stdio) =
            streams.map_err(|errno| format!("cannot make its streams: {errno}"))?;
        let another = match request {
            ControlRequest::Exec(request) if request.args.is_empty() => {
                return Err("no command".to_owned());
            }
            ControlRequest::Exec(request) => another(&first.init, request, stdio),
            ControlRequest::Tasks => own(Program::Tasks, Vec::new(), &first.init, stdio),
            ControlRequest::Copy(request) => copier(&first.init, request, stdio),
            ControlRequest::Container(request) => {
                let spec = container(self.layers, *request, files, first, stdio)?;
                let process =
                    ProcessRef { container: Some(spec.id.clone()), process: spec.init_id.clone() };
                return Ok(Asked { process, kind, ours, request: Request::Start(Box::new(spec)) });
            }
            // That is for others to do.
            _ => return Err("that starts no process".to_owned()),
        };
        let named = ProcessId::try_from(format!("exec-{}", self.number));
        let process = ProcessRef { process: named.map_err(|it| it.to_string())?, ..init.clone() };
        let request = Request::Run { process: process.clone(), spec: Box::new(another) };
        Ok(Asked { process, kind, ours, request })
    }
}

/// A container beside the first: it writes where that does, in a directory of its own.
fn container(
    layers: &mut LayersDisk,
    request: ContainerRequest,
    files: &[OwnedFd],
    first: &ContainerSpec,
    stdio: Stdio,
) -> Result<ContainerSpec, String> {
    let ContainerRequest { mut spec, files: lengths, file_systems } = request;
    let of_the_sandbox =
        |source| matches!(source, MountSource::Volume { .. } | MountSource::Share { .. });
    if spec.mounts.iter().any(|mount| of_the_sandbox(mount.source)) {
        return Err("volumes and shared directories come with a sandbox, not to it".to_owned());
    }
    let added = layers.add(files, &lengths, &file_systems);
    spec.rootfs.layers = added.map_err(|error| crate::error::chain(&error))?;
    spec.rootfs.upper = first.rootfs.upper;
    spec.init.stdio = stdio;
    // The machine's one interface is the first container's: who shares that reaches what it does, by the same names.
    let shared = spec.namespaces.network == NamespaceRef::Container(first.id.clone());
    spec.network = first.network.clone().filter(|_| shared);
    Ok(spec)
}

/// Our ends of the streams that a process is to have.
fn streams(
    line: &mut Line,
    request: &ControlRequest,
) -> Result<(Option<StreamKind>, Vec<OwnedFd>, Stdio), rustix::io::Errno> {
    if matches!(request, ControlRequest::Exec(ExecRequest { detached: true, .. })) {
        return Ok((None, Vec::new(), Stdio::Nothing));
    }
    let (terminal, input) = match request {
        ControlRequest::Exec(request) => (request.terminal, request.interactive),
        ControlRequest::Copy(CopyRequest::In { .. }) => (None, true),
        ControlRequest::Container(request) => match request.spec.init.stdio {
            Stdio::Terminal { size, input, .. } => (Some(size), input),
            Stdio::Pipes { stdin_port, .. } => (None, stdin_port.is_some()),
            Stdio::Nothing => (None, false),
        },
        _ => (None, false),
    };
    if let Some(size) = terminal {
        let (ours, port) = line.offer()?;
        return Ok((
            Some(StreamKind::Terminal { input }),
            vec![ours],
            Stdio::Terminal { port, input, size },
        ));
    }
    let (stdout, stdout_port) = line.offer()?;
    let (stderr, stderr_port) = line.offer()?;
    let mut ours = vec![stdout, stderr];
    let mut stdin_port = None;
    if input {
        let (stdin, port) = line.offer()?;
        ours.push(stdin);
        stdin_port = Some(port);
    }
    Ok((
        Some(StreamKind::Pipes { stdin: input }),
        ours,
        Stdio::Pipes { stdin_port, stdout_port, stderr_port },
    ))
}

/// What a copier may do: read and make any file. No process of the container that may do less can look into it.
const OF_A_COPIER: CapabilitySet = CapabilitySet(
    1 << 0 // CAP_CHOWN
        | 1 << 1 // CAP_DAC_OVERRIDE
        | 1 << 2 // CAP_DAC_READ_SEARCH
        | 1 << 3 // CAP_FOWNER
        | 1 << 4 // CAP_FSETID
        | 1 << 27 // CAP_MKNOD
        | 1 << 31, // CAP_SETFCAP
);

/// The agent's own program, as root of the container, whoever its processes are.
fn copier(template: &ProcessSpec, request: CopyRequest, stdio: Stdio) -> ProcessSpec {
    let (program, path) = match request {
        CopyRequest::Out { path, follow } => (Program::Pack { follow }, path),
        CopyRequest::In { path, tree, owners } => (Program::Unpack { tree, owners }, path),
    };
    let capabilities = Capabilities {
        bounding: OF_A_COPIER,
        effective: OF_A_COPIER,
        permitted: OF_A_COPIER,
        ..Capabilities::default()
    };
    ProcessSpec { capabilities, ..own(program, vec![path], template, stdio) }
}

/// The agent's watch over a Docker daemon in the first container, and where that says which ports it publishes. It may do
/// nothing that any process of its root's may not.
pub fn docker_watch(
    line: &mut Line,
    first: &ContainerSpec,
) -> Result<(ProcessSpec, OwnedFd), rustix::io::Errno> {
    let (said, stdout_port) = line.offer()?;
    // Nobody reads what it has to say besides.
    let (_, stderr_port) = line.offer()?;
    let is_ipv4 = |address: &&(IpAddr, u8)| address.0.is_ipv4();
    let addresses = first.network.as_ref().map(|network| network.addresses.as_slice());
    let address = addresses.unwrap_or_default().iter().find(is_ipv4);
    let args = address.iter().map(|(address, _)| address.to_string()).collect();
    let stdio = Stdio::Pipes { stdin_port: None, stdout_port, stderr_port };
    Ok((own(Program::DockerPorts, args, &first.init, stdio), said))
}

/// The agent's gate to sockets of the first container, and where it is told who has come. It may do as little.
pub fn gate(
    line: &mut Line,
    first: &ContainerSpec,
    paths: &[String],
) -> Result<(ProcessSpec, OwnedFd), rustix::io::Errno> {
    let (told, stdin_port) = line.offer()?;
    // It says nothing.
    let (_, stdout_port) = line.offer()?;
    let (_, stderr_port) = line.offer()?;
    let stdio = Stdio::Pipes { stdin_port: Some(stdin_port), stdout_port, stderr_port };
    Ok((own(Program::Gate, paths.to_vec(), &first.init, stdio), told))
}

/// A program of the agent's own, as root of the container and with no capability.
fn own(program: Program, args: Vec<String>, template: &ProcessSpec, stdio: Stdio) -> ProcessSpec {
    ProcessSpec {
        program,
        args,
        env: Vec::new(),
        cwd: "/".to_owned(),
        user: "0:0".to_owned(),
        capabilities: Capabilities::default(),
        no_new_privileges: true,
        root_refused: false,
        rlimits: template.rlimits.clone(),
        stdio,
    }
}

/// One like its first, of this command, whose streams nobody has.
pub fn unheard(template: &ProcessSpec, args: Vec<String>) -> ProcessSpec {
    ProcessSpec { program: Program::Named, args, stdio: Stdio::Nothing, ..template.clone() }
}

/// One like its first, but for what was asked for.
fn another(template: &ProcessSpec, request: ExecRequest, stdio: Stdio) -> ProcessSpec {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let mut env = template.env.clone();
    let with_terminal = request.terminal.map(|_| "TERM=xterm".to_owned());
    let own = env.iter().any(|it| it.starts_with("TERM="));
    for variable in with_terminal.filter(|_| !own).into_iter().chain(request.env) {
        env.retain(|it| name(it) != name(&variable));
        env.push(variable);
    }
    ProcessSpec {
        program: Program::Named,
        args: request.args,
        env,
        cwd: request.cwd.unwrap_or_else(|| template.cwd.clone()),
        user: request.user.unwrap_or_else(|| template.user.clone()),
        stdio,
        ..template.clone()
    }
}
