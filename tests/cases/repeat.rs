//! Many sandboxes, one after the other and side by side.

use crate::cases;
use crate::harness::{World, leftovers};

cases! {
    Both: three_in_a_row, three_at_once, a_first_use_by_two_at_once;
}

fn three_in_a_row(world: &World) {
    let state = world.fresh_state();
    in_a_row(world, &state, 3);
}

/// Runs many, each its own answer; at the end the state directory is as after the first.
pub fn in_a_row(world: &World, state: &std::path::Path, count: u32) {
    let mut first = None;
    for number in 1..=count {
        let output =
            world.sandbox().state(state).sh(&format!("echo run {number}; exit {}", number % 100));
        output.exits((number % 100).cast_signed());
        assert_eq!(output.text(), format!("run {number}"));
        let files = leftovers::files(state);
        assert_eq!(*first.get_or_insert_with(|| files.clone()), files, "after run {number}");
    }
    leftovers::no_orphans();
}

fn three_at_once(world: &World) {
    let start = |name: &str| {
        world.sandbox().start(&["sh", "-c", &format!("sleep 2; hostname; echo {name}")])
    };
    let running = ["one", "two", "three"].map(|name| (name, start(name)));
    let outputs = running.map(|(name, running)| (name, running.wait()));
    for (name, output) in &outputs {
        output.exits(0).shows(name);
    }
    let mut hosts: Vec<String> = outputs
        .iter()
        .map(|(_, output)| output.text().lines().next().unwrap().to_owned())
        .collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), 3, "each has its own host name: {hosts:?}");
}

/// Both find the image's layers missing from the store.
fn a_first_use_by_two_at_once(world: &World) {
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state).image(&world.images.heavy);
    let script = ["sh", "-c", "cat /heavy/* | wc -c"];
    let running = [sandbox.start(&script), sandbox.start(&script)];
    for output in running.map(crate::harness::Running::wait) {
        output.prints("8388608");
    }
    let single = world.fresh_state();
    world.sandbox().state(&single).image(&world.images.heavy).run(&script).exits(0);
    assert_eq!(leftovers::files(&state), leftovers::files(&single));
}
