//! `cofferdam pause` and `unpause`: a sandbox whose containers stand still, and go on.

use crate::cases;
use crate::harness::World;
use crate::harness::detached::Detached;
use std::time::Duration;

cases! {
    Tcg: it_stands_still_and_goes_on, whatever_ends_it_lets_it_go_on;
}

/// Says a line ten times a second; ends in order where it is asked to.
const COUNTS: &str =
    "trap 'echo bye; exit 7' TERM; it=0; while :; do it=$((it + 1)); echo $it; sleep 0.1; done";

fn lines(sandbox: &Detached) -> usize {
    sandbox.logs(&[]).lines().count()
}

fn it_stands_still_and_goes_on(world: &World) {
    let sandbox = Detached::start(world, &[], COUNTS);
    sandbox.says("3\n");
    sandbox.command(&["unpause"], &["box"]).exits(125).complains(&["cannot unpause box", "not"]);
    sandbox.command(&["pause"], &["box"]).prints("box");
    let said = lines(&sandbox);
    assert!(sandbox.command(&["ps"], &[]).text().contains("running (paused)"));
    assert!(sandbox.command(&["inspect"], &["box"]).text().contains("\"paused\": true"));
    sandbox.command(&["pause"], &["box"]).exits(125).complains(&["cannot pause box", "already"]);
    let exec = sandbox.command(&["exec"], &["box", "true"]);
    exec.exits(125).complains(&["the sandbox is paused", "cofferdam unpause"]);
    sandbox.command(&["stats", "--json"], &["box"]).exits(0).shows("\"tasks\"");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(lines(&sandbox), said);
    sandbox.command(&["unpause"], &["box"]).prints("box");
    assert!(!sandbox.command(&["ps"], &[]).text().contains("paused"));
    sandbox.command(&["exec"], &["box", "sh", "-c", "exit 3"]).exits(3);
    sandbox.says(&format!("{}\n", said + 3));
    sandbox.command(&["rm", "--force"], &["box"]).exits(0);
    sandbox.command(&["pause"], &["box"]).exits(125).complains(&["no sandbox is called"]);
}

fn whatever_ends_it_lets_it_go_on(world: &World) {
    for (command, code) in [(&["stop"][..], "7"), (&["kill"], "137")] {
        let sandbox = Detached::start(world, &[], COUNTS);
        sandbox.says("3\n");
        sandbox.command(&["pause"], &["box"]).prints("box");
        sandbox.command(command, &["box"]).prints("box");
        sandbox.command(&["wait"], &["box"]).prints(code);
        assert!(!sandbox.command(&["inspect"], &["box"]).text().contains("\"paused\": true"));
    }
    // And where its time is over.
    let sandbox = Detached::start(world, &["--timeout=20"], COUNTS);
    sandbox.says("3\n");
    sandbox.command(&["pause"], &["box"]).prints("box");
    sandbox.command(&["wait"], &["box"]).prints("124");
    assert!(sandbox.logs(&[]).ends_with("bye"));
}
