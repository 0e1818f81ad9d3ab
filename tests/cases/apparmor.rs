//! AppArmor in the guest: containers are confined as Docker's are, and it bites where nothing else does.

use crate::cases;
use crate::harness::World;

cases! {
    Guest: containers_are_confined, it_denies_what_capabilities_grant, whoever_asks_is_unconfined,
        it_goes_with_every_other_fence;
    Tcg: the_kernel_is_the_one_that_the_profile_was_compiled_for, other_profiles_are_refused;
}

const UNCONFINED: [&str; 2] = ["--security-opt", "apparmor=unconfined"];
const ASK: &str = "cat /proc/self/attr/current";
const CONFINED: &str = "cofferdam-default (enforce)";

fn containers_are_confined(world: &World) {
    world.sh(&[], &format!("{ASK}; sh -c '{ASK}'")).prints(&[CONFINED; 2].join("\n"));
}

fn whoever_asks_is_unconfined(world: &World) {
    world.sh(&UNCONFINED, ASK).prints("unconfined");
    world.sh(&["--privileged"], ASK).prints("unconfined");
    let flags = ["--privileged", "--security-opt", "apparmor=cofferdam-default"];
    world.sh(&flags, ASK).prints(CONFINED);
}

/// Root, with the capability to mount, no filter and no masked path: each of these works but for the
/// profile. What it leaves alone works with it, too.
fn it_denies_what_capabilities_grant(world: &World) {
    let script = "mount -t tmpfs t /srv 2>/dev/null && echo mounts; \
                  echo 7 2>/dev/null > /proc/sys/kernel/printk && echo logs; \
                  echo 10 2>/dev/null > /proc/sys/vm/swappiness && echo swaps; \
                  echo 8192 > /proc/sys/kernel/shmmni && echo shares; \
                  echo -5 > /proc/self/oom_score_adj && echo scores; \
                  kill -0 1 && echo signals; umount /dev/mqueue && echo unmounts; \
                  ls /sys > /dev/null && echo looks";
    let open = ["--cap-add", "ALL", "--security-opt", "seccomp=unconfined"];
    let open = [&open[..], &["--security-opt", "systempaths=unconfined"]].concat();
    let harmless = "shares\nscores\nsignals\nunmounts\nlooks";
    world.sh(&open, script).prints(harmless);
    let all = format!("mounts\nlogs\nswaps\n{harmless}");
    world.sh(&[&open[..], &UNCONFINED].concat(), script).prints(&all);
}

fn it_goes_with_every_other_fence(world: &World) {
    let script = format!("{ASK}; cat /proc/1/attr/current; id -u");
    let twice = [CONFINED; 2].join("\n");
    world
        .sh(&["--security-opt", "no-new-privileges", "-u", "7"], &script)
        .prints(&format!("{twice}\n7"));
    world.sh(&["--init"], &script).prints(&format!("{twice}\n0"));
    world.sh(&["--userns"], &script).prints(&format!("{twice}\n0"));
    world.sh(&["--profile", "strict"], &script).prints(&format!("{twice}\n65534"));
    world.sh(&["-t"], &script).prints(&format!("{twice}\n0"));
}

/// One value a line, of the guest and of the file that the profile is compiled with.
fn the_kernel_is_the_one_that_the_profile_was_compiled_for(world: &World) {
    let script = "mount -t securityfs s /sys/kernel/security && cd /sys/kernel/security/apparmor/features && \
                  find . -type f | while read -r f; do echo \"$f $(tr '\\n' ' ' < $f)\"; done";
    let output = world.sh(&["--privileged"], script);
    let mut found: Vec<String> = output
        .exits(0)
        .text()
        .lines()
        .map(|line| line.trim_start_matches("./").trim().to_owned())
        .collect();
    found.sort();
    let path = crate::harness::workspace().join("rootfs/apparmor/features");
    let mut expected = flattened(&std::fs::read_to_string(path).unwrap());
    expected.sort();
    assert_eq!(found, expected);
}

/// `path/to/feature value` for each of the nested `name {…}`.
fn flattened(features: &str) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    let mut rest = features;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, after) = rest.split_at(at);
        let text = text.trim();
        if after.starts_with('{') {
            path.push(text);
        } else {
            if !text.is_empty() {
                lines.push(format!("{} {text}", path.join("/")));
            }
            path.pop();
        }
        rest = &after[1..];
    }
    lines
}

fn other_profiles_are_refused(world: &World) {
    let words = ["the guest has no such profile", "hint: profiles are cofferdam-default"];
    world.sh(&["--security-opt", "apparmor=docker-default"], "true").exits(125).complains(&words);
}
