//! The agent itself, spoken to with no launcher between: a machine of our VMM's, and its control stream.

use super::World;
use protocol::frame::{self, Decoder};
use protocol::handshake::{Hello, PROTOCOL_VERSION, Welcome};
use protocol::{
    AppArmor, Capabilities, CapabilitySet, ContainerId, ContainerSpec, DeviceAccess, DiskExtent,
    Event, ExitStatus, FailureKind, Namespaces, ProcessId, ProcessRef, ProcessSpec, Request,
    Resources, Rootfs, Stdio, Upper, port,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vmm::virtio::vsock::Offers;
use vmm::{DiskConfig, FdSlot, Threads, VmConfig, VmExit};

const MEMORY_MIB: u32 = 256;
const UPPER_BYTES: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(120);
/// Every capability that Linux 6.12 knows.
const ALL_CAPABILITIES: CapabilitySet = CapabilitySet((1 << 41) - 1);

/// A conversation with an agent, and the machine that it lives in.
#[derive(Debug)]
pub struct Agent {
    machine: JoinHandle<VmExit>,
    /// The length of the one layer that its containers are made of.
    layer_bytes: u64,
    stream: UnixStream,
    decoder: Decoder,
    offers: Offers,
    next_port: u32,
}

impl Agent {
    /// Boots a machine whose layer is the plain image's, and shakes hands.
    pub fn boot(world: &World) -> Self {
        let state = world.fresh_state();
        world.sandbox().state(&state).run(&["true"]).exits(0);
        let layer = File::open(erofs_below(&state).expect("the layer is kept")).unwrap();
        let layer_bytes = layer.metadata().unwrap().len();
        let (config, files) = machine(world, layer, layer_bytes);
        let (stream, theirs) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let offers = Offers::new();
        offers.offer(port::CONTROL_PORT, theirs.into()).unwrap();
        let vm = vmm::boot(&config, files, offers.clone(), Threads::unconfined()).unwrap();
        let mut agent = Self {
            machine: std::thread::spawn(move || vm.run().exit),
            layer_bytes,
            stream,
            decoder: Decoder::default(),
            offers,
            next_port: port::FIRST_STREAM_PORT,
        };
        assert_eq!(agent.hear::<Hello>().protocol_version, PROTOCOL_VERSION);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let realtime_ns = now.as_nanos().try_into().unwrap();
        agent.tell(&Welcome { protocol_version: PROTOCOL_VERSION, realtime_ns });
        agent
    }

    /// Runs a process to its end, in a container or in the guest itself: how it ended, or why it did not
    /// begin; and what it wrote.
    pub fn runs(
        &mut self,
        container: Option<&str>,
        name: &str,
        args: &[&str],
    ) -> (Result<ExitStatus, FailureKind>, String) {
        let (spec, mut stdout) = self.process(args);
        let process = ProcessRef { container: container.map(id), process: process_id(name) };
        self.tell(&Request::Run { process: process.clone(), spec: Box::new(spec) });
        match self.hear() {
            Event::Failed { process: which, failure } if which == process => {
                return (Err(failure.kind), String::new());
            }
            Event::Started { process: which, .. } if which == process => {}
            other => panic!("{other:?}"),
        }
        let mut output = String::new();
        stdout.read_to_string(&mut output).unwrap();
        match self.hear() {
            Event::Exited { process: which, status, .. } if which == process => {
                (Ok(status), output)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Starts a container that stays.
    pub fn starts(&mut self, name: &str, namespaces: Namespaces, args: &[&str]) {
        self.asks_for(name, namespaces, args);
        match self.hear() {
            Event::Started { process, .. } if process.container == Some(id(name)) => {}
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Asks for a container that cannot be; gives the reason.
    pub fn does_not_start(&mut self, name: &str, namespaces: Namespaces) -> String {
        self.asks_for(name, namespaces, &["true"]);
        match self.hear() {
            Event::Failed { failure, .. } if failure.kind == FailureKind::Setup => failure.message,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn asks_for(&mut self, name: &str, namespaces: Namespaces, args: &[&str]) {
        let (init, _stdout) = self.process(args);
        let layer = DiskExtent { offset: 0, length: self.layer_bytes };
        let upper = DiskExtent { offset: 0, length: UPPER_BYTES };
        let spec = ContainerSpec {
            id: id(name),
            hostname: name.to_owned(),
            network: None,
            rootfs: Rootfs { layers: vec![layer], upper: Upper::Disk(upper), readonly: false },
            mounts: Vec::new(),
            namespaces,
            devices: DeviceAccess::Standard,
            resources: Resources::default(),
            seccomp: None,
            apparmor: AppArmor::Unconfined,
            masked_paths: Vec::new(),
            readonly_paths: Vec::new(),
            reaper: false,
            init_id: process_id("init"),
            init,
        };
        self.tell(&Request::Start(Box::new(spec)));
    }

    /// Has the machine stopped in order; gives how it ended.
    pub fn powers_off(mut self) -> VmExit {
        self.tell(&Request::PowerOff);
        while self.hear::<Event>() != Event::PoweringOff {}
        self.machine.join().unwrap()
    }

    fn tell(&mut self, message: &impl Serialize) {
        self.stream.write_all(&frame::encode(message).unwrap()).unwrap();
    }

    fn hear<M: DeserializeOwned>(&mut self) -> M {
        loop {
            if let Some(message) = self.decoder.next().unwrap() {
                return message;
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the agent has gone");
            self.decoder.push(&buffer[..count]);
        }
    }

    /// A process's description, and the end of its standard output.
    fn process(&mut self, args: &[&str]) -> (ProcessSpec, UnixStream) {
        let [(stdout_port, stdout), (stderr_port, _)] = [(); 2].map(|()| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            self.next_port += 1;
            self.offers.offer(self.next_port, theirs.into()).unwrap();
            (self.next_port, ours)
        });
        let spec = ProcessSpec {
            program: protocol::Program::Named,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: vec!["PATH=/bin".to_owned()],
            cwd: "/".to_owned(),
            user: String::new(),
            capabilities: Capabilities {
                bounding: ALL_CAPABILITIES,
                effective: ALL_CAPABILITIES,
                permitted: ALL_CAPABILITIES,
                inheritable: CapabilitySet::default(),
                ambient: CapabilitySet::default(),
            },
            no_new_privileges: false,
            root_refused: false,
            rlimits: Vec::new(),
            stdio: Stdio::Pipes { stdin_port: None, stdout_port, stderr_port },
        };
        (spec, stdout)
    }
}

/// The product's own kernel, initramfs and empty disk, and this layer.
fn machine(world: &World, layer: File, layer_bytes: u64) -> (VmConfig, Vec<std::os::fd::OwnedFd>) {
    let product = File::open(&world.product).unwrap();
    let parts = payload::Payload::locate(&product).unwrap();
    let upper = world.scratch_file("upper");
    let upper = File::options().read(true).write(true).create_new(true).open(upper).unwrap();
    let layout = ext4::Layout::of_bytes(UPPER_BYTES).unwrap();
    ext4::format(&upper, &layout, &ext4::Identity { uuid: [7; 16], made_at: 0 }).unwrap();
    let extent = |file, offset, length| vmm::FileExtent { file: FdSlot(file), offset, length };
    let disk = |serial: &str, extent, writable| DiskConfig {
        serial: serial.to_owned(),
        extents: vec![extent],
        writable,
        more: None,
    };
    let config = VmConfig {
        kvm: FdSlot(0),
        memory_mib: MEMORY_MIB,
        vcpus: 1,
        kernel: extent(1, parts.kernel.offset, parts.kernel.length),
        initramfs: extent(1, parts.initramfs.offset, parts.initramfs.length),
        cmdline: Vec::new(),
        disks: vec![
            disk(protocol::LAYERS_DISK_SERIAL, extent(2, 0, layer_bytes), false),
            disk(protocol::UPPER_DISK_SERIAL, extent(3, 0, layout.bytes()), true),
        ],
        shares: None,
        network: None,
        console: None,
    };
    let kvm = File::options().read(true).write(true).open("/dev/kvm").unwrap();
    (config, vec![kvm.into(), product.into(), layer.into(), upper.into()])
}

/// A container's identifier.
pub fn id(name: &str) -> ContainerId {
    ContainerId::try_from(name.to_owned()).unwrap()
}

fn process_id(name: &str) -> ProcessId {
    ProcessId::try_from(name.to_owned()).unwrap()
}

/// The one file below a directory that holds an EROFS image.
fn erofs_below(directory: &Path) -> Option<PathBuf> {
    std::fs::read_dir(directory).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            return erofs_below(&path);
        }
        let mut magic = [0; 4];
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut magic, 1024));
        (read.is_ok() && magic == [0xe2, 0xe1, 0xf5, 0xe0]).then_some(path)
    })
}
