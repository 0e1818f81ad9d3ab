//! `cofferdam doctor` says whether this place can run it, and `run` agrees.

use crate::cases;
use crate::harness::{Output, World, native_kvm};
use serde_json::Value;

cases! {
    Both: it_looks_at_everything, run_does_what_it_says;
    Tcg: a_place_that_does_not;
    Kvm: kvm_is_found_good;
}

/// What is looked at in every place; more may come.
const CHECKS: [&str; 14] = [
    "kvm-device",
    "qemu",
    "memory",
    "cpus",
    "state-directory",
    "descriptors",
    "user",
    "capabilities",
    "no-new-privileges",
    "seccomp",
    "label",
    "landlock",
    "shared-memory",
    "kernel",
];

fn doctor(world: &World, flags: &[&str]) -> Output {
    let state = world.state().display().to_string();
    world.command(&[&["doctor", "--state-dir", &state], flags].concat())
}

fn json(world: &World) -> (Value, i32) {
    let output = doctor(world, &["--json"]);
    let said = serde_json::from_slice(&output.stdout);
    (said.unwrap_or_else(|error| panic!("{error}: {}", output.text())), output.code)
}

fn it_looks_at_everything(world: &World) {
    let (said, _) = json(world);
    for name in CHECKS {
        let status = native_kvm::check(&said, name);
        let status = status.unwrap_or_else(|| panic!("{name} was not looked at: {said}"));
        assert!(["ok", "warn", "fail"].contains(&status), "{name}: {said}");
    }
    for check in said["checks"].as_array().unwrap() {
        let (told, hinted) = (check["value"].as_str(), check["hint"].as_str());
        assert!(told.is_some_and(|it| !it.is_empty()), "{check}");
        assert!(check["status"] == "ok" || hinted.is_some_and(|it| !it.is_empty()), "{check}");
    }
    // People are told the same.
    let text = doctor(world, &[]).text();
    for name in CHECKS {
        assert!(text.lines().any(|line| line.contains(name)), "{name}: {text}");
    }
}

/// Whatever this place is.
fn run_does_what_it_says(world: &World) {
    let (said, code) = json(world);
    let output = world.sandbox().accel("auto").loud().run(&["true"]);
    let works = output.code == 0;
    assert_eq!(
        (said["works"].as_bool(), code == 0),
        (Some(works), works),
        "{said}: {}",
        output.stderr
    );
    let accelerator = match (works, output.stderr.contains("TCG")) {
        (false, _) => Value::Null,
        (true, false) => "kvm".into(),
        (true, true) => "tcg".into(),
    };
    assert_eq!(said["accelerator"], accelerator, "{said}: {}", output.stderr);
}

fn a_place_that_does_not(world: &World) {
    let file = world.file("a-file", "");
    let output = world.command(&["doctor", "--state-dir", file.to_str().unwrap()]);
    assert_ne!(output.code, 0);
    let said = format!("{}{}", output.text(), output.stderr);
    assert!(said.contains("a-file") && said.contains("hint:"), "{said}");
}

fn kvm_is_found_good(world: &World) {
    // The probe has 0.8 s, which a machine that is emulated beside others now and then has not.
    let is_late = |(said, _): &(Value, i32)| said["accelerator"] != "kvm";
    let (said, code) =
        (0..4).map(|_| json(world)).find(|it| !is_late(it)).unwrap_or_else(|| json(world));
    assert_eq!((code, said["accelerator"].as_str()), (0, Some("kvm")), "{said}");
    for name in ["kvm-device", "kvm-open", "kvm-api", "kvm-probe"] {
        assert_eq!(native_kvm::check(&said, name), Some("ok"), "{said}");
    }
    let checks = said["checks"].as_array().unwrap();
    let probe =
        checks.iter().find(|it| it["name"] == "kvm-probe").unwrap()["value"].as_str().unwrap();
    // The useless kind interprets ring 0, at one or two; this one is emulated, at hundreds.
    let figure: f64 = probe.split_whitespace().next().unwrap().parse().unwrap();
    assert!((20.0..100_000.0).contains(&figure), "{probe}");
    // Without a name for the accelerator the same is chosen.
    let auto = || world.sandbox().accel("auto").loud().sh("grep -c hypervisor /proc/cpuinfo");
    let is_kvm = |output: &Output| !output.stderr.contains("TCG");
    let output = (0..4).map(|_| auto()).find(is_kvm).unwrap_or_else(auto);
    output.exits(0);
    assert!(!output.stderr.contains("TCG"), "{}", output.stderr);
}
