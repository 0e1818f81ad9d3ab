//! `cofferdam events` and `cofferdam rename`: what becomes of sandboxes is told as it does, by the names that they have then.

use crate::cases;
use crate::harness::detached::Detached;
use crate::harness::{Running, World};
use rustix::process::Signal;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

cases! {
    Tcg: a_life_is_told;
}

fn a_life_is_told(world: &World) {
    let (sandbox, detached) = Detached::at(world, world.fresh_state());
    let path = world.scratch_file("events");
    let mut program = Command::new(&world.product);
    program.args(detached.words(&["events"], &["--json"]));
    let events = Running::watched(program, std::fs::File::create(&path).unwrap());
    // Its first look is at nothing.
    std::thread::sleep(Duration::from_secs(1));
    sandbox.sh("trap 'exit 3' TERM; while :; do sleep 0.1; done").exits(0);
    let other =
        world.sandbox().kept().state(&detached.state).flags(&["--detach", "--name", "other"]);
    other.sh("true").exits(0);
    detached.command(&["wait"], &["other"]).prints("0");
    detached.command(&["rename"], &["box", "other"]).exits(125).complains(&["in use by sandbox"]);
    detached.command(&["rename"], &["box", "-no"]).exits(125).complains(&["\"-no\" is no name"]);
    detached.command(&["rename"], &["box", "new"]).exits(0);
    detached.command(&["exec"], &["box", "true"]).exits(125).complains(&["called \"box\""]);
    detached.command(&["exec"], &["new", "sh", "-c", "exit 4"]).exits(4);
    for command in ["pause", "unpause", "stop"] {
        detached.command(&[command], &["new"]).prints("new");
        std::thread::sleep(Duration::from_millis(500));
    }
    // One that has ended is renamed all the same.
    detached.command(&["rename"], &["other", "box"]).exits(0);
    std::thread::sleep(Duration::from_millis(500));
    detached.command(&["rm"], &["new", "box"]).exits(0);
    let told = || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let of = |events: &[Value], names: [&str; 2]| -> Vec<String> {
        let its = events.iter().filter(|it| names.contains(&it["name"].as_str().unwrap()));
        its.map(|it| it["action"].as_str().unwrap().to_owned()).collect()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while told().iter().filter(|it| it["action"] == "destroy").count() < 2 {
        assert!(Instant::now() < deadline, "{:?}", told());
        std::thread::sleep(Duration::from_millis(100));
    }
    events.signal(Signal::TERM);
    events.wait();
    let told = told();
    let id = told[0]["sandbox"].clone();
    let (first, second): (Vec<Value>, Vec<Value>) =
        told.into_iter().partition(|it| it["sandbox"] == id);
    let expected =
        ["create", "start", "rename: box", "pause", "unpause", "die", "destroy"].map(str::to_owned);
    assert_eq!(of(&first, ["box", "new"]), expected);
    let expected = ["create", "start", "die", "rename: other", "destroy"].map(str::to_owned);
    assert_eq!(of(&second, ["other", "box"]), expected);
    let codes: Vec<_> = first.iter().filter_map(|it| it["exit_code"].as_u64()).collect();
    assert_eq!(codes, [3]);
}
