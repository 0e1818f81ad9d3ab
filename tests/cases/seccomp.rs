//! The system call filter truly bites, whatever else is set.

use crate::cases;
use crate::harness::World;

cases! {
    Guest: unconfined_has_none, a_profile_of_ones_own_bites, the_filter_depends_on_capabilities,
        the_default_filter_bites;
    Tcg: a_profile_that_is_none_is_refused;
}

const NO_NEW_PRIVILEGES: [&str; 2] = ["--security-opt", "no-new-privileges"];

/// A user namespace needs no capability, so it is the filter alone that denies it.
const ASK: &str =
    "grep ^Seccomp: /proc/self/status; unshare -U true 2>/dev/null && echo may || echo may not";

fn the_default_filter_bites(world: &World) {
    world.sh(&[], ASK).prints("Seccomp:\t2\nmay not");
    world.sh(&NO_NEW_PRIVILEGES, ASK).prints("Seccomp:\t2\nmay not");
    // A user without capabilities is filtered just so.
    world.sh(&["-u", "1234"], ASK).prints("Seccomp:\t2\nmay not");
}

fn unconfined_has_none(world: &World) {
    world.sh(&["--security-opt", "seccomp=unconfined"], ASK).prints("Seccomp:\t0\nmay");
}

/// EXDEV, which no mkdir gives by itself.
fn a_profile_of_ones_own_bites(world: &World) {
    let profile = r#"{
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18 }]
    }"#;
    let option = format!("seccomp={}", world.file("profile.json", profile).display());
    let script =
        "mkdir /tmp/x 2>&1; touch /tmp/y && echo the rest works; grep ^Seccomp: /proc/self/status";
    let expected = "mkdir: can't create directory '/tmp/x': Invalid cross-device link\n\
        the rest works\nSeccomp:\t2";
    let flags = ["--security-opt", option.as_str()];
    world.sh(&flags, script).prints(expected);
    let [a, b] = NO_NEW_PRIVILEGES;
    world.sh(&[flags[0], flags[1], a, b], script).prints(expected);
}

/// Docker's own profile lets those with CAP_SYS_ADMIN make namespaces.
fn the_filter_depends_on_capabilities(world: &World) {
    world.sh(&["--cap-add", "SYS_ADMIN"], ASK).prints("Seccomp:\t2\nmay");
}

fn a_profile_that_is_none_is_refused(world: &World) {
    let option =
        format!("seccomp={}", world.file("profile.json", "{ \"defaultAction\": 7").display());
    world.sh(&["--security-opt", &option], "true").exits(125).complains(&["profile.json"]);
    world
        .sh(&["--security-opt", "seccomp=/no/such/file"], "true")
        .exits(125)
        .complains(&["/no/such/file"]);
}
