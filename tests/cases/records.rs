//! What is kept of a sandbox, and what is not.

use crate::cases;
use crate::harness::{World, leftovers};
use serde_json::Value;
use std::time::{Duration, Instant};

cases! {
    Both: rm_leaves_nothing;
    Tcg: a_record_stays_without_rm, a_name_is_given_once, a_running_sandbox_is_listed, state_dir;
}

/// Only what every later run shares is left.
fn rm_leaves_nothing(world: &World) {
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state);
    sandbox.sh("echo written > /file").exits(0);
    let first = leftovers::files(&state);
    assert!(!first.is_empty(), "the store is kept");
    assert_eq!(leftovers::sandboxes(&state), [""; 0]);
    sandbox.sh("echo written > /file").exits(0);
    assert_eq!(leftovers::files(&state), first);
}

fn a_record_stays_without_rm(world: &World) {
    let state = world.fresh_state();
    let directory = state.to_str().unwrap();
    world
        .sandbox()
        .state(&state)
        .kept()
        .flags(&["--name", "job"])
        .sh("echo x > /file; exit 3")
        .exits(3);
    let listed = world.command(&["ps", "-a", "--json", "--state-dir", directory]);
    let listed: Value = serde_json::from_slice(&listed.exits(0).stdout).unwrap();
    assert_eq!(listed[0]["name"], "job", "{listed}");
    assert_eq!(listed[0]["status"]["exit_code"], 3, "{listed}");
    assert!(listed[0]["version"].is_u64(), "{listed}");
    world
        .command(&["ps", "-a", "--state-dir", directory])
        .exits(0)
        .shows("job")
        .shows("exited (3)");
    assert!(!world.command(&["ps", "--state-dir", directory]).exits(0).text().contains("job"));
    world.command(&["rm", "job", "--state-dir", directory]).exits(0);
    assert_eq!(leftovers::sandboxes(&state), [""; 0]);
    world.command(&["rm", "job", "--state-dir", directory]).exits(125).complains(&["job"]);
}

fn a_name_is_given_once(world: &World) {
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state).flags(&["--name", "one"]);
    sandbox.clone().kept().run(&["true"]).exits(0);
    sandbox.run(&["true"]).exits(125).complains(&["one"]);
}

fn a_running_sandbox_is_listed(world: &World) {
    let state = world.fresh_state();
    let directory = state.to_str().unwrap();
    let running =
        world.sandbox().state(&state).flags(&["--name", "alive"]).start(&["sleep", "100"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let listed = world.command(&["ps", "--state-dir", directory]);
        if listed.exits(0).text().contains("alive") {
            break;
        }
        assert!(Instant::now() < deadline, "{}", listed.text());
        std::thread::sleep(Duration::from_millis(100));
    }
    world.command(&["rm", "alive", "--state-dir", directory]).exits(125).complains(&["runs"]);
    // Nothing may have to run inside for a signal to end it.
    running.signal(rustix::process::Signal::KILL);
    let family = leftovers::family(running.pid());
    running.wait();
    leftovers::all_gone(&family);
    world.command(&["ps", "-a", "--state-dir", directory]).exits(0);
    assert_eq!(leftovers::sandboxes(&state), [""; 0]);
}

fn state_dir(world: &World) {
    let state = world.scratch_file("not-there-yet").join("deeper");
    world.sandbox().state(&state).run(&["true"]).exits(0);
    assert!(!leftovers::files(&state).is_empty());
    let file = world.file("a-file", "");
    world.sandbox().state(&file).run(&["true"]).exits(125).complains(&["a-file"]);
}
