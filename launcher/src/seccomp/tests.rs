use super::*;
use crate::capabilities;
use crate::error::{Explain, chain};
use protocol::{SeccompAction, SeccompComparison, SeccompRule};

fn default_set() -> CapabilitySet {
    capabilities::docker_default()
}

/// What a filter does with a call, as the kernel decides it among matching rules: here the strictest
/// matter never arises, because Docker's profile has no two that both match.
fn verdict(profile: &SeccompProfile, name: &str, arguments: [u64; 6]) -> SeccompAction {
    let matches = |rule: &&SeccompRule| {
        rule.names.iter().any(|known| known == name)
            && rule.arguments.iter().all(|condition| {
                let actual = arguments[usize::from(condition.index)];
                match condition.comparison {
                    SeccompComparison::NotEqual => actual != condition.value,
                    SeccompComparison::LessThan => actual < condition.value,
                    SeccompComparison::LessOrEqual => actual <= condition.value,
                    SeccompComparison::Equal => actual == condition.value,
                    SeccompComparison::GreaterOrEqual => actual >= condition.value,
                    SeccompComparison::GreaterThan => actual > condition.value,
                    SeccompComparison::MaskedEqual => {
                        actual & condition.value == condition.value_two
                    }
                }
            })
    };
    profile.rules.iter().find(matches).map_or(profile.default_action, |rule| rule.action)
}

fn call(profile: &SeccompProfile, name: &str, first: u64) -> SeccompAction {
    verdict(profile, name, [first, 0, 0, 0, 0, 0])
}

#[test]
fn the_built_in_profile_does_what_dockers_does() {
    let profile = built_in(default_set()).unwrap();
    assert_eq!(profile.default_action, SeccompAction::Errno(1));
    assert_eq!(profile.architectures, ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    for name in
        ["read", "openat2", "chroot", "landlock_create_ruleset", "seccomp", "ptrace", "mseal"]
    {
        assert_eq!(call(&profile, name, 0), SeccompAction::Allow, "{name}");
    }
    for name in [
        "mount",
        "unshare",
        "setns",
        "bpf",
        "io_uring_setup",
        "keyctl",
        "kexec_load",
        "userfaultfd",
        "mbind",
    ] {
        assert_eq!(call(&profile, name, 0), SeccompAction::Errno(1), "{name}");
    }
    const ENOSYS: u16 = 38;
    assert_eq!(call(&profile, "clone3", 0), SeccompAction::Errno(ENOSYS));
    const SIGCHLD: u64 = 17;
    const CLONE_NEWUSER: u64 = 0x1000_0000;
    assert_eq!(call(&profile, "clone", SIGCHLD), SeccompAction::Allow);
    assert_eq!(call(&profile, "clone", SIGCHLD | CLONE_NEWUSER), SeccompAction::Errno(1));
}

#[test]
fn no_socket_reaches_the_agents_channel_whatever_the_higher_bits_say() {
    let profile = built_in(default_set()).unwrap();
    for (name, family, allowed) in [
        ("AF_UNIX", 1, true),
        ("AF_INET6", 10, true),
        ("AF_PACKET", 17, true),
        ("AF_ALG", 38, false),
        ("AF_NFC", 39, true),
        ("AF_VSOCK", 40, false),
        ("AF_XDP", 44, true),
    ] {
        let is_allowed = call(&profile, "socket", family) == SeccompAction::Allow;
        assert_eq!(is_allowed, allowed, "{name}");
    }
    assert_eq!(call(&profile, "socket", (1 << 32) | 40), SeccompAction::Errno(1));
}

#[test]
fn capabilities_open_what_they_are_for() {
    let with = |name: &str| {
        let set = capabilities::granted(&[name.to_owned()], &[]).unwrap();
        built_in(set).unwrap()
    };
    let admin = with("SYS_ADMIN");
    for name in ["mount", "unshare", "clone3", "setns", "bpf"] {
        assert_eq!(call(&admin, name, 0), SeccompAction::Allow, "{name}");
    }
    assert_eq!(call(&admin, "init_module", 0), SeccompAction::Errno(1));
    assert_eq!(call(&with("SYS_MODULE"), "init_module", 0), SeccompAction::Allow);
    assert_eq!(call(&with("SYS_TIME"), "clock_settime", 0), SeccompAction::Allow);
    let none = built_in(CapabilitySet::default()).unwrap();
    assert_eq!(call(&none, "chroot", 0), SeccompAction::Errno(1));
}

#[test]
fn the_built_in_profile_fits_one_message_many_times_over() {
    let profile = built_in(capabilities::all()).unwrap();
    let names: usize = profile.rules.iter().flat_map(|rule| &rule.names).map(String::len).sum();
    assert!(names * 8 < protocol::frame::MAX_FRAME_BYTES, "{names} bytes of names");
}

fn one(json: &str) -> SeccompProfile {
    parse(json.as_bytes(), default_set()).unwrap()
}

fn rules(syscalls: &str) -> Vec<SeccompRule> {
    one(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{syscalls}]}}"#)).rules
}

#[test]
fn every_action_is_understood() {
    for (written, understood) in [
        ("SCMP_ACT_ALLOW", SeccompAction::Allow),
        ("SCMP_ACT_ERRNO", SeccompAction::Errno(1)),
        ("SCMP_ACT_KILL", SeccompAction::KillThread),
        ("SCMP_ACT_KILL_THREAD", SeccompAction::KillThread),
        ("SCMP_ACT_KILL_PROCESS", SeccompAction::KillProcess),
        ("SCMP_ACT_TRAP", SeccompAction::Trap),
        ("SCMP_ACT_LOG", SeccompAction::Log),
    ] {
        let profile = one(&format!(r#"{{"defaultAction":"{written}"}}"#));
        assert_eq!(profile.default_action, understood);
        assert!(profile.architectures.is_empty());
    }
}

#[test]
fn errno_comes_from_the_rule_then_the_default_then_eperm() {
    let profile = one(r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":38,"syscalls":[
            {"names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":13},
            {"names":["umount2"],"action":"SCMP_ACT_ERRNO"}]}"#);
    assert_eq!(call(&profile, "mount", 0), SeccompAction::Errno(13));
    assert_eq!(call(&profile, "umount2", 0), SeccompAction::Errno(38));
    assert_eq!(
        rules(r#"{"name":"mkdir","action":"SCMP_ACT_ERRNO"}"#)[0].action,
        SeccompAction::Errno(1)
    );
}

#[test]
fn conditions_are_decided_for_this_guest_and_container() {
    for (condition, holds) in [
        (r#""includes":{"arches":["amd64","arm64"]}"#, true),
        (r#""includes":{"arches":["arm64"]}"#, false),
        (r#""excludes":{"arches":["amd64"]}"#, false),
        (r#""includes":{"minKernel":"6.12"}"#, true),
        (r#""includes":{"minKernel":"6.13"}"#, false),
        (r#""includes":{"minKernel":"5.100"}"#, true),
        (r#""excludes":{"minKernel":"4.8"}"#, false),
        (r#""includes":{"caps":["CAP_CHOWN","CAP_SYS_ADMIN"]}"#, false),
        (r#""includes":{"caps":["CAP_CHOWN","CAP_KILL"]}"#, true),
        (r#""excludes":{"caps":["CAP_SYS_ADMIN","CAP_CHOWN"]}"#, false),
        (r#""excludes":{"caps":["CAP_SYS_ADMIN"]}"#, true),
        (r#""includes":{},"excludes":{"caps":[],"arches":null}"#, true),
    ] {
        let found =
            rules(&format!(r#"{{"names":["mkdir"],"action":"SCMP_ACT_ALLOW",{condition}}}"#));
        assert_eq!(found.len() == 1, holds, "{condition}");
    }
}

#[test]
fn arguments_are_kept_as_written() {
    let rules = rules(
        r#"{"names":["clone"],"action":"SCMP_ACT_ALLOW",
            "args":[{"index":5,"value":18446744073709551615,"valueTwo":7,"op":"SCMP_CMP_MASKED_EQ"}]}"#,
    );
    let argument = rules[0].arguments[0];
    assert_eq!((argument.index, argument.value, argument.value_two), (5, u64::MAX, 7));
    assert_eq!(argument.comparison, SeccompComparison::MaskedEqual);
}

#[test]
fn architectures_are_the_guests_own_and_its_kin() {
    let of = |json: &str| {
        parse(format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{json}}}"#).as_bytes(), default_set())
            .map(|profile| profile.architectures)
    };
    assert_eq!(
        of(r#""architectures":["SCMP_ARCH_X86","SCMP_ARCH_X86_64"]"#).unwrap(),
        ["SCMP_ARCH_X86"]
    );
    assert!(of(r#""archMap":[{"architecture":"SCMP_ARCH_X86_64"}]"#).unwrap().is_empty());
    let error = of(r#""archMap":[{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":null}]"#);
    assert_eq!(
        error.unwrap_err().to_string(),
        "it covers SCMP_ARCH_AARCH64, and not the guest's SCMP_ARCH_X86_64"
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let rule = |rest: &str| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["a"],"action":"SCMP_ACT_LOG"}},{{{rest}}}]}}"#
        )
    };
    for (json, message) in [
        (
            "{".to_owned(),
            "it is no seccomp profile: EOF while parsing an object at line 1 column 1",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_MAYBE"}"#.into(),
            r#"defaultAction: unknown action "SCMP_ACT_MAYBE""#,
        ),
        (
            rule(r#""names":["b"],"action":"SCMP_ACT_NOTIFY""#),
            "syscalls[1] (b): the action SCMP_ACT_NOTIFY needs a supervisor, which there is none of",
        ),
        (
            rule(r#""names":["b"],"action":"SCMP_ACT_ERRNO","errnoRet":4096"#),
            "syscalls[1] (b): errnoRet 4096 is more than 4095",
        ),
        (
            rule(
                r#""names":["b"],"action":"SCMP_ACT_LOG","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]"#,
            ),
            "syscalls[1] (b): argument 6 is more than 5",
        ),
        (
            rule(
                r#""names":["b"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":0,"op":"EQ"}]"#,
            ),
            r#"syscalls[1] (b): unknown comparison "EQ""#,
        ),
        (
            rule(r#""names":["b"],"action":"SCMP_ACT_LOG","includes":{"caps":["CAP_FLY"]}"#),
            r#"syscalls[1] (b): there is no capability "CAP_FLY""#,
        ),
        (
            rule(r#""names":["b"],"action":"SCMP_ACT_LOG","excludes":{"minKernel":"six"}"#),
            r#"syscalls[1] (b): minKernel "six" is not MAJOR.MINOR"#,
        ),
        (rule(r#""action":"SCMP_ACT_LOG""#), "syscalls[1]: a rule needs either name or names"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#.into(),
            "listenerPath: no listener can be reached from inside the VM",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}"#.into(),
            r#"flags: "SECCOMP_FILTER_FLAG_LOG" is not supported"#,
        ),
    ] {
        let error = parse(json.as_bytes(), default_set()).unwrap_err();
        assert_eq!(chain(&error), message);
    }
    let misspelt = parse(br#"{"defaultAction":"SCMP_ACT_ALLOW","sycalls":[]}"#, default_set());
    let error = misspelt.unwrap_err();
    assert!(chain(&error).contains("unknown field `sycalls`"), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("docker run"));
}

#[test]
fn a_profile_of_endless_names_is_refused() {
    let names = vec!["\"a\""; 20_001].join(",");
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":[{names}],"action":"SCMP_ACT_LOG"}}]}}"#
    );
    let error = parse(json.as_bytes(), default_set()).unwrap_err();
    assert_eq!(error.to_string(), "it names more than 20000 system calls");
}
