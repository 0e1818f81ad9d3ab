//! What a request may ask for, and what it is told that asks for more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "how a test fails")]

use protocol::frame::MAX_FRAME_BYTES;
use protocol::limits::*;
use protocol::*;

fn process() -> ProcessSpec {
    ProcessSpec {
        program: Program::Named,
        args: vec!["true".to_owned()],
        env: Vec::new(),
        cwd: "/".to_owned(),
        user: String::new(),
        capabilities: Capabilities::default(),
        no_new_privileges: false,
        root_refused: false,
        rlimits: Vec::new(),
        stdio: Stdio::Pipes { stdin_port: None, stdout_port: 1024, stderr_port: 1025 },
    }
}

fn container() -> ContainerSpec {
    ContainerSpec {
        id: ContainerId::try_from("box".to_owned()).unwrap(),
        hostname: "h".to_owned(),
        network: Some(Network {
            mtu: 1500,
            addresses: Vec::new(),
            gateways: Vec::new(),
            resolv_conf: String::new(),
            hosts: String::new(),
        }),
        rootfs: Rootfs {
            layers: vec![DiskExtent { offset: 0, length: 4096 }],
            upper: Upper::Disk(DiskExtent { offset: 0, length: 1 }),
            readonly: false,
        },
        mounts: Vec::new(),
        namespaces: Namespaces::default(),
        devices: DeviceAccess::Standard,
        resources: Resources::default(),
        apparmor: AppArmor::Unconfined,
        seccomp: Some(SeccompProfile {
            default_action: SeccompAction::Errno(1),
            architectures: Vec::new(),
            rules: vec![rule()],
        }),
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        reaper: false,
        init_id: ProcessId::try_from("init".to_owned()).unwrap(),
        init: process(),
    }
}

fn rule() -> SeccompRule {
    SeccompRule { names: Vec::new(), action: SeccompAction::Allow, arguments: Vec::new() }
}

fn mount() -> Mount {
    Mount { destination: "/m".to_owned(), source: MountSource::Tmpfs, options: Vec::new() }
}

fn start(change: impl Fn(&mut ContainerSpec)) -> Result<Vec<u8>, RequestError> {
    let mut spec = container();
    change(&mut spec);
    Request::Start(Box::new(spec)).encode()
}

/// As many as there may be pass, and one more is named.
#[test]
fn counts() {
    type Fill = fn(&mut ContainerSpec, usize);
    let fills: [(&str, usize, Fill); 11] = [
        ("layers", MAX_LAYERS, |spec, count| {
            spec.rootfs.layers = vec![DiskExtent { offset: 0, length: 4096 }; count];
        }),
        ("mounts", MAX_MOUNTS, |spec, count| spec.mounts = vec![mount(); count]),
        ("masked paths", MAX_PATHS, |spec, count| spec.masked_paths = vec![String::new(); count]),
        ("read-only paths", MAX_PATHS, |spec, count| {
            spec.readonly_paths = vec![String::new(); count];
        }),
        ("addresses", MAX_ADDRESSES, |spec, count| {
            let address = (std::net::Ipv4Addr::LOCALHOST.into(), 8);
            spec.network.as_mut().unwrap().addresses = vec![address; count];
        }),
        ("gateways", MAX_ADDRESSES, |spec, count| {
            let gateway = std::net::Ipv4Addr::LOCALHOST.into();
            spec.network.as_mut().unwrap().gateways = vec![gateway; count];
        }),
        ("arguments", MAX_ARGS, |spec, count| spec.init.args = vec![String::new(); count]),
        ("environment variables", MAX_ENV, |spec, count| {
            spec.init.env = vec![String::new(); count];
        }),
        ("resource limits", MAX_RLIMITS, |spec, count| {
            let limit = Rlimit { name: "core".to_owned(), soft: 0, hard: 0 };
            spec.init.rlimits = vec![limit; count];
        }),
        ("rules for system calls", MAX_SECCOMP_RULES, |spec, count| {
            spec.seccomp.as_mut().unwrap().rules = vec![rule(); count];
        }),
        ("names of one rule for system calls", MAX_SECCOMP_LIST, |spec, count| {
            spec.seccomp.as_mut().unwrap().rules[0].names = vec![String::new(); count];
        }),
    ];
    for (name, most, fill) in fills {
        start(|spec| fill(spec, most)).unwrap();
        match start(|spec| fill(spec, most + 1)) {
            Err(RequestError::TooMany { what, count, limit }) => {
                assert_eq!((what, count, limit), (name, most + 1, most));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let run = |args: usize| {
        let process =
            ProcessRef { container: None, process: ProcessId::try_from("p".to_owned()).unwrap() };
        let spec = Box::new(ProcessSpec { args: vec![String::new(); args], ..self::process() });
        Request::Run { process, spec }.encode()
    };
    run(MAX_ARGS).unwrap();
    let error = run(MAX_ARGS + 1).unwrap_err().to_string();
    assert_eq!(error, "16385 arguments are over the limit of 16384");
}

/// What is too long as a whole says what of it is.
#[test]
fn length() {
    let long = "x".repeat(MAX_FRAME_BYTES);
    let longest = |change: &dyn Fn(&mut ContainerSpec)| match start(change) {
        Err(RequestError::TooLong { what, bytes }) => {
            assert!(bytes > MAX_FRAME_BYTES);
            what
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(longest(&|spec| spec.init.args.push(long.clone())), "arguments");
    assert_eq!(longest(&|spec| spec.init.env.push(long.clone())), "environment");
    assert_eq!(longest(&|spec| spec.masked_paths.push(long.clone())), "paths");
    let hosts = |spec: &mut ContainerSpec| spec.network.as_mut().unwrap().hosts = long.clone();
    assert_eq!(longest(&hosts), "names of other machines");
    let named = |spec: &mut ContainerSpec| {
        spec.seccomp.as_mut().unwrap().rules[0].names.push(long.clone());
    };
    assert_eq!(longest(&named), "system call filter");
    let half = |spec: &mut ContainerSpec| {
        spec.init.args = vec!["x".repeat(MAX_FRAME_BYTES / 2)];
        spec.mounts = vec![Mount { destination: "y".repeat(MAX_FRAME_BYTES / 2 + 1), ..mount() }];
    };
    assert_eq!(longest(&half), "mounts");
    assert!(start(|spec| spec.init.args.push("x".repeat(MAX_FRAME_BYTES / 2))).is_ok());
}

/// A request that is small is the same bytes as any other message.
#[test]
fn form() {
    assert_eq!(Request::PowerOff.encode().unwrap(), frame::encode(&Request::PowerOff).unwrap());
}
