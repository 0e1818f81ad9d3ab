use super::*;
use crate::cli::{Command, Parsed, parse};
use crate::error::Failure;
use crate::host::{CpuFacts, MemoryFacts, TerminalFacts};
use protocol::{AppArmor, CapabilitySet, DeviceAccess, MountSource};

mod environment;
mod limits;
mod process;
mod profile;
mod vm_size;
mod volume;

pub(crate) const GIB: u64 = 1 << 30;

/// A machine of 16 GiB and 8 CPUs that limits nothing, with no terminal.
pub(crate) fn facts() -> HostFacts {
    HostFacts {
        memory: MemoryFacts { total_bytes: 16 * GIB, limit_bytes: None },
        cpus: CpuFacts { usable: 8, quota_micros: None },
        terminal: TerminalFacts::default(),
    }
}

pub(crate) fn args(line: &[&str]) -> RunArgs {
    match parse(["cofferdam", "run"].iter().chain(line).chain(&["oci:i"])) {
        Ok(Parsed::Command(Command::Run(args))) => *args,
        other => panic!("{line:?}: {other:?}"),
    }
}

pub(crate) fn plan(line: &[&str]) -> RunPlan {
    RunPlan::resolve(&args(line), &NamedInputs::default(), &facts()).unwrap()
}

/// What the user sees of a refusal.
fn refusal(line: &[&str]) -> String {
    let error = RunPlan::resolve(&args(line), &NamedInputs::default(), &facts()).unwrap_err();
    Failure::from(error).to_string()
}

#[test]
fn nothing_typed_is_dockers_default() {
    let plan = plan(&[]);
    let security = &plan.container.security;
    assert_eq!(plan.image, "oci:i");
    assert_eq!(security.capabilities, CapabilitySet(0xa804_25fb));
    assert!(!security.no_new_privileges && security.seccomp.is_some());
    assert_eq!(security.devices, DeviceAccess::Standard);
    assert!(security.masked_paths.contains(&"/proc/kcore".to_owned()));
    let of_cpus = |plan: &RunPlan| {
        let paths = plan.container.security.masked_paths.iter();
        paths.filter(|path| path.ends_with("/thermal_throttle")).count()
    };
    assert_eq!(of_cpus(&self::plan(&["--vm-cpus", "3"])), 3);
    assert!(security.readonly_paths.contains(&"/proc/sys".to_owned()));
    assert_eq!(plan.container.resources, Resources::default());
    assert!(plan.container.rlimits.is_empty() && plan.container.mounts.is_empty());
    assert!(!plan.container.readonly_root && !plan.container.reaper);
    assert_eq!(plan.sandbox.stop_timeout, Some(Duration::from_secs(10)));
    assert_eq!((plan.sandbox.timeout, plan.sandbox.boot_timeout), (None, None));
    assert_eq!(plan.process.terminal, None);
    assert!(plan.warnings.is_empty());
}

#[test]
fn privileged_takes_every_fence_away_but_a_filter_that_is_named() {
    let security = plan(&["--privileged", "--cap-drop", "ALL"]).container.security;
    assert_eq!(security.capabilities, CapabilitySet(0x1ff_ffff_ffff));
    assert_eq!(security.seccomp, None);
    assert_eq!(security.devices, DeviceAccess::All);
    assert!(security.masked_paths.is_empty() && security.readonly_paths.is_empty());
    let named = plan(&["--privileged", "--security-opt", "seccomp=builtin"]);
    assert!(named.container.security.seccomp.is_some());
    assert_eq!(named.container.security.apparmor, AppArmor::Unconfined);
    let named = plan(&["--privileged", "--security-opt", "apparmor=cofferdam-default"]);
    assert_eq!(named.container.security.apparmor, AppArmor::Default);
}

#[test]
fn security_options() {
    let of = |options: &[&str]| {
        let line: Vec<&str> =
            options.iter().flat_map(|option| ["--security-opt", option]).collect();
        plan(&line).container.security
    };
    for option in ["no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"] {
        assert!(of(&[option]).no_new_privileges, "{option}");
    }
    assert!(!of(&["no-new-privileges", "no-new-privileges=false"]).no_new_privileges);
    assert_eq!(of(&["seccomp=unconfined"]).seccomp, None);
    assert_eq!(of(&["seccomp:unconfined"]).seccomp, None);
    assert_eq!(of(&[]).apparmor, AppArmor::Default);
    assert_eq!(of(&["apparmor=unconfined"]).apparmor, AppArmor::Unconfined);
    assert_eq!(of(&["apparmor=cofferdam-default"]).apparmor, AppArmor::Default);
    let open = of(&["systempaths=unconfined"]);
    assert!(open.masked_paths.is_empty() && open.readonly_paths.is_empty());
    assert!(open.seccomp.is_some());
}

#[test]
fn a_seccomp_file_is_resolved_for_the_containers_capabilities() {
    let json = br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir"],"action":"SCMP_ACT_ERRNO","includes":{"caps":["CAP_SYS_ADMIN"]}}]}"#;
    let inputs = NamedInputs {
        seccomp_files: vec![("p.json".into(), json.to_vec())],
        ..NamedInputs::default()
    };
    let rules = |line: &[&str]| {
        let line = [&["--security-opt", "seccomp=p.json"], line].concat();
        let plan = RunPlan::resolve(&args(&line), &inputs, &facts()).unwrap();
        plan.container.security.seccomp.unwrap().rules.len()
    };
    assert_eq!(rules(&[]), 0);
    assert_eq!(rules(&["--cap-add", "SYS_ADMIN"]), 1);
    assert_eq!(rules(&["--privileged"]), 1);
}

#[test]
fn a_bad_seccomp_file_is_refused_with_its_name_and_place() {
    let inputs = NamedInputs {
        seccomp_files: vec![("p.json".into(), br#"{"defaultAction":"ALLOW"}"#.to_vec())],
        ..NamedInputs::default()
    };
    let args = args(&["--security-opt", "seccomp=p.json"]);
    let error = RunPlan::resolve(&args, &inputs, &facts()).unwrap_err();
    assert_eq!(
        Failure::from(error).to_string(),
        "cofferdam: --security-opt seccomp=p.json: defaultAction: unknown action \"ALLOW\"\n\
         hint: actions are SCMP_ACT_ALLOW, _ERRNO, _KILL, _KILL_PROCESS, _KILL_THREAD, _TRAP and _LOG\n"
    );
}

#[test]
fn a_terminal_has_the_size_of_ours_or_the_usual_one() {
    assert_eq!(plan(&["-t"]).process.terminal, Some(DEFAULT_TERMINAL));
    let size = TerminalSize { rows: 50, columns: 132 };
    let facts = HostFacts { terminal: TerminalFacts { stdin: true, size: Some(size) }, ..facts() };
    let plan = RunPlan::resolve(&args(&["-it"]), &NamedInputs::default(), &facts).unwrap();
    assert_eq!(plan.process.terminal, Some(size));
    assert!(plan.process.interactive);
}

#[test]
fn tmpfs_options_are_merged_as_docker_merges_them() {
    for (typed, destination, options) in [
        ("/tmp", "/tmp", &["noexec", "nosuid", "nodev"][..]),
        ("/tmp:exec,size=64m", "/tmp", &["nosuid", "nodev", "exec", "size=64m"]),
        ("//a/./b/:ro,rw", "/a/b", &["noexec", "nosuid", "nodev", "rw"]),
        (
            "/t:size=1m,size=50%,mode=1777",
            "/t",
            &["noexec", "nosuid", "nodev", "size=50%", "mode=1777"],
        ),
    ] {
        let mounts = plan(&["--tmpfs", typed]).container.mounts;
        assert_eq!(mounts[0].source, MountSource::Tmpfs);
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].destination, destination);
        assert_eq!(mounts[0].options, options, "{typed}");
    }
}

#[test]
fn signals_by_name_and_number() {
    for (typed, number) in [
        ("TERM", 15),
        ("sigint", 2),
        ("9", 9),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("IOT", 6),
    ] {
        assert_eq!(signal::parse(typed), Ok(number), "{typed}");
    }
    for typed in ["", "0", "65", "TERMINATE", "RTMIN+31", "RTMIN-1", "-9", "SIG"] {
        assert!(signal::parse(typed).is_err(), "{typed}");
    }
}

#[test]
fn names_and_users() {
    for good in ["box", "a", "a-b.c9", "A.B", &"x".repeat(63)] {
        assert!(names::hostname(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", "a-", "a..b", ".a", "a_b", "a b", &"x".repeat(64)] {
        assert!(names::hostname(bad).is_err(), "{bad}");
    }
    for good in ["root", "1000", "1000:1000", "www-data:www"] {
        assert!(user(good).is_ok(), "{good}");
    }
    for bad in ["", ":", "a:", ":b", "a:b:c", "a b"] {
        assert!(user(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_empty_value_is_none_as_in_docker() {
    let plan = plan(&["-u", "", "-w", "", "-h", "", "--name", "", "--stop-signal", ""]);
    assert_eq!((plan.process.user, plan.process.workdir), (None, None));
    assert_eq!((plan.container.hostname, plan.sandbox.name), (None, None));
    assert_eq!(plan.process.stop_signal, None);
}

#[test]
fn what_cannot_be_is_refused_in_two_lines() {
    for (line, expected) in [
        (
            &["-it"][..],
            "cofferdam: --tty --interactive: the input device is not a TTY\n\
             hint: leave --tty out where stdin is a pipe or a file\n",
        ),
        (
            &["--workdir", "tmp"],
            "cofferdam: --workdir \"tmp\" is not an absolute path\n\
             hint: write it from the container's root: /tmp\n",
        ),
        (
            &["--hostname", "bad_name"],
            "cofferdam: --hostname \"bad_name\" is no host name\n\
             hint: a host name is 1 to 63 letters, digits, '-' and '.', and begins and ends with a \
             letter or digit\n",
        ),
        (
            &["--name", "-x-"],
            "cofferdam: --name \"-x-\" is no name for a sandbox\n\
             hint: a name is 1 to 64 of A-Z a-z 0-9 _ . - and begins with a letter or digit\n",
        ),
        (
            &["--user", "a:b:c"],
            "cofferdam: --user \"a:b:c\" is not USER[:GROUP]\n\
             hint: a user and a group are each a name or a number: --user 1000:1000\n",
        ),
        (
            &["--cap-add", "SYS_ADMINN"],
            "cofferdam: --cap-add \"SYS_ADMINN\": there is no such capability\n\
             hint: did you mean SYS_ADMIN? capabilities(7) lists them; ALL stands for all\n",
        ),
        (
            &["--userns", "--privileged"],
            "cofferdam: --userns contradicts --privileged\n\
             hint: whoever is to have the VM's devices must be root there: choose one of the two\n",
        ),
        (
            &["--stop-signal", "SIGNOPE"],
            "cofferdam: --stop-signal: \"SIGNOPE\" is no signal\n\
             hint: a signal is a name or a number from 1 to 64: TERM, SIGINT, 15, RTMIN+3\n",
        ),
        (
            &["--tmpfs", "tmp:size=1m"],
            "cofferdam: --tmpfs \"tmp:size=1m\": the path is not absolute\n\
             hint: write --tmpfs /tmp:size=1m\n",
        ),
        (
            &["--tmpfs", "/"],
            "cofferdam: --tmpfs \"/\" would hide the container's root file system\n\
             hint: mount it below the root, for example --tmpfs /tmp\n",
        ),
        (
            &["--tmpfs", "/a/../b"],
            "cofferdam: --tmpfs \"/a/../b\": the path holds \"..\"\n\
             hint: write it without \"..\"\n",
        ),
        (
            &["--tmpfs", "/t:bind"],
            "cofferdam: --tmpfs /t: unknown option \"bind\"\n\
             hint: options are ro, rw, exec, noexec, suid, nosuid, dev, nodev, size=, mode=, uid=, gid=, \
             nr_inodes=, nr_blocks=\n",
        ),
        (
            &["--tmpfs", "/t", "--tmpfs", "/t/"],
            "cofferdam: --tmpfs /t was given twice\nhint: one of the two is enough\n",
        ),
        (
            &["--security-opt", "apparmor=x"],
            "cofferdam: --security-opt apparmor=\"x\": the guest has no such profile\n\
             hint: profiles are cofferdam-default, which is Docker's default, and unconfined\n",
        ),
        (
            &["--security-opt", "label=type:x"],
            "cofferdam: --security-opt \"label=type:x\" is not known\n\
             hint: labels are not applied inside the VM: leave it out, the VM is the wall\n",
        ),
        (
            &["--security-opt", "apparmor=unconfined", "--security-opt", "apparmor=x"],
            "cofferdam: --security-opt apparmor= was given twice: \"unconfined\" and \"x\"\n\
             hint: one profile is in force: give one\n",
        ),
        (
            &["--security-opt", "seccomp"],
            "cofferdam: --security-opt \"seccomp\" is not known\n\
             hint: known are no-new-privileges[=true|false], seccomp=FILE, seccomp=unconfined, \
             apparmor=cofferdam-default, apparmor=unconfined and systempaths=unconfined\n",
        ),
        (
            &["--security-opt", "no-new-privileges=1"],
            "cofferdam: --security-opt no-new-privileges: \"1\" is neither true nor false\n\
             hint: write --security-opt no-new-privileges\n",
        ),
        (
            &["--security-opt", "seccomp=unconfined", "--security-opt", "seccomp=builtin"],
            "cofferdam: --security-opt seccomp= was given twice: \"unconfined\" and \"builtin\"\n\
             hint: one profile is in force: give one\n",
        ),
    ] {
        assert_eq!(refusal(line), expected, "{line:?}");
    }
}

#[test]
fn an_empty_image_is_refused() {
    let Ok(Parsed::Command(Command::Run(args))) = parse(["cofferdam", "run", ""]) else { panic!() };
    let error = RunPlan::resolve(&args, &NamedInputs::default(), &facts()).unwrap_err();
    assert_eq!(error.to_string(), "the image's name is empty");
}
