//! `cofferdam audit`: the seven rules, by what is to be seen of a sandbox that stands, and each wall taken away
//! in its turn.

use super::engines::device_and_group;
use crate::cases;
use crate::harness::engine::Engine;
use crate::harness::product::Sandbox;
use crate::harness::{Accelerator, Output, Running, World, leftovers, workspace};
use serde_json::Value;
use std::collections::BTreeSet;

cases! {
    Both: a_careful_container_has_every_wall, our_own_walls_taken_away, strict_is_as_careful;
    Tcg: each_wall_inside_taken_away, what_cannot_be_run_cannot_be_audited, lines_for_people, the_run_that_is_looked_into;
    Outer: docker_says_what_readme_shows, docker_each_wall_outside_taken_away, podman_has_every_wall;
}

/// All that a container can do without, flag by flag.
const CAREFUL: [&[&str]; 6] = [
    &["--user", "1000"],
    &["--cap-drop", "ALL"],
    &["--security-opt", "no-new-privileges"],
    &["--userns"],
    &["--read-only"],
    &["--tmpfs", "/work:noexec,nosuid,nodev"],
];

fn careful<'a>() -> Vec<&'a str> {
    CAREFUL.concat()
}

fn audit(sandbox: &Sandbox<'_>, json: bool) -> Output {
    let mut arguments = sandbox.arguments(&["never", "run"]);
    arguments[0] = "audit".to_owned();
    if json {
        arguments.insert(1, "--json".to_owned());
    }
    Running::start(sandbox.program_with(&arguments), None).wait()
}

/// The findings of one side, or of both, that do not hold.
fn amiss(output: &Output, side: Option<&str>) -> BTreeSet<String> {
    let said: Value = serde_json::from_slice(&output.exits(0).stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", output.text(), output.stderr));
    assert_eq!(said["version"], 1);
    let rules = said["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 7, "{said}");
    let findings = rules.iter().flat_map(|rule| rule["findings"].as_array().unwrap());
    let amiss = findings.filter(|it| it["holds"] == false);
    let amiss = amiss.filter(|it| side.is_none_or(|side| it["where"] == side));
    amiss.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

fn a_careful_container_has_every_wall(world: &World) {
    let output = audit(&world.sandbox().flags(&careful()), true);
    assert_eq!(amiss(&output, Some("inside")), names(&[]), "{}", output.text());
    let outside = amiss(&output, Some("outside"));
    // Our own stand wherever we are; the hardware's, only where there is hardware.
    for own in ["own-seccomp", "own-landlock", "no-new-privileges"] {
        assert!(!outside.contains(own), "{}", output.text());
    }
    let emulated = world.accelerator == Accelerator::Tcg;
    assert_eq!(outside.contains("hardware-wall"), emulated, "{}", output.text());
    // It is run as root here.
    assert!(outside.contains("our-processes"), "{}", output.text());
}

fn strict_is_as_careful(world: &World) {
    let output =
        audit(&world.sandbox().flags(&["--profile", "strict", "--writable", "/work"]), true);
    assert_eq!(amiss(&output, Some("inside")), names(&[]), "{}", output.text());
}

fn each_wall_inside_taken_away(world: &World) {
    type Without = Option<&'static [&'static str]>;
    let taken: [(Without, &[&str], &[&str]); 9] = [
        (Some(CAREFUL[0]), &["--user", "0"], &["container-user"]),
        (None, &["--security-opt", "seccomp=unconfined"], &["container-seccomp"]),
        (None, &["--security-opt", "apparmor=unconfined"], &["container-label"]),
        (None, &["--tmpfs", "/more:exec"], &["container-mounts"]),
        // With one of these two gone the other still lets nothing be gained.
        (Some(CAREFUL[1]), &[], &[]),
        (Some(CAREFUL[2]), &[], &[]),
        (Some(CAREFUL[3]), &[], &["container-users"]),
        (Some(CAREFUL[4]), &[], &["container-root"]),
        (
            Some(CAREFUL[3]),
            &["--privileged"],
            &["container-users", "container-seccomp", "container-label"],
        ),
    ];
    for (without, with, expected) in taken {
        let kept = CAREFUL.into_iter().filter(|it| Some(*it) != without);
        let flags = [&kept.collect::<Vec<_>>().concat(), with].concat();
        let output = audit(&world.sandbox().flags(&flags), true);
        let found = amiss(&output, Some("inside"));
        assert_eq!(found, names(expected), "{flags:?}: {}", output.text());
    }
}

/// By the launcher that can be told to build fewer.
fn our_own_walls_taken_away(world: &World) {
    for (trial, name) in [("no-seccomp", "own-seccomp"), ("landlock=0", "own-landlock")] {
        let output = audit(&world.sandbox().flags(&careful()).trying(trial), true);
        let outside = amiss(&output, Some("outside"));
        let own: Vec<&String> = outside.iter().filter(|it| it.starts_with("own-")).collect();
        assert_eq!(own, [name], "{}", output.text());
    }
}

fn what_cannot_be_run_cannot_be_audited(world: &World) {
    let output = audit(&world.sandbox().image("oci:/nowhere"), true);
    output.exits(125).complains(&["/nowhere"]);
    assert_eq!(output.text(), "");
    let output = audit(&world.sandbox().flags(&["--no-such-flag"]), false);
    output.exits(125).complains(&["--no-such-flag"]);
    world.command(&["audit"]).exits(125).complains(&["hint: see cofferdam audit --help"]);
}

/// By itself it says what its auditor hears, and ends with its input.
fn the_run_that_is_looked_into(world: &World) {
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state).kept();
    let output = sandbox.clone().flags(&["--audited"]).run(&["never", "run"]);
    output.exits(0).shows("the root directory is closed\n").shows("CapEff:\t00000000a80425fb\n");
    assert_eq!(leftovers::sandboxes(&state), [""; 0]);
    // Where that never ends, as where the guest lies about it, it ends by itself.
    let mut program = sandbox.flags(&["--audited", "--boot-timeout", "12"]).program(&[]);
    let (running, _input) = Running::with_stdin(&mut program, true);
    let late = "the witness in the container was not done within 12 s\nhint: --boot-timeout";
    running.wait().exits(125).complains(&[late]).shows("CapEff:");
    assert_eq!(leftovers::sandboxes(&state), [""; 0]);
}

fn lines_for_people(world: &World) {
    let output = audit(&world.sandbox(), false);
    output
        .exits(0)
        .shows("1  not root, capabilities dropped: does not hold\n")
        .shows("    no  inside   container-user     — user 0 with capabilities CHOWN, ")
        .shows("        hint: --profile strict\n")
        .shows("    ok  inside   own-kernel         — its kernel 6.12")
        .shows("\n1 of 7 rules hold");
    assert_eq!(output.stderr, "");
}

fn in_engine(engine: Engine, world: &World, flags: &[&str]) -> Output {
    let mut arguments = vec!["audit", "--json", "--quiet", "--vm-memory", "256m", "--vm-cpus", "1"];
    arguments.extend(careful());
    if flags.contains(&"0:0") {
        // The volume is another user's, and this root has no power over that.
        arguments.extend(["--state-dir", "/dev/shm/state"]);
    }
    arguments.push("oci:/images/plain");
    engine.run(world, &[&device_and_group()[..], flags].concat(), &arguments)
}

/// Word for word, but for the release of the guest's kernel.
fn docker_says_what_readme_shows(world: &World) {
    const FLAGS: &str = "audit --user 1000 --cap-drop ALL --security-opt seccomp=unconfined";
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    assert!(
        readme.contains(&format!("    $ docker run … cofferdam:latest {FLAGS} oci:")),
        "{FLAGS}"
    );
    let arguments: Vec<&str> = FLAGS.split(' ').chain(["oci:/images/plain"]).collect();
    let output = Engine::Docker.run(world, &device_and_group(), &arguments);
    let said: String = output.exits(0).text().lines().map(|line| format!("    {line}\n")).collect();
    let masked = |text: &str| {
        let is_release = |word: &&str| word.trim_end_matches(',').ends_with("-cofferdam");
        let kept = text.split(' ').map(|word| if is_release(&word) { "RELEASE" } else { word });
        kept.collect::<Vec<_>>().join(" ")
    };
    assert!(masked(&readme).contains(&masked(&said)), "README shows otherwise:\n{said}");
}

fn docker_each_wall_outside_taken_away(world: &World) {
    // This engine maps no users, and who made an image nobody asks.
    const NEVER: [&str; 2] = ["image-policy", "outer-users"];
    // The state is on a volume, of which the engine does not say that it holds no programs.
    const VOLUME: &str = "outer-mounts";
    let taken: [(&[&str], &[&str]); 5] = [
        (&[], &[VOLUME]),
        (&["--user", "0:0"], &["our-processes"]),
        (&["--security-opt", "seccomp=unconfined"], &[VOLUME, "engine-seccomp"]),
        (&["--security-opt", "apparmor=unconfined"], &[VOLUME, "engine-label"]),
        (&["--read-only=false"], &[VOLUME, "outer-root"]),
    ];
    for (flags, expected) in taken {
        let output = in_engine(Engine::Docker, world, flags);
        let expected = [&NEVER[..], expected].concat();
        assert_eq!(amiss(&output, None), names(&expected), "{flags:?}: {}", output.text());
    }
}

fn podman_has_every_wall(world: &World) {
    let output = in_engine(Engine::Podman, world, &[]);
    let amiss = amiss(&output, None);
    for name in ["our-processes", "own-seccomp", "own-landlock", "engine-seccomp", "outer-root"] {
        assert!(!amiss.contains(name), "{}", output.text());
    }
}
