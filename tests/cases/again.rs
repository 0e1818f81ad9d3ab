//! `cofferdam start` and `restart`: a sandbox that has ended goes on where it was. And `inspect`, which says what it is.

use crate::cases;
use crate::harness::detached::Detached;
use crate::harness::{Running, World, leftovers};
use rustix::process::{Signal, kill_process};
use std::path::Path;
use std::process::Command;

cases! {
    Both: it_goes_on_where_it_was;
    Tcg: one_of_the_foreground, one_that_is_restarted, what_cannot_be, one_that_fails_is_started_again,
        one_that_is_always_to_run;
}

/// Counts how often it has begun, in its root and in a volume of its own; and waits.
const SCRIPT: &str = "rm -f /go; echo begun >> /root-count; echo begun >> /data/count
    echo $(wc -l < /root-count) $(wc -l < /data/count) $FROM_HERE $FROM_FILE; until [ -e /go ]; do sleep 0.1; done; sleep 1; exit 3";

/// Lets it end, and waits for that.
fn ends(sandbox: &Detached<'_>) {
    sandbox.command(&["exec"], &["box", "touch", "/go"]).exits(0);
    sandbox.command(&["wait"], &["box"]).prints("3");
}

fn start(sandbox: &Detached<'_>) {
    sandbox.command(&["start"], &["box"]).prints("box");
}

/// Also after a kill, where nothing was put in order.
fn it_goes_on_where_it_was(world: &World) {
    let (run, sandbox) = Detached::sandbox(world);
    let file = world.scratch_file("variables");
    std::fs::write(&file, "FROM_FILE=file\n").unwrap();
    let flags = ["-e", "FROM_HERE", "--env-file", &file.display().to_string(), "-v", "/data"];
    let run = run.flags(&flags).launcher_env("FROM_HERE", "here").launcher_env("SECRET", "hidden");
    run.sh(SCRIPT).exits(0);
    std::fs::write(&file, "FROM_FILE=changed\n").unwrap();
    sandbox.says("1 1 here file");
    start(&sandbox);
    let id = leftovers::sandboxes(&sandbox.state).remove(0);
    let kept = std::fs::read_to_string(sandbox.state.join("sandboxes").join(&id).join("run.json"));
    assert!(!kept.unwrap().contains("hidden"), "what nobody has asked for is not kept");
    ends(&sandbox);
    start(&sandbox);
    sandbox.says("2 2 here file");
    let document = sandbox.command(&["inspect"], &["box"]).exits(0).text();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(
        (&document[0]["id"], &document[0]["status"]["state"]),
        (&id.into(), &"running".into())
    );
    assert!(Path::new(document[0]["directory"].as_str().unwrap()).join("record.json").is_file());
    // What the guest's kernel has not written yet may be lost, as by a power cut; what it has, is there.
    sandbox.command(&["exec"], &["box", "sync"]).exits(0);
    let supervisor = sandbox.supervisor();
    let family = leftovers::family(supervisor.as_raw_nonzero().get().cast_unsigned());
    kill_process(supervisor, Signal::KILL).unwrap();
    leftovers::all_gone(&family);
    start(&sandbox);
    sandbox.says("3 3 here file");
    ends(&sandbox);
    assert_eq!(sandbox.logs(&[]), "1 1 here file\n2 2 here file\n3 3 here file");
    sandbox.command(&["rm"], &["box"]).exits(0);
    sandbox.command(&["start"], &["box"]).exits(125).complains(&["no sandbox is called"]);
}

/// It is in the background the second time.
fn one_of_the_foreground(world: &World) {
    let state = world.fresh_state();
    let script = "echo more >> /kept; wc -l < /kept; exit 4";
    let run = world.sandbox().kept().state(&state).flags(&["--name", "box", "--workdir", "/tmp"]);
    assert_eq!(run.sh(script).exits(4).text(), "1");
    let sandbox = Detached { world, state };
    start(&sandbox);
    sandbox.command(&["wait"], &["box"]).prints("4");
    assert_eq!(sandbox.logs(&[]), "2");
}

fn one_that_is_restarted(world: &World) {
    let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let sandbox = Detached::start(world, &[], script);
    sandbox.says("up");
    sandbox.command(&["restart"], &["box"]).prints("box");
    sandbox.says("up\nbye\nup");
    sandbox.command(&["stop"], &["box"]).exits(0);
    sandbox.command(&["restart"], &["box"]).prints("box");
    sandbox.says("up\nbye\nup\nbye\nup");
}

/// So often as its policy says, with all that it was given, and no more where somebody has stopped it.
fn one_that_fails_is_started_again(world: &World) {
    let flags = ["--restart", "on-failure:2", "-v", "/data"];
    let script = "echo more >> /data/count; wc -l < /data/count; exit 6";
    let sandbox = Detached::start(world, &flags, script);
    sandbox.says("1\n2\n3");
    sandbox.is_left_alone();
    assert!(sandbox.command(&["ps", "--all"], &[]).text().contains("exited (6)"));
    assert_eq!(sandbox.logs(&[]), "1\n2\n3");
    let (run, other) = Detached::sandbox(world);
    run.flags(&["--restart", "never"]).run(&["true"]).exits(125).complains(&["is no policy"]);
    assert!(leftovers::sandboxes(&other.state).is_empty());
}

fn one_that_is_always_to_run(world: &World) {
    let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let sandbox = Detached::start(world, &["--restart", "always"], script);
    sandbox.says("up");
    kill_process(sandbox.supervisor(), Signal::KILL).unwrap();
    sandbox.says("up\nup");
    sandbox.command(&["stop"], &["box"]).exits(0);
    assert_eq!(sandbox.logs(&[]), "up\nup\nbye");
    sandbox.is_left_alone();
    start(&sandbox);
    sandbox.says("bye\nup");
    sandbox.command(&["exec"], &["box", "kill", "-TERM", "1"]).exits(0);
    sandbox.says("bye\nup\nbye\nup");
    sandbox.command(&["rm", "--force"], &["box"]).exits(0);
    sandbox.is_left_alone();
}

/// It is said, and it is what it was.
fn what_cannot_be(world: &World) {
    let place = world.fresh_state();
    std::fs::create_dir_all(&place).unwrap();
    let plain = world.images.plain.strip_prefix("oci:").unwrap();
    let (plain, _) = plain.rsplit_once(':').unwrap_or((plain, ""));
    let copied = Command::new("cp").arg("-r").arg(plain).arg(place.join("image")).status();
    assert!(copied.unwrap().success());
    let state = world.fresh_state();
    let work = place.join("work");
    std::fs::create_dir(&work).unwrap();
    let mut program = world.sandbox().kept().state(&state).image("oci:../image");
    program = program.flags(&["--name", "box"]);
    let mut command = program.program(&["true"]);
    command.current_dir(&work);
    Running::start(command, None).wait().exits(0);
    let sandbox = Detached { world, state };
    let refused = |words: &str| {
        sandbox.command(&["start"], &["box"]).exits(125).complains(&["cannot start box", words]);
        assert!(sandbox.command(&["ps", "--all"], &[]).text().contains("exited (0)"));
    };
    std::fs::rename(place.join("image"), place.join("elsewhere")).unwrap();
    refused("image");
    let other = world.images.layered.strip_prefix("oci:").unwrap();
    let (other, _) = other.rsplit_once(':').unwrap_or((other, ""));
    std::os::unix::fs::symlink(other, place.join("image")).unwrap();
    refused("is not the one that it began with");
    std::fs::remove_file(place.join("image")).unwrap();
    std::fs::rename(place.join("elsewhere"), place.join("image")).unwrap();
    std::fs::rename(&work, place.join("gone")).unwrap();
    refused("is no directory any more");
    std::fs::rename(place.join("gone"), &work).unwrap();
    start(&sandbox);
    sandbox.command(&["wait"], &["box"]).prints("0");
    world
        .command(&["run", "--keeper", "--again", "/", "x"])
        .exits(125)
        .complains(&["is no sandbox's directory"]);
    let alone = "for cofferdam run --detach itself";
    world.command(&["run", "--warden", "x"]).exits(125).complains(&[alone]);
}
