//! What is said besides the container's own words, and which kernel boots.

use crate::cases;
use crate::harness::{Accelerator, World, kernel};
use serde_json::Value;

cases! {
    Both: the_console_has_the_kernels_log, another_kernel, timings;
    Tcg: quiet_says_nothing, a_kernel_that_is_none_is_refused;
    AutoTcg: tcg_says_what_it_is_not;
}

fn the_console_has_the_kernels_log(world: &World) {
    let file = world.scratch_file("console");
    // A serial port takes its time: each byte of it is an exit.
    let flags = ["--console", file.to_str().unwrap(), "--boot-timeout", "90"];
    world.sh(&flags, "uname -r").exits(0);
    let log = std::fs::read_to_string(&file).unwrap();
    assert!(log.contains("Linux version 6.12"), "{log}");
}

fn timings(world: &World) {
    let file = world.scratch_file("timings");
    world.sh(&["--timings", file.to_str().unwrap()], "sleep 2").exits(0);
    let said: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let stages = said["stages_ms"].as_object().unwrap();
    let sum: f64 = stages.values().map(|stage| stage.as_f64().unwrap()).sum();
    let total = said["total_ms"].as_f64().unwrap();
    assert!((sum - total).abs() < 1.0, "the stages sum to the total: {said}");
    assert!((2000.0..total).contains(&stages["process"].as_f64().unwrap()), "{said}");
    let (kernel, boot) =
        (said["guest_kernel_ms"].as_f64().unwrap(), stages["boot"].as_f64().unwrap());
    assert!(kernel > 1.0 && kernel < boot, "{said}");
    match world.accelerator {
        Accelerator::Kvm => {
            let kvm = &said["kvm"];
            let (all, port) = (kvm["exits"].as_u64().unwrap(), kvm["io_exits"].as_u64().unwrap());
            assert!(all > 500 && port > 0 && port < all, "{kvm}");
        }
        Accelerator::Tcg => assert!(said["kvm"].is_null(), "{said}"),
    }
}

fn another_kernel(world: &World) {
    let release = world.sh(&[], "uname -r").exits(0).text();
    let (path, other) = kernel::renamed(world, &release);
    world.sh(&["--kernel", path.to_str().unwrap()], "uname -r").prints(&other);
}

fn quiet_says_nothing(world: &World) {
    let output = world.sandbox().sh("echo only this");
    output.prints("only this");
    assert_eq!(output.stderr, "");
}

/// Not where TCG was asked for by name: here it was chosen, because the KVM that is here is not usable.
/// Said even to who wants quiet: the hardware's wall is not there.
fn tcg_says_what_it_is_not(world: &World) {
    let output = world.sandbox().accel("auto").run(&["true"]);
    output.exits(0);
    let said = output.stderr.to_lowercase();
    assert!(said.contains("slow") && said.contains("wall"), "{said}");
}

fn a_kernel_that_is_none_is_refused(world: &World) {
    let file =
        world.file("no-kernel", "this is no kernel, but it is long enough to be looked at twice");
    world.sh(&["--kernel", file.to_str().unwrap()], "true").exits(125).complains(&["kernel"]);
    world.sh(&["--kernel", "/no/such/kernel"], "true").exits(125).complains(&["/no/such/kernel"]);
}
