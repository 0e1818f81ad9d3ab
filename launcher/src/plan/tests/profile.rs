//! `--profile strict`, and what is declared writable.

use super::*;
use crate::plan::profile::UNPRIVILEGED_USER;

fn strict(line: &[&str]) -> RunPlan {
    plan(&[&["--profile", "strict"], line].concat())
}

fn strictly_refused(line: &[&str]) -> String {
    refusal(&[&["--profile", "strict"], line].concat())
}

fn runs_as(plan: &RunPlan, user: &str) -> (String, bool) {
    let cmd = vec!["sh".to_owned()];
    let image = ImageDefaults { cmd, user: user.to_owned(), ..ImageDefaults::default() };
    let process = plan.with_image(&image, "0123456789abcdef").unwrap();
    (process.user, process.note.is_some())
}

#[test]
fn strict_begins_with_nothing() {
    let plan = strict(&[]);
    let security = &plan.container.security;
    assert_eq!(security.capabilities, CapabilitySet(0));
    assert!(security.no_new_privileges && security.root_refused && security.seccomp.is_some());
    assert_eq!(security.devices, DeviceAccess::Standard);
    assert!(security.masked_paths.contains(&"/proc/kcore".to_owned()));
    assert!(security.readonly_paths.contains(&"/proc/sys".to_owned()));
    assert!(plan.container.readonly_root && security.own_users);
    let default = super::plan(&[]);
    let Security { root_refused, ambient, own_users, .. } = default.container.security;
    assert!(!root_refused && !ambient && !own_users);
    assert!(super::plan(&["--userns"]).container.security.own_users);
}

#[test]
fn capabilities_that_are_added_stay_with_whoever_is_not_root() {
    let security = strict(&["--cap-add", "NET_RAW", "--cap-add", "cap_chown"]).container.security;
    assert_eq!(security.capabilities, CapabilitySet(1 << 13 | 1));
    assert!(security.ambient);
    let all_but = strict(&["--cap-add", "ALL", "--cap-drop", "SYS_ADMIN"]).container.security;
    assert_eq!(all_but.capabilities, CapabilitySet(0x1ff_ffff_ffff & !(1 << 21)));
    for line in [&["--cap-add", "SYS_ADMIN"], &["--cap-add", "ALL"]] {
        assert_eq!(
            strictly_refused(line),
            "cofferdam: --profile strict does not grant CAP_SYS_ADMIN: it never survives set-up\n\
             hint: add the capabilities that it needs one by one; with --profile default, SYS_ADMIN can be \
             added\n"
        );
    }
}

#[test]
fn whoever_would_be_root_is_nobody() {
    let plan = strict(&[]);
    for root in ["", "root", "0", "00", "0:0", "root:staff", ":5"] {
        assert_eq!(runs_as(&plan, root), (UNPRIVILEGED_USER.to_owned(), true), "{root:?}");
        assert_eq!(runs_as(&super::plan(&[]), root), (root.to_owned(), false), "{root:?}");
    }
    assert_eq!(runs_as(&plan, "worker"), ("worker".to_owned(), false));
    assert_eq!(runs_as(&strict(&["--user", "7:0"]), ""), ("7:0".to_owned(), false));
    for root in ["root", "0", "0:7"] {
        assert_eq!(
            strictly_refused(&["--user", root]),
            format!(
                "cofferdam: --user {root:?} is root, which --profile strict does not allow\n\
                 hint: name another user: --user 1000:1000; without --user, root becomes 65534:65534\n"
            )
        );
    }
}

#[test]
fn what_contradicts_strict_is_refused() {
    assert_eq!(
        strictly_refused(&["--privileged"]),
        "cofferdam: --privileged contradicts --profile strict\nhint: choose one of the two\n"
    );
    for option in [
        "seccomp=unconfined",
        "apparmor=unconfined",
        "systempaths=unconfined",
        "no-new-privileges=false",
    ] {
        assert_eq!(
            strictly_refused(&["--security-opt", option]),
            format!(
                "cofferdam: --security-opt {option:?} contradicts --profile strict\n\
                 hint: leave it out, or use --profile default\n"
            )
        );
    }
    assert_eq!(
        strictly_refused(&["--tmpfs", "/t:exec"]),
        "cofferdam: --tmpfs /t: the option \"exec\" contradicts --profile strict\n\
         hint: say so where you declare what is writable: --writable /t:exec\n"
    );
    for option in ["suid", "dev"] {
        let refusal = strictly_refused(&["--tmpfs", &format!("/t:{option}")]);
        assert!(refusal.contains("contradicts --profile strict\nhint: leave"), "{refusal}");
    }
}

#[test]
fn nothing_of_stricts_own_is_executable() {
    let plan = strict(&["--tmpfs", "/t", "--writable", "/w"]);
    let mounts = &plan.container.mounts;
    let destinations: Vec<&str> = mounts.iter().map(|it| it.destination.as_str()).collect();
    assert_eq!(destinations, ["/t", "/w", "/dev"]);
    assert!(mounts.iter().all(|mount| mount.options.contains(&"noexec".to_owned())));
    let own_dev = strict(&["--tmpfs", "/dev:size=1m"]).container.mounts;
    assert_eq!(own_dev.len(), 1);
}

#[test]
fn what_is_declared_writable_is_small_and_not_executable() {
    for (typed, destination, options) in [
        ("/w", "/w", &["noexec", "nosuid", "nodev", "mode=755", "size=64m"][..]),
        ("//a/./b:exec", "/a/b", &["nosuid", "nodev", "mode=755", "size=64m", "exec"]),
        (
            "/w:mode=1777,size=1g,uid=5,gid=6",
            "/w",
            &["noexec", "nosuid", "nodev", "mode=1777", "size=1g", "uid=5", "gid=6"],
        ),
    ] {
        let mounts = plan(&["--read-only", "--writable", typed]).container.mounts;
        assert_eq!((mounts.len(), mounts[0].source), (1, MountSource::OwnTmpfs));
        assert_eq!(mounts[0].destination, destination);
        assert_eq!(mounts[0].options, options, "{typed}");
    }
    for (line, expected) in [
        (
            &["--writable", "w"][..],
            "cofferdam: --writable \"w\": the path is not absolute\nhint: write --writable /w\n",
        ),
        (
            &["--writable", "/"],
            "cofferdam: --writable \"/\" would hide the container's root file system\n\
             hint: mount it below the root, for example --writable /tmp\n",
        ),
        (
            &["--writable", "/w:suid"],
            "cofferdam: --writable /w: unknown option \"suid\"\n\
             hint: options are exec, noexec, size=, mode=, uid=, gid=, nr_inodes=\n",
        ),
        (
            &["--tmpfs", "/w", "--writable", "/w"],
            "cofferdam: --writable /w was given twice\nhint: one of the two is enough\n",
        ),
    ] {
        assert_eq!(refusal(line), expected, "{line:?}");
    }
}

#[test]
fn an_id_that_a_user_namespace_does_not_have_is_refused() {
    let cmd = vec!["sh".to_owned()];
    let process = |line: &[&str], user: &str| {
        let image = ImageDefaults { cmd: cmd.clone(), user: user.into(), ..Default::default() };
        plan(line).with_image(&image, "0123456789abcdef")
    };
    for user in ["65536", "1:65536", "4294967295"] {
        let failure = Failure::from(process(&["--userns"], user).unwrap_err());
        let expected = format!(
            "cofferdam: user {user:?} is none of the 65536 that a container with ids of its own can have\n\
             hint: name one from 0 to 65535 with --user\n"
        );
        assert_eq!(failure.to_string(), expected);
        assert!(process(&[], user).is_ok());
    }
    assert!(process(&["--userns"], "65535:65535").is_ok());
    assert!(process(&["--userns"], "worker").is_ok());
}
