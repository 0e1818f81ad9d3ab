//! `cofferdam doctor` says whether this place can run it.

use crate::cases;
use crate::harness::World;
use serde_json::Value;

cases! {
    Both: a_place_that_works, json;
    Tcg: a_place_that_does_not;
    Kvm: kvm_is_found_good;
}

fn a_place_that_works(world: &World) {
    let state = world.state();
    let output = world.command(&["doctor", "--state-dir", state.to_str().unwrap()]);
    output.exits(0).shows("/dev/kvm").shows("seccomp").shows("landlock").shows("qemu");
}

fn json(world: &World) {
    let state = world.state();
    let output = world.command(&["doctor", "--json", "--state-dir", state.to_str().unwrap()]);
    let said: Value = serde_json::from_slice(&output.exits(0).stdout).unwrap();
    assert!(said.is_object(), "{said}");
}

fn a_place_that_does_not(world: &World) {
    let file = world.file("a-file", "");
    let output = world.command(&["doctor", "--state-dir", file.to_str().unwrap()]);
    assert_ne!(output.code, 0);
    let said = format!("{}{}", output.text(), output.stderr);
    assert!(said.contains("a-file") && said.contains("hint:"), "{said}");
}

fn kvm_is_found_good(world: &World) {
    // Without a name for the accelerator the same is chosen.
    let output = world.sandbox().accel("auto").loud().sh("grep -c hypervisor /proc/cpuinfo");
    output.exits(0);
    assert!(!output.stderr.contains("TCG"), "{}", output.stderr);
}
