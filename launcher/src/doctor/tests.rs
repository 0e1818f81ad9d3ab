use super::*;
use crate::host::cgroup::Limits;
use crate::host::kvm::{DeviceOwner, KvmDevice};
use crate::host::network::{Kinds, NetworkFacts};
use crate::host::place::{LandlockFacts, QemuFacts, StateDir, StateDirFacts};
use crate::host::process::{ProcessFacts, SeccompMode};
use crate::host::{CpuFacts, HostFacts, MemoryFacts, TerminalFacts};
use crate::outer_walls::tests::walled;
use rustix::io::Errno;

const GIB: u64 = 1 << 30;

fn owner(gid: u32, group: Option<&str>, mode: u32) -> DeviceOwner {
    DeviceOwner { uid: 0, gid, group: group.map(str::to_owned), mode }
}

fn open_kvm() -> KvmFacts {
    KvmFacts::Open(KvmDevice {
        owner: owner(108, Some("kvm"), 0o660),
        device: std::fs::File::open("/dev/null").unwrap(),
    })
}

fn refused(owner: DeviceOwner) -> KvmFacts {
    KvmFacts::Refused { owner, error: std::io::Error::from_raw_os_error(13) }
}

fn qemu() -> Option<QemuFacts> {
    Some(QemuFacts { path: "/usr/bin/qemu-system-x86_64".into(), version: Some("7.2.0".into()) })
}

/// The place that every platform allows: an unprivileged container with a good KVM.
fn good() -> Survey {
    Survey {
        host: HostFacts {
            memory: MemoryFacts { total_bytes: 16 * GIB, limit_bytes: Some(GIB) },
            cpus: CpuFacts { usable: 4, quota_micros: Some(1_500_000) },
            terminal: TerminalFacts::default(),
        },
        limits: Limits { memory_bytes: Some(GIB), cpu_micros: Some(1_500_000), pids: None },
        kvm: open_kvm(),
        probe: Some(KvmProbe { refused: None, useless: None, mips: Some(3000.0) }),
        process: ProcessFacts {
            groups: vec![108],
            label: Some("docker-default (enforce)".into()),
            descriptors: (Some(1024), Some(1024)),
            ..walled().process
        },
        network: NetworkFacts {
            leads_out: Kinds { ipv4: true, ipv6: true },
            ..NetworkFacts::default()
        },
        echo_groups: Some(0..=2000),
        landlock: LandlockFacts::Abi(6),
        own_filters: true,
        state_dir: StateDirFacts {
            path: "/var/lib/cofferdam".into(),
            exists: true,
            found: Ok(StateDir {
                writable: Ok(()),
                nameless_files: true,
                free_bytes: 10 * GIB,
                file_system: "tmpfs".into(),
                foreign: None,
            }),
        },
        shared_memory_bytes: Some(64 << 20),
        qemu: None,
        kernel_release: "6.1.0".into(),
        no_guest: None,
        denied_calls: Vec::new(),
    }
}

fn check(survey: &Survey, name: &str) -> Check {
    examine(survey).checks.into_iter().find(|check| check.name == name).unwrap()
}

#[test]
fn a_good_place_is_all_ok() {
    let report = examine(&good());
    assert!(report.checks.iter().all(|check| check.status == Level::Ok), "{report}");
    assert!(report.verdict.works);
    assert_eq!(report.verdict.accelerator, Some("kvm"));
    let text = report.to_string();
    assert!(
        text.starts_with(
            "ok    kvm-device         — /dev/kvm belongs to root, group 108 (kvm), mode 0660\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("ok    kvm-probe          — 3000 million instructions a second in ring 0\n")
    );
    assert!(text.contains(
        "ok    memory             — limit 1 GiB of 16 GiB: a VM gets 848 MiB by default\n"
    ));
    assert!(text.contains(
        "ok    cpus               — 4 usable, quota 1.50 CPUs: a VM gets 2 by default\n"
    ));
    assert!(text.ends_with("ok    run will work, on KVM\n"));
}

#[test]
fn a_kvm_that_may_not_be_opened_names_its_group_and_the_flags() {
    for qemu in [None, qemu()] {
        let has_qemu = qemu.is_some();
        let survey =
            Survey { kvm: refused(owner(108, Some("kvm"), 0o660)), probe: None, qemu, ..good() };
        let open = check(&survey, "kvm-open");
        assert_eq!(open.status, Level::Fail);
        assert_eq!(open.value, "cannot open /dev/kvm: Permission denied (os error 13)");
        assert_eq!(
            open.hint.unwrap(),
            "it belongs to group 108 (kvm): start the outer container with --group-add 108 (docker), or \
             --group-add keep-groups (podman, by a member of that group)"
        );
        let verdict = examine(&survey).verdict;
        assert!(!verdict.works);
        assert_eq!(verdict.accelerator, None);
        assert_eq!(verdict.summary.contains("--accel tcg"), has_qemu, "{}", verdict.summary);
    }
}

#[test]
fn a_kvm_of_roots_alone_and_one_behind_a_label_have_their_own_hints() {
    assert_eq!(
        owner(0, None, 0o600).access_hint(),
        "no user but root may open it (mode 0600): give it a group on the host (chgrp kvm and chmod 660), \
         or use --accel tcg, which is slow and no hardware wall"
    );
    assert!(owner(0, None, 0o666).access_hint().contains("security label"));
    assert!(owner(109, None, 0o660).access_hint().starts_with("it belongs to group 109: "));
}

#[test]
fn a_useless_kvm_falls_back_where_qemu_is_and_fails_where_it_is_not() {
    let probe =
        Some(KvmProbe { refused: None, useless: Some("fxsave fails".into()), mips: Some(1.0) });
    let with = Survey { probe: probe.clone(), qemu: qemu(), ..good() };
    assert_eq!(check(&with, "kvm-probe").status, Level::Warn);
    assert_eq!(
        check(&with, "kvm-probe").value,
        "fxsave fails (1 million instructions a second in ring 0)"
    );
    let verdict = examine(&with).verdict;
    assert_eq!((verdict.works, verdict.accelerator), (true, Some("tcg")));
    assert!(verdict.summary.contains("slow, and no hardware wall (fxsave fails)"));
    let without = Survey { probe, ..good() };
    assert_eq!(check(&without, "kvm-probe").status, Level::Fail);
    assert!(!examine(&without).verdict.works);
}

#[test]
fn no_kvm_at_all() {
    let absent = || KvmFacts::Absent(std::io::Error::from_raw_os_error(2));
    let with = Survey { kvm: absent(), probe: None, qemu: qemu(), ..good() };
    assert_eq!(check(&with, "kvm-device").status, Level::Warn);
    assert_eq!(examine(&with).verdict.accelerator, Some("tcg"));
    let without = Survey { kvm: absent(), probe: None, ..good() };
    let report = examine(&without);
    assert!(!report.verdict.works);
    assert_eq!(
        report.verdict.summary,
        "run will not work: there is no /dev/kvm, and qemu-system-x86_64 is not installed"
    );
}

#[test]
fn a_kvm_that_lacks_something_is_no_kvm() {
    let lacks = "cannot make a virtual machine: kvm lacks KVM_CAP_IRQFD".to_owned();
    let useless = Some(format!("/dev/kvm is there but: {lacks}"));
    let probe = Some(KvmProbe { refused: Some(lacks.clone()), useless, mips: None });
    let survey = Survey { probe, ..good() };
    assert_eq!(check(&survey, "kvm-api").value, lacks);
    assert!(!examine(&survey).verdict.works);
    assert!(examine(&Survey { qemu: qemu(), ..survey }).verdict.works);
}

/// One change to a good place, and the one check that fails of it.
#[test]
fn what_run_would_fail_of_fails_here() {
    let broken = || Some(QemuFacts { version: None, ..qemu().unwrap() });
    assert!(examine(&Survey { qemu: broken(), ..good() }).verdict.works, "KVM does not need it");
    let absent = KvmFacts::Absent(std::io::Error::from_raw_os_error(2));
    let report = examine(&Survey { kvm: absent, probe: None, qemu: broken(), ..good() });
    assert!(!report.verdict.works);
    assert!(report.verdict.summary.contains("does not run"), "{report}");

    let found = good().state_dir.found.unwrap();
    let state_dir = |found| StateDirFacts { path: "/s".into(), exists: true, found: Ok(found) };
    let full = StateDir { free_bytes: 0, ..found.clone() };
    let foreign = StateDir { foreign: Some("cannot use /s/store: EACCES".into()), ..found };
    let pids = Limits { pids: Some(17), ..good().limits };
    for (survey, name) in [
        (Survey { state_dir: state_dir(full), ..good() }, "state-directory"),
        (Survey { state_dir: state_dir(foreign), ..good() }, "state-directory"),
        (Survey { limits: pids, ..good() }, "processes"),
        (Survey { no_guest: Some(payload::PayloadError::Absent), ..good() }, "guest"),
        (Survey { denied_calls: vec!["pidfd_open", "close_range"], ..good() }, "system-calls"),
    ] {
        let check = check(&survey, name);
        assert_eq!(check.status, Level::Fail, "{name}");
        assert!(check.hint.is_some(), "{name}");
        let verdict = examine(&survey).verdict;
        assert_eq!(verdict.summary, format!("run will not work: see {name}"));
        assert!(!verdict.works);
    }
}

#[test]
fn a_state_directory_that_is_not_there_or_not_writable_fails() {
    let path = || "/var/lib/cofferdam".into();
    let Ok(mut found) = good().state_dir.found else { panic!() };
    found.writable = Err(Errno::ROFS);
    let missing = StateDirFacts { path: path(), exists: false, found: Ok(found.clone()) };
    let read_only = StateDirFacts { path: path(), exists: true, found: Ok(found) };
    let closed = StateDirFacts { path: path(), exists: true, found: Err(Errno::ACCESS) };
    for (state_dir, value) in [
        (missing, "no /var/lib/cofferdam, and it cannot be made"),
        (read_only, "cannot write to /var/lib/cofferdam: Read-only file system (os error 30)"),
        (closed, "cannot open /var/lib/cofferdam: Permission denied (os error 13)"),
    ] {
        let survey = Survey { state_dir, ..good() };
        let check = check(&survey, "state-directory");
        assert_eq!((check.status, check.value.as_str()), (Level::Fail, value));
        assert!(check.hint.unwrap().contains("owned by user 1000"));
        let verdict = examine(&survey).verdict;
        assert_eq!(verdict.summary, "run will not work: see state-directory");
        assert!(!verdict.works && verdict.accelerator.is_none());
    }
}

#[test]
fn a_state_directory_that_can_be_made_is_well() {
    let state_dir = StateDirFacts { exists: false, ..good().state_dir };
    let check = check(&Survey { state_dir, ..good() }, "state-directory");
    assert_eq!(check.status, Level::Ok);
    assert_eq!(
        check.value,
        "/var/lib/cofferdam: will be made; tmpfs, 10 GiB free, counts towards the memory limit"
    );
}

#[test]
fn privileges_that_are_not_needed_are_warned_of_and_do_not_stop_it() {
    let mut survey = good();
    survey.process = ProcessFacts {
        uid: 0,
        capabilities: Some(0xa804_25fb),
        no_new_privileges: Some(false),
        seccomp: Some(SeccompMode::Off),
        ..survey.process
    };
    for name in ["user", "capabilities", "no-new-privileges", "seccomp"] {
        let check = check(&survey, name);
        assert_eq!(check.status, Level::Warn, "{name}");
        assert!(check.hint.is_some(), "{name}");
    }
    assert_eq!(check(&survey, "capabilities").value, "14 of them, with CAP_CHOWN");
    assert!(examine(&survey).verdict.works);
}

#[test]
fn what_each_landlock_closes_is_said() {
    for (abi, word) in
        [(2, "filters close ports"), (4, "TCP ports; the filters"), (6, "and abstract")]
    {
        let survey = Survey { landlock: LandlockFacts::Abi(abi), ..good() };
        let check = check(&survey, "landlock");
        assert!(check.status == Level::Ok && check.value.contains(word), "{check:?}");
    }
}

#[test]
fn a_place_where_no_process_can_filter_itself_is_warned_of() {
    let survey = Survey { own_filters: false, ..good() };
    assert_eq!(check(&survey, "own-filters").status, Level::Warn);
    assert_eq!(check(&good(), "own-filters").status, Level::Ok);
}

#[test]
fn the_ways_of_having_no_landlock_are_told_apart() {
    for (landlock, value) in [
        (LandlockFacts::NotBuilt, "the kernel does not have it"),
        (LandlockFacts::Disabled, "the kernel has it switched off"),
        (LandlockFacts::Filtered, "the engine's seccomp profile forbids it"),
        (LandlockFacts::Failed(5), "error 5"),
    ] {
        let survey = Survey { landlock, ..good() };
        let check = check(&survey, "landlock");
        assert_eq!((check.status, check.value.as_str()), (Level::Warn, value));
        assert!(examine(&survey).verdict.works);
    }
}

#[test]
fn too_little_memory_or_too_few_descriptors_fail() {
    let mut survey = good();
    survey.host.memory.limit_bytes = Some(100 << 20);
    survey.process.descriptors = (Some(32), Some(32));
    assert_eq!(check(&survey, "memory").status, Level::Fail);
    assert!(check(&survey, "memory").hint.unwrap().contains("at least 128 MiB"));
    assert_eq!(check(&survey, "descriptors").status, Level::Fail);
    assert_eq!(examine(&survey).verdict.summary, "run will not work: see memory, descriptors");
}

#[test]
fn what_a_network_has_here_is_said() {
    let mut survey = good();
    assert_eq!(check(&survey, "network").value, "IPv4 and IPv6 lead out, up to 960 flows");
    survey.network.leads_out.ipv6 = false;
    survey.process.descriptors.1 = None;
    let said = check(&survey, "network");
    assert_eq!(said.value, "IPv4 leads out, as many flows as there is memory for");
    assert_eq!(said.status, Level::Ok);
    survey.echo_groups = Some(0..=0);
    let said = check(&survey, "network");
    assert_eq!(said.status, Level::Warn);
    assert!(said.value.starts_with("IPv4 leads out, no ping"), "{}", said.value);
    assert!(said.hint.unwrap().ends_with("net.ipv4.ping_group_range=\"1000 1000\""));
    survey.network.leads_out.ipv4 = false;
    let said = check(&survey, "network");
    assert_eq!(said.status, Level::Ok);
    assert!(said.value.starts_with("nothing leads out, no ping"), "{}", said.value);
}

#[test]
fn the_document_is_stable() {
    let report = examine(&good());
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["works"], true);
    assert_eq!(json["accelerator"], "kvm");
    assert_eq!(json["summary"], "run will work, on KVM");
    let names: Vec<&str> =
        json["checks"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "kvm-device",
            "kvm-open",
            "kvm-api",
            "kvm-probe",
            "qemu",
            "memory",
            "cpus",
            "state-directory",
            "descriptors",
            "network",
            "user",
            "capabilities",
            "no-new-privileges",
            "seccomp",
            "label",
            "landlock",
            "own-filters",
            "shared-memory",
            "kernel",
            "guest",
            "processes",
            "system-calls",
        ]
    );
    assert_eq!(json["checks"][0]["status"], "ok");
    assert!(json["checks"][0].get("hint").is_none());
}
