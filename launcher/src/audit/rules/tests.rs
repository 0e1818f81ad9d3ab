use super::*;
use crate::host::family::Relative;
use crate::host::mounts::{self, MountPoint};
use crate::host::process::{ProcessStatus, SeccompMode};
use crate::outer_walls::tests::walled;
use protocol::Testimony;

const OUTER_MOUNTS: &str = "\
1 0 0:1 / / ro - overlay overlay ro
2 1 0:2 / /dev rw,nosuid - tmpfs tmpfs rw
3 1 0:3 / /state rw,nosuid,nodev,noexec - tmpfs tmpfs rw
4 1 0:4 / /sys ro,nosuid,nodev,noexec - sysfs sysfs rw
";
const INNER_MOUNTS: &str = "\
1 0 0:1 / / ro - overlay overlay rw
2 1 0:2 / /dev/shm rw,nosuid,nodev,noexec - tmpfs tmpfs rw
3 1 0:3 / /tmp rw,nosuid,nodev,noexec - tmpfs tmpfs rw
";

fn status(uid: u32) -> ProcessStatus {
    ProcessStatus {
        uids: vec![uid; 4],
        capabilities: 0,
        bounding: 0,
        no_new_privileges: true,
        seccomp: SeccompMode::Filter(2),
    }
}

fn place() -> Place {
    Place {
        around: walled(),
        uid_map: "         0     100000      65536\n".to_owned(),
        boot_id: "11111111-1111-1111-1111-111111111111".to_owned(),
        mounts: mounts::parse(OUTER_MOUNTS),
        writable: vec!["/dev".to_owned(), "/state".to_owned()],
    }
}

fn seen() -> Seen {
    let relative = |name: &str| Relative { name: name.to_owned(), status: Some(status(1000)) };
    let words = "Uid:\t1000\t1000\t1000\t1000\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\n\
        NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
    Seen {
        processes: vec![relative("cofferdam"), relative("cofferdam-vmm")],
        closed_in: true,
        testimony: Testimony {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel_release: "6.12.0-cofferdam".to_owned(),
            boot_id: "22222222-2222-2222-2222-222222222222".to_owned(),
            status: words.to_owned(),
            uid_map: "0 100000 65536\n".to_owned(),
            label: "cofferdam-default (enforce)".to_owned(),
            mounts: INNER_MOUNTS.to_owned(),
            writable: vec!["/dev/shm".to_owned(), "/tmp".to_owned()],
        },
    }
}

/// The names of all findings that do not hold, with what is said of them.
fn amiss(place: &Place, seen: &Seen) -> Vec<(&'static str, String)> {
    let findings = judge(place, seen).rules.into_iter().flat_map(|rule| rule.findings);
    findings.filter(|it| !it.holds).map(|it| (it.name, it.evidence)).collect()
}

#[test]
fn where_all_stands_only_the_images_maker_is_unknown() {
    let names: Vec<_> = amiss(&place(), &seen()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["image-policy"]);
    let held = judge(&place(), &seen()).rules.iter().filter(|rule| rule.holds).count();
    assert_eq!(held, 6);
}

type Take = fn(&mut Place, &mut Seen);

fn swap(seen: &mut Seen, from: &str, to: &str) {
    assert!(seen.testimony.status.contains(from));
    seen.testimony.status = seen.testimony.status.replace(from, to);
}

fn of_vmm(seen: &mut Seen) -> &mut ProcessStatus {
    seen.processes[1].status.as_mut().unwrap()
}

/// What is taken away, which finding says so, and in which words.
const TAKEN: [(Take, &str, &str); 28] = [
    (|_, seen| of_vmm(seen).uids[2] = 0, "our-processes", "cofferdam-vmm: root"),
    (|_, seen| of_vmm(seen).capabilities = 1 << 21, "our-processes", "SYS_ADMIN"),
    (|_, seen| seen.processes[0].status = None, "our-processes", "cofferdam: the kernel"),
    (|place, _| place.uid_map = "0 0 4294967295\n".into(), "outer-users", "root outside"),
    (|place, _| place.uid_map.clear(), "", ""),
    (|_, seen| seen.processes[1].name = "qemu-system-x86_64".into(), "hardware-wall", "emulated"),
    (|_, seen| seen.processes[1].name = "other".into(), "hardware-wall", "no process"),
    (|place, seen| place.boot_id = seen.testimony.boot_id.clone(), "own-kernel", "no kernel"),
    (|_, seen| seen.testimony.boot_id.clear(), "own-kernel", "no kernel"),
    (|place, _| place.around.process.label = None, "engine-label", "no security module"),
    (|place, _| place.around.process.label = Some("unconfined".into()), "engine-label", "unconf"),
    (|_, seen| of_vmm(seen).seccomp = SeccompMode::Filter(1), "own-seccomp", "cofferdam-vmm"),
    (|_, seen| seen.closed_in = false, "own-landlock", "could list"),
    (|_, seen| of_vmm(seen).no_new_privileges = false, "no-new-privileges", "cofferdam-vmm"),
    (|place, _| place.around.readonly_root = false, "outer-root", "can be written"),
    (|place, _| place.mounts[2].options.retain(|it| it != "noexec"), "outer-mounts", "/state"),
    (|_, seen| swap(seen, "Uid:\t1000\t1000", "Uid:\t0\t0"), "container-user", "user 0"),
    (|_, seen| swap(seen, "CapEff:\t0", "CapEff:\t200000"), "container-user", "SYS_ADMIN"),
    (
        |_, seen| {
            swap(seen, "CapBnd:\t0", "CapBnd:\t1");
            swap(seen, "NoNewPrivs:\t1", "NoNewPrivs:\t0");
        },
        "container-user",
        "a setuid program gets it capabilities CHOWN",
    ),
    (|_, seen| swap(seen, "Seccomp:\t2", "Seccomp:\t0"), "container-seccomp", "no filter"),
    (|_, seen| seen.testimony.uid_map = "0 0 4294967295".into(), "container-users", "user 0"),
    (|_, seen| seen.testimony.uid_map.clear(), "container-users", "user 0"),
    (|_, seen| seen.testimony.label = "x (complain)".into(), "container-label", "complain"),
    (|_, seen| seen.testimony.label.clear(), "container-label", "no label"),
    (
        |_, seen| seen.testimony.mounts = INNER_MOUNTS.replace("/ / ro", "/ / rw"),
        "container-root",
        "can be written",
    ),
    (
        |_, seen| seen.testimony.mounts = INNER_MOUNTS.replace("/tmp rw,nosuid", "/tmp rw"),
        "container-mounts",
        "/tmp is not nosuid",
    ),
    (|_, seen| seen.testimony.agent_version = "9".into(), "guest-versions", "agent 9"),
    (|_, seen| seen.testimony.kernel_release = "6.1".into(), "guest-versions", "kernel 6.1,"),
];

#[test]
fn each_wall_that_is_taken_away_is_named_alone() {
    for (take, name, evidence) in TAKEN {
        let (mut place, mut seen) = (place(), seen());
        take(&mut place, &mut seen);
        let mut amiss = amiss(&place, &seen);
        amiss.retain(|(it, _)| *it != "image-policy");
        match amiss.as_slice() {
            [] => assert_eq!(name, "", "{evidence}: nothing is amiss"),
            // Of a process of which nothing is known, nothing is.
            _ if evidence == "cofferdam: the kernel" => assert_eq!(amiss.len(), 3, "{amiss:?}"),
            [(it, words)] => assert!(*it == name && words.contains(evidence), "{name}: {amiss:?}"),
            _ => panic!("{name}: {amiss:?}"),
        }
    }
}

#[test]
fn a_witness_that_says_nothing_vouches_for_nothing() {
    let silent = Seen { testimony: Testimony::default(), ..seen() };
    let inside = amiss(&place(), &silent);
    assert_eq!(inside.len(), 9, "{inside:?}");
    let alone = Seen { processes: Vec::new(), ..seen() };
    assert!(amiss(&place(), &alone).iter().any(|(name, _)| *name == "own-seccomp"));
}

#[test]
fn its_form_is_pinned() {
    let mut seen = seen();
    seen.closed_in = false;
    let report = judge(&place(), &seen);
    let lines = report.to_string();
    assert!(
        lines.starts_with("1  not root, capabilities dropped: holds\n    ok  outside"),
        "{lines}"
    );
    assert!(lines.contains("\n4  security frameworks: does not hold\n"), "{lines}");
    assert!(lines.contains("\n        hint: a kernel and engine with Landlock\n"), "{lines}");
    assert!(lines.ends_with("\n5 of 7 rules hold\n"), "{lines}");
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!((&json["version"], &json["rules"][3]["holds"]), (&1.into(), &false.into()));
    let finding = &json["rules"][3]["findings"][3];
    assert_eq!(finding["where"], "outside", "{finding}");
    assert_eq!((&finding["name"], finding["hint"].is_string()), (&"own-landlock".into(), true));
}

#[test]
fn no_mount_of_the_kernels_own_is_asked_for_anything() {
    let list: Vec<MountPoint> = mounts::parse(OUTER_MOUNTS);
    let all: Vec<String> = list.iter().map(|mount| mount.path.clone()).collect();
    let (holds, evidence) = super::super::evidence::loose_mounts(&list, &all);
    assert!(holds && evidence.ends_with(": /state"), "{evidence}");
    assert!(super::super::evidence::loose_mounts(&list, &[]).0);
}
