//! `cofferdam stats`: what is told of a sandbox is what happens in it.

use crate::cases;
use crate::harness::World;
use crate::harness::living::Living;
use crate::harness::product::Output;
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

cases! {
    Both: what_a_sandbox_uses;
    Tcg: who_does_not_run, who_does_not_answer;
}

fn what_a_sandbox_uses(world: &World) {
    let sandbox = Living::start(world, &["--memory", "64m"]);
    let state = sandbox.state.display().to_string();
    let stats = |flags: &[&str]| {
        let words = [&["stats", "--state-dir", &state], flags].concat();
        let output = world.command(&words);
        output.exits(0);
        output.text()
    };
    let figures = || {
        let all: Value = serde_json::from_str(&stats(&["--json", "box"])).unwrap();
        assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
        all[0].clone()
    };
    let number = |figures: &Value, path: &str| {
        let of = figures.pointer(path);
        of.and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {figures}"))
    };
    let before = figures();
    assert_eq!(before["name"], "box");
    assert_eq!(number(&before, "/memory_max_bytes"), f64::from(64 << 20));
    assert_eq!(number(&before, "/network/refused"), 0.0, "{before}");
    assert!(number(&before, "/network/most_flows") > 100.0, "{before}");
    assert!(number(&before, "/machine_memory_bytes") > f64::from(16 << 20), "{before}");
    let (guest, memory) = (number(&before, "/guest_bytes"), number(&before, "/memory_bytes"));
    assert!(memory > 0.0 && memory < guest && guest < 1e11, "{before}");
    let script = "guest-tool net try tcp 192.0.0.1:9; guest-tool net try tcp 192.0.0.1:9
                  dd if=/dev/zero of=/big bs=1M count=8 conv=fsync 2> /dev/null
                  (while :; do :; done) & (while :; do :; done) &";
    sandbox.exec(world, &[], &["sh", "-c", script]).prints("refused\nrefused");
    let patience = Instant::now() + PATIENCE;
    let after = loop {
        let after = figures();
        // What has started the three is waited for by the agent at its own pace.
        if number(&after, "/tasks") - number(&before, "/tasks") == 2.0 {
            break after;
        }
        assert!(Instant::now() < patience, "no two tasks more: {before} {after}");
    };
    assert_eq!(number(&after, "/network/refused"), 2.0, "{after}");
    let added = |path: &str| number(&after, path) - number(&before, path);
    assert!(added("/written_bytes") >= f64::from(8 << 20), "{before} {after}");
    assert!(added("/network/sent_bytes") > 100.0 && added("/network/received_bytes") > 100.0);
    // Two that spin take all of the machine's one CPU, whatever else this one does.
    assert!(number(&after, "/cpu_percent") > 50.0, "{after}");
    assert!(number(&after, "/machine_cpu_percent") > 10.0, "{after}");
    let table = stats(&["--no-stream"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("SANDBOX") && lines[1].contains("box"),
        "{table}"
    );
    assert!(lines[1].contains("64.0 MiB"), "{table}");
    sandbox.end().exits(5);
}

fn who_does_not_run(world: &World) {
    let state = world.fresh_state().display().to_string();
    let stats =
        |words: &[&str]| world.command(&[&["stats", "--state-dir", &state], words].concat());
    stats(&["box"]).exits(125).complains(&["box"]);
    stats(&["--json"]).prints("[]");
}

/// Those that do are shown.
fn who_does_not_answer(world: &World) {
    let silent = Living::start(world, &[]);
    let state = silent.state.display().to_string();
    let script = "trap 'exit 5' TERM; while :; do sleep 0.1; done";
    let other = world.sandbox().state(&silent.state).flags(&["--name", "other"]);
    let other = other.start(&["sh", "-c", script]);
    let stats = || world.command(&["stats", "--state-dir", &state, "--json"]);
    let names = |output: &Output| -> Vec<String> {
        let all: Vec<Value> = serde_json::from_str(&output.text()).unwrap();
        all.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let patience = Instant::now() + Duration::from_secs(90);
    while names(&stats()).len() < 2 {
        assert!(Instant::now() < patience, "the other does not run");
    }
    silent.signal(Signal::STOP);
    let output = stats();
    silent.signal(Signal::CONT);
    output.exits(125).complains(&["did not answer within 10 s"]);
    assert_eq!(names(&output), ["other"]);
    other.signal(Signal::TERM);
    other.wait().exits(5);
    silent.end().exits(5);
}
