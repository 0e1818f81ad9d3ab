//! The bytes of every message, pinned: a change of them is a change of the protocol's version.
//!
//! postcard's wire form: numbers as varints, texts and lists with their count before them, a variant
//! as its index. Each message stands here in hexadecimal, in the parts it consists of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "how a test fails")]

use protocol::frame::{Decoder, FrameError};
use protocol::handshake::{Hello, PROTOCOL_VERSION, VersionMismatch, Welcome, greeting};
use protocol::*;
use std::fmt::Debug;

/// With another version, other bytes are right: change both together.
#[test]
fn these_are_the_bytes_of_this_version() {
    assert_eq!(PROTOCOL_VERSION, 9);
}

/// Encodes, compares with `parts` (their length goes before them), and decodes again.
#[track_caller]
fn pinned<M>(message: &M, parts: &[&str])
where
    M: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    let payload: String = parts.concat().split_whitespace().collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let encoded = frame::encode(message).unwrap();
    let length = u32::try_from(payload.len() / 2).unwrap();
    assert_eq!(hex(&encoded), hex(&length.to_le_bytes()) + &payload);
    let mut decoder = Decoder::default();
    decoder.push(&encoded);
    assert_eq!(decoder.next::<M>().unwrap().as_ref(), Some(message));
}

fn process() -> ProcessRef {
    ProcessRef {
        container: Some(ContainerId::try_from("box".to_owned()).unwrap()),
        process: ProcessId::try_from("init".to_owned()).unwrap(),
    }
}
/// `Some("box")`, `"init"`.
const PROCESS: &str = "01 03626f78 04696e6974";

fn in_the_guest() -> ProcessRef {
    ProcessRef { container: None, process: ProcessId::try_from("p1".to_owned()).unwrap() }
}
/// `None`, `"p1"`.
const IN_THE_GUEST: &str = "00 027031";

fn process_spec(stdio: Stdio) -> ProcessSpec {
    ProcessSpec {
        program: Program::Witness,
        args: vec!["sh".to_owned(), "-c".to_owned()],
        env: vec!["A=1".to_owned()],
        cwd: "/".to_owned(),
        user: "u:g".to_owned(),
        capabilities: Capabilities {
            bounding: CapabilitySet(1),
            effective: CapabilitySet(0x80),
            permitted: CapabilitySet(0),
            inheritable: CapabilitySet(2),
            ambient: CapabilitySet(1 << 40),
        },
        no_new_privileges: true,
        root_refused: false,
        rlimits: vec![Rlimit { name: "core".to_owned(), soft: 0, hard: u64::MAX }],
        stdio,
    }
}
/// All of it but the streams.
const PROCESS_SPEC: &str = "01 02 027368 022d63  01 03413d31  012f  03753a67 \
    01 8001 00 02 808080808020  01 00  01 04636f7265 00 ffffffffffffffffff01";

fn container_spec() -> ContainerSpec {
    ContainerSpec {
        id: ContainerId::try_from("box".to_owned()).unwrap(),
        hostname: "h".to_owned(),
        network: Some(Network {
            mtu: 1500,
            addresses: vec![("192.0.0.2".parse().unwrap(), 29)],
            gateways: vec!["fe80::1".parse().unwrap()],
            resolv_conf: "r".to_owned(),
            hosts: "x".to_owned(),
        }),
        rootfs: Rootfs {
            layers: vec![DiskExtent { offset: 4096, length: 8192 }],
            upper: Upper::Disk(DiskExtent { offset: 0, length: 8192 }),
            readonly: true,
        },
        mounts: vec![Mount {
            destination: "/tmp".to_owned(),
            source: MountSource::Tmpfs,
            options: vec!["ro".to_owned()],
        }],
        namespaces: Namespaces {
            network: NamespaceRef::Container(ContainerId::try_from("n".to_owned()).unwrap()),
            ..Namespaces::default()
        },
        devices: DeviceAccess::All,
        resources: Resources { memory_bytes: Some(1), cpu_micros: None, pids: Some(2) },
        seccomp: Some(SeccompProfile {
            default_action: SeccompAction::Errno(1),
            architectures: vec!["X".to_owned()],
            rules: vec![SeccompRule {
                names: vec!["read".to_owned()],
                action: SeccompAction::Log,
                arguments: vec![SeccompArgument {
                    index: 5,
                    value: 1,
                    value_two: 2,
                    comparison: SeccompComparison::MaskedEqual,
                }],
            }],
        }),
        apparmor: AppArmor::Default,
        masked_paths: vec!["/m".to_owned()],
        readonly_paths: vec!["/r".to_owned()],
        reaper: true,
        init_id: ProcessId::try_from("init".to_owned()).unwrap(),
        init: process_spec(Stdio::Pipes { stdin_port: None, stdout_port: 1024, stderr_port: 1025 }),
    }
}
const CONTAINER_SPEC: [&str; 10] = [
    "03626f78 0168",
    "01 8020 8040  00 00 8040  01",
    "01 042f746d70 00 01 02726f",
    "00 00 02016e 00 00 00 01",
    "01 dc0b 01 00 c0000002 1d  01 01 fe800000000000000000000000000001  0172 0178",
    "01  0101 00 0102",
    "01 0101 010158 01 010472656164 05 01 05 01 02 06",
    "01  01022f6d 01022f72 01 04696e6974",
    PROCESS_SPEC,
    "00 00 8008 8108",
];

#[test]
fn the_handshake() {
    let hello = Hello {
        protocol_version: 4,
        agent_version: "0.1".to_owned(),
        kernel_release: "6.12".to_owned(),
        agent_started_ns: 1000,
    };
    pinned(&hello, &["04 03302e31 04362e3132 e807"]);
    pinned(&Welcome { protocol_version: PROTOCOL_VERSION, realtime_ns: 128 }, &["09 8001"]);
}

#[derive(Debug)]
enum Refused {
    Version(u32),
    Frame(FrameError),
}

impl From<VersionMismatch> for Refused {
    fn from(error: VersionMismatch) -> Self {
        Self::Version(error.theirs)
    }
}

impl From<FrameError> for Refused {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

/// What this version makes of the first message of every other, whatever stands behind the version.
#[test]
fn other_versions_are_told_by_their_version() {
    let greeted = |payload: &[u8]| {
        let mut decoder = Decoder::default();
        decoder.push(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        assert!(greeting::<Hello, Refused>(&mut decoder).unwrap().is_none());
        decoder.push(payload);
        let hello = greeting::<Hello, Refused>(&mut decoder);
        let mut decoder = Decoder::default();
        decoder.push(
            &frame::encode(&Welcome { protocol_version: PROTOCOL_VERSION, realtime_ns: 128 })
                .unwrap(),
        );
        assert_eq!(greeting::<Welcome, Refused>(&mut decoder).unwrap().unwrap().realtime_ns, 128);
        hello
    };
    // Nothing else, something else, and the largest number there is.
    assert!(matches!(greeted(&[1]), Err(Refused::Version(1))));
    assert!(matches!(greeted(&[6]), Err(Refused::Version(6))));
    assert!(matches!(greeted(&[0x80, 1, 0xff, 0xff, 0xff]), Err(Refused::Version(128))));
    assert!(matches!(greeted(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Refused::Version(u32::MAX))));
    assert!(matches!(greeted(&[0]), Err(Refused::Version(0))));
    // Of this version, but malformed; and no version at all.
    assert!(matches!(greeted(&[9, 9]), Err(Refused::Frame(FrameError::Malformed(_)))));
    assert!(matches!(greeted(&[0xff; 8]), Err(Refused::Frame(FrameError::Malformed(_)))));
    assert_eq!(greeted(&[9, 1, b'a', 1, b'k', 5]).unwrap().unwrap().agent_started_ns, 5);
}

#[test]
fn requests() {
    let start = Request::Start(Box::new(container_spec()));
    pinned(&start, &[&["00"][..], &CONTAINER_SPEC[..]].concat());
    let size = TerminalSize { rows: 24, columns: 200 };
    let spec = Box::new(process_spec(Stdio::Terminal { port: 7, input: true, size }));
    let run = Request::Run { process: in_the_guest(), spec };
    pinned(&run, &["01", IN_THE_GUEST, PROCESS_SPEC, "01 07 01 18 c801"]);
    pinned(&Request::Signal { process: process(), signal: 15 }, &["02", PROCESS, "0f"]);
    pinned(&Request::Resize { process: process(), size }, &["03", PROCESS, "18 c801"]);
    pinned(&Request::PowerOff, &["04"]);
    let container = ContainerId::try_from("box".to_owned()).unwrap();
    pinned(&Request::Measure(container), &["05 03626f78"]);
    pinned(&Request::Freeze(true), &["06 01"]);
    let container = ContainerId::try_from("box".to_owned()).unwrap();
    let resources = Resources { memory_bytes: Some(300), cpu_micros: None, pids: Some(1) };
    pinned(&Request::Limit { container, resources }, &["07 03626f78 01ac02 00 0101"]);
}

#[test]
fn events() {
    let started = Event::Started { process: process(), guest_pid: 300 };
    pinned(&started, &["00", PROCESS, "ac02"]);
    let kinds = [FailureKind::CannotInvoke, FailureKind::NotFound, FailureKind::Setup];
    for (index, kind) in kinds.into_iter().enumerate() {
        let failure = Failure { kind, message: "no".to_owned() };
        let failed = Event::Failed { process: process(), failure };
        pinned(&failed, &["01", PROCESS, &format!("{index:02x}"), "026e6f"]);
    }
    let exited = |status| Event::Exited { process: in_the_guest(), status, out_of_memory: true };
    pinned(&exited(ExitStatus::Code(42)), &["02", IN_THE_GUEST, "00 2a 01"]);
    pinned(&exited(ExitStatus::Signal(9)), &["02", IN_THE_GUEST, "01 09 01"]);
    pinned(&Event::PoweringOff, &["03"]);
    let usage = Usage {
        cpu_ns: 1,
        memory_bytes: 2,
        memory_max: Some(300),
        tasks: 4,
        read_bytes: 5,
        written_bytes: 6,
        guest_bytes: 7,
        guest_available_bytes: 8,
    };
    let container = ContainerId::try_from("box".to_owned()).unwrap();
    pinned(&Event::Measured { container, usage }, &["04 03626f78 01 02 01ac02 04 05 06 07 08"]);
    pinned(&Event::Frozen(false), &["05 00"]);
    pinned(&Event::Limited(Some("no".to_owned())), &["06 01 026e6f"]);
}

/// The variants that no message above holds, each by its index.
#[test]
fn variants() {
    let errno = SeccompAction::Errno(38);
    let actions = [
        (SeccompAction::Allow, "00"),
        (errno, "01 26"),
        (SeccompAction::KillProcess, "02"),
        (SeccompAction::KillThread, "03"),
        (SeccompAction::Trap, "04"),
        (SeccompAction::Log, "05"),
    ];
    for (action, bytes) in actions {
        pinned(&action, &[bytes]);
    }
    use SeccompComparison::*;
    let comparisons =
        [NotEqual, LessThan, LessOrEqual, Equal, GreaterOrEqual, GreaterThan, MaskedEqual];
    for (index, comparison) in comparisons.into_iter().enumerate() {
        pinned(&comparison, &[&format!("{index:02x}")]);
    }
    pinned(&Upper::Disk(DiskExtent { offset: 1, length: 2 }), &["00 01 02"]);
    pinned(&Upper::Memory { bytes: Some(5) }, &["01 0105"]);
    pinned(&MountSource::OwnTmpfs, &["01"]);
    let extent = DiskExtent { offset: 3, length: 4 };
    pinned(&MountSource::Volume { extent, copy: true }, &["02 03 04 01"]);
    pinned(&MountSource::Directory { copy: false }, &["03 00"]);
    pinned(&MountSource::Share { number: 7 }, &["04 07"]);
    pinned(&DeviceAccess::Standard, &["00"]);
    pinned(&AppArmor::Unconfined, &["00"]);
    pinned(&NamespaceRef::Guest, &["01"]);
    pinned(&Stdio::Nothing, &["02"]);
    pinned(
        &Stdio::Pipes { stdin_port: Some(9), stdout_port: 1, stderr_port: 2 },
        &["00 0109 01 02"],
    );
}
