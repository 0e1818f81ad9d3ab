//! Any value of each type of the contract, for properties that hold for all of them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::*;
use std::net::IpAddr;

pub fn container_id() -> impl Strategy<Value = ContainerId> {
    "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}".prop_map(|text| ContainerId::try_from(text).unwrap())
}

pub fn process_id() -> impl Strategy<Value = ProcessId> {
    "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}".prop_map(|text| ProcessId::try_from(text).unwrap())
}

fn process_ref() -> impl Strategy<Value = ProcessRef> {
    (option::of(container_id()), process_id())
        .prop_map(|(container, process)| ProcessRef { container, process })
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(any::<String>(), 0..4)
}

fn namespace() -> impl Strategy<Value = NamespaceRef> {
    prop_oneof![
        Just(NamespaceRef::New),
        Just(NamespaceRef::Guest),
        container_id().prop_map(NamespaceRef::Container),
    ]
}

fn namespaces() -> impl Strategy<Value = Namespaces> {
    let one = namespace;
    (one(), one(), one(), one(), one(), one(), one()).prop_map(
        |(mount, pid, network, uts, ipc, cgroup, user)| Namespaces {
            mount,
            pid,
            network,
            uts,
            ipc,
            cgroup,
            user,
        },
    )
}

fn rootfs() -> impl Strategy<Value = Rootfs> {
    let upper = prop_oneof![
        extent().prop_map(Upper::Disk),
        any::<Option<u64>>().prop_map(|bytes| Upper::Memory { bytes }),
    ];
    (vec(extent(), 0..4), upper, any::<bool>()).prop_map(|(layers, upper, readonly)| Rootfs {
        layers,
        upper,
        readonly,
    })
}

fn extent() -> impl Strategy<Value = DiskExtent> {
    any::<(u64, u64)>().prop_map(|(offset, length)| DiskExtent { offset, length })
}

fn mount() -> impl Strategy<Value = Mount> {
    let source = prop_oneof![
        Just(MountSource::Tmpfs),
        Just(MountSource::OwnTmpfs),
        (extent(), any::<bool>()).prop_map(|(extent, copy)| MountSource::Volume { extent, copy }),
        any::<bool>().prop_map(|copy| MountSource::Directory { copy }),
        any::<u32>().prop_map(|number| MountSource::Share { number }),
    ];
    (any::<String>(), source, texts()).prop_map(|(destination, source, options)| Mount {
        destination,
        source,
        options,
    })
}

fn action() -> impl Strategy<Value = SeccompAction> {
    prop_oneof![
        Just(SeccompAction::Allow),
        any::<u16>().prop_map(SeccompAction::Errno),
        Just(SeccompAction::KillProcess),
        Just(SeccompAction::KillThread),
        Just(SeccompAction::Trap),
        Just(SeccompAction::Log),
    ]
}

fn comparison() -> impl Strategy<Value = SeccompComparison> {
    use SeccompComparison::*;
    prop::sample::select(vec![
        NotEqual,
        LessThan,
        LessOrEqual,
        Equal,
        GreaterOrEqual,
        GreaterThan,
        MaskedEqual,
    ])
}

fn seccomp() -> impl Strategy<Value = SeccompProfile> {
    let argument = (any::<(u8, u64, u64)>(), comparison()).prop_map(
        |((index, value, value_two), comparison)| SeccompArgument {
            index,
            value,
            value_two,
            comparison,
        },
    );
    let rule = (texts(), action(), vec(argument, 0..3))
        .prop_map(|(names, action, arguments)| SeccompRule { names, action, arguments });
    (action(), texts(), vec(rule, 0..4)).prop_map(|(default_action, architectures, rules)| {
        SeccompProfile { default_action, architectures, rules }
    })
}

fn size() -> impl Strategy<Value = TerminalSize> {
    any::<(u16, u16)>().prop_map(|(rows, columns)| TerminalSize { rows, columns })
}

fn stdio() -> impl Strategy<Value = Stdio> {
    prop_oneof![
        any::<(Option<u32>, u32, u32)>().prop_map(|(stdin_port, stdout_port, stderr_port)| {
            Stdio::Pipes { stdin_port, stdout_port, stderr_port }
        }),
        (any::<(u32, bool)>(), size()).prop_map(|((port, input), size)| Stdio::Terminal {
            port,
            input,
            size
        }),
    ]
}

fn process_spec() -> impl Strategy<Value = ProcessSpec> {
    let capabilities = any::<[u64; 5]>().prop_map(|sets| {
        let [bounding, effective, permitted, inheritable, ambient] = sets.map(CapabilitySet);
        Capabilities { bounding, effective, permitted, inheritable, ambient }
    });
    let rlimit =
        any::<(String, u64, u64)>().prop_map(|(name, soft, hard)| Rlimit { name, soft, hard });
    let words = (texts(), texts(), any::<String>(), any::<String>());
    (words, capabilities, any::<[bool; 2]>(), vec(rlimit, 0..3), stdio()).prop_map(
        |((args, env, cwd, user), capabilities, fences, rlimits, stdio)| {
            let [no_new_privileges, root_refused] = fences;
            ProcessSpec {
                program: match (root_refused, no_new_privileges) {
                    (false, false) if cwd.is_empty() => Program::DockerPorts,
                    (false, false) if user.is_empty() => Program::Gate,
                    (false, false) if args.is_empty() => Program::Tasks,
                    (false, false) => Program::Named,
                    (true, false) => Program::Witness,
                    (follow, true) if args.is_empty() => Program::Pack { follow },
                    (owners, true) => Program::Unpack { tree: env.is_empty(), owners },
                },
                args,
                env,
                cwd,
                user,
                capabilities,
                no_new_privileges,
                root_refused,
                rlimits,
                stdio,
            }
        },
    )
}

fn network() -> impl Strategy<Value = Network> {
    let addresses = vec(any::<(IpAddr, u8)>(), 0..3);
    let names = any::<(String, String)>();
    (any::<u16>(), addresses, vec(any::<IpAddr>(), 0..3), names).prop_map(
        |(mtu, addresses, gateways, (resolv_conf, hosts))| Network {
            mtu,
            addresses,
            gateways,
            resolv_conf,
            hosts,
        },
    )
}

fn container_spec() -> impl Strategy<Value = ContainerSpec> {
    let resources = any::<[Option<u64>; 3]>()
        .prop_map(|[memory_bytes, cpu_micros, pids]| Resources { memory_bytes, cpu_micros, pids });
    let devices = prop::sample::select(vec![DeviceAccess::Standard, DeviceAccess::All]);
    let where_it_is = (container_id(), any::<String>(), rootfs(), vec(mount(), 0..3), namespaces());
    let apparmor = prop::sample::select(vec![AppArmor::Unconfined, AppArmor::Default]);
    let filters = (option::of(seccomp()), apparmor);
    let what_it_may =
        (devices, option::of(network()), resources, filters, texts(), texts(), any::<bool>());
    (where_it_is, what_it_may, process_id(), process_spec()).prop_map(
        |((id, hostname, rootfs, mounts, namespaces), may, init_id, init)| {
            let (devices, network, resources, filters, masked_paths, readonly_paths, reaper) = may;
            let (seccomp, apparmor) = filters;
            ContainerSpec {
                id,
                hostname,
                rootfs,
                mounts,
                namespaces,
                network,
                devices,
                resources,
                seccomp,
                apparmor,
                masked_paths,
                readonly_paths,
                reaper,
                init_id,
                init,
            }
        },
    )
}

/// Any request.
pub fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        container_spec().prop_map(|spec| Request::Start(Box::new(spec))),
        (process_ref(), process_spec())
            .prop_map(|(process, spec)| Request::Run { process, spec: Box::new(spec) }),
        (process_ref(), any::<u8>())
            .prop_map(|(process, signal)| Request::Signal { process, signal }),
        (process_ref(), size()).prop_map(|(process, size)| Request::Resize { process, size }),
        Just(Request::PowerOff),
        container_id().prop_map(Request::Measure),
        any::<bool>().prop_map(Request::Freeze),
        (container_id(), any::<[Option<u64>; 3]>()).prop_map(|(container, limits)| {
            let [memory_bytes, cpu_micros, pids] = limits;
            Request::Limit { container, resources: Resources { memory_bytes, cpu_micros, pids } }
        }),
    ]
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![any::<u8>().prop_map(ExitStatus::Code), any::<u8>().prop_map(ExitStatus::Signal)]
}

fn failure() -> impl Strategy<Value = Failure> {
    use FailureKind::*;
    (prop::sample::select(vec![CannotInvoke, NotFound, Setup]), any::<String>())
        .prop_map(|(kind, message)| Failure { kind, message })
}

fn usage() -> impl Strategy<Value = Usage> {
    (any::<[u64; 7]>(), any::<Option<u64>>()).prop_map(|(numbers, memory_max)| {
        let [cpu_ns, memory_bytes, tasks, read_bytes, written_bytes, guest_bytes, available] =
            numbers;
        let guest_available_bytes = available;
        Usage {
            cpu_ns,
            memory_bytes,
            memory_max,
            tasks,
            read_bytes,
            written_bytes,
            guest_bytes,
            guest_available_bytes,
        }
    })
}

/// Any event.
pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (process_ref(), any::<u32>())
            .prop_map(|(process, guest_pid)| Event::Started { process, guest_pid }),
        (process_ref(), failure())
            .prop_map(|(process, failure)| Event::Failed { process, failure }),
        (process_ref(), status(), any::<bool>()).prop_map(|(process, status, out_of_memory)| {
            Event::Exited { process, status, out_of_memory }
        }),
        Just(Event::PoweringOff),
        (container_id(), usage())
            .prop_map(|(container, usage)| Event::Measured { container, usage }),
        any::<bool>().prop_map(Event::Frozen),
        any::<Option<String>>().prop_map(Event::Limited),
    ]
}
