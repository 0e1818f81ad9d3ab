use super::*;
use crate::cli::{Command, Parsed, parse};
use crate::host::{CpuFacts, HostFacts, MemoryFacts, NamedInputs, TerminalFacts};
use crate::plan::ImageDefaults;
use proptest::prelude::*;
use protocol::{CapabilitySet, DeviceAccess, TerminalSize};

/// What the agent is told for this command line.
pub(crate) fn spec(line: &[&str]) -> ContainerSpec {
    let Ok(Parsed::Command(Command::Run(args))) = parse(["cofferdam", "run"].iter().chain(line))
    else {
        panic!("{line:?}")
    };
    let size = TerminalSize { rows: 30, columns: 100 };
    let facts = HostFacts {
        memory: MemoryFacts { total_bytes: 8 << 30, limit_bytes: None },
        cpus: CpuFacts { usable: 2, quota_micros: None },
        terminal: TerminalFacts { stdin: true, size: Some(size) },
    };
    let plan = RunPlan::resolve(&args, &NamedInputs::default(), &facts).unwrap();
    let image = ImageDefaults { cmd: vec!["sh".into()], ..ImageDefaults::default() };
    let process = plan.with_image(&image, "abcdef").unwrap();
    let names = Names {
        container: ContainerId::try_from("abcdef".to_owned()).unwrap(),
        init: ProcessId::try_from("init".to_owned()).unwrap(),
    };
    let disks = Disks {
        layers: extents(&[4096, 8192]).unwrap(),
        writable: extents(&[16384, 4096, 8192]).unwrap(),
    };
    // As a run has them that has taken two.
    let place = |name: &VolumeName| ["one", "two"].iter().position(|it| *it == name.as_str());
    let mounts = mounts(&plan, &process, &disks, place);
    container_spec(&plan, &process, names, disks, mounts, StreamPorts::for_plan(&plan))
}

#[test]
fn streams_are_what_was_asked_for() {
    let pipes = |stdin_port| Stdio::Pipes { stdin_port, stdout_port: 1025, stderr_port: 1026 };
    let size = TerminalSize { rows: 30, columns: 100 };
    assert_eq!(spec(&["i"]).init.stdio, pipes(None));
    assert_eq!(spec(&["-i", "i"]).init.stdio, pipes(Some(1024)));
    assert_eq!(spec(&["-t", "i"]).init.stdio, Stdio::Terminal { port: 1024, input: false, size });
    assert_eq!(spec(&["-it", "i"]).init.stdio, Stdio::Terminal { port: 1024, input: true, size });
}

#[test]
fn what_was_planned_is_what_the_agent_is_told() {
    let spec = spec(&[
        "--read-only",
        "--init",
        "--privileged",
        "--tmpfs",
        "/t",
        "-m",
        "64m",
        "--ulimit",
        "core=0",
        "--security-opt",
        "no-new-privileges",
        "-u",
        "5:6",
        "-w",
        "/w",
        "i",
        "a",
        "b",
    ]);
    assert!(spec.rootfs.readonly && spec.reaper && spec.init.no_new_privileges);
    assert_eq!(spec.rootfs.layers.len(), 2);
    assert_eq!(spec.devices, DeviceAccess::All);
    assert_eq!(spec.seccomp, None);
    assert_eq!(spec.mounts.len(), 1);
    assert_eq!(spec.resources.memory_bytes, Some(64 << 20));
    assert_eq!(spec.init.rlimits.len(), 1);
    assert_eq!((spec.init.user.as_str(), spec.init.cwd.as_str()), ("5:6", "/w"));
    assert_eq!(spec.init.args, ["a", "b"]);
    assert_eq!(spec.init.capabilities.bounding, CapabilitySet(0x1ff_ffff_ffff));
    assert_eq!(spec.init.capabilities.ambient, CapabilitySet(0));
    assert_eq!(spec.hostname, "abcdef");
    assert_eq!(spec.namespaces, Namespaces::default());
}

#[test]
fn volumes_are_where_they_stand_on_the_disk() {
    let spec =
        spec(&["-v", "two:/b:ro", "-v", "one:/a:nocopy", "-v", "/own", "-v", "./x:/x:ro", "i"]);
    assert_eq!(spec.rootfs.upper, Upper::Disk(DiskExtent { offset: 0, length: 16384 }));
    let extent = |offset, length| DiskExtent { offset, length };
    let expected = [
        ("/b", MountSource::Volume { extent: extent(20480, 8192), copy: true }, "ro"),
        ("/a", MountSource::Volume { extent: extent(16384, 4096), copy: false }, "rw"),
        ("/own", MountSource::Directory { copy: true }, "rw"),
        ("/x", MountSource::Share { number: 0 }, "ro"),
    ];
    for (mount, (destination, source, option)) in spec.mounts.iter().zip(expected) {
        assert_eq!((mount.destination.as_str(), mount.source), (destination, source));
        assert_eq!(mount.options, [option]);
    }
    assert_eq!(spec.mounts.len(), 4);
    let strict = self::spec(&["--profile", "strict", "-v", "one:/a", "i"]);
    let mount = strict.mounts.iter().find(|mount| mount.destination == "/a").unwrap();
    assert_eq!(mount.options, ["rw", "nosuid", "nodev", "noexec"]);
}

#[test]
fn a_profile_reaches_the_agent() {
    let spec = spec(&["--profile", "strict", "--cap-add", "KILL", "i"]);
    assert_eq!(spec.namespaces, Namespaces { user: NamespaceRef::New, ..Namespaces::default() });
    assert!(spec.init.root_refused && spec.rootfs.readonly);
    let kill = CapabilitySet(1 << 5);
    assert_eq!((spec.init.capabilities.ambient, spec.init.capabilities.bounding), (kill, kill));
}

#[test]
fn the_usual_spec_fits_a_message() {
    let request = protocol::Request::Start(Box::new(spec(&["--cap-add", "ALL", "i"])));
    let bytes = protocol::frame::encode(&request).unwrap();
    assert!(bytes.len() < 32 * 1024, "{} bytes", bytes.len());
}

#[test]
fn layers_that_make_no_disk_are_refused() {
    assert_eq!(extents(&[]), Err(ExtentsError::None));
    assert_eq!(extents(&[4096, 0]), Err(ExtentsError::Length { index: 1, length: 0 }));
    assert_eq!(extents(&[4097]), Err(ExtentsError::Length { index: 0, length: 4097 }));
    let half = 1 << 63;
    assert_eq!(extents(&[half, half]), Err(ExtentsError::TooLong));
}

proptest! {
    #[test]
    fn layers_stand_one_after_the_other(blocks in prop::collection::vec(1u64..1_000_000, 1..200)) {
        let lengths: Vec<u64> = blocks.iter().map(|count| count * ALIGNMENT).collect();
        let extents = extents(&lengths).unwrap();
        let mut end = 0;
        for (extent, length) in extents.iter().zip(&lengths) {
            prop_assert_eq!((extent.offset, extent.length), (end, *length));
            end += length;
        }
        prop_assert_eq!(end, lengths.iter().sum::<u64>());
    }
}
