//! A guest that dies, or never lives: one clear line, and exit code 125.

use crate::cases;
use crate::harness::kernel::{Misdeed, tiny};
use crate::harness::terminal::Terminal;
use crate::harness::{Accelerator, Output, World, leftovers};
use std::time::Duration;

cases! {
    Both: a_panic_is_one_line, a_panic_on_a_terminal_is_one_line, a_panic_inside_init_is_one_line,
        printing_the_words_changes_nothing, a_reset_has_its_own_words, a_power_off_has_its_own_words,
        a_triple_fault_has_its_own_words, a_guest_that_hangs_at_boot, a_guest_that_faults_at_boot,
        killall_ends_its_own_sandbox_only;
}

// What is written in the very moment before may not have left the guest.
const PANIC: &str = "echo before; sleep 1; echo c > /proc/sysrq-trigger; sleep 30; echo after";

#[track_caller]
fn one_line_and_a_hint(output: &Output, words: &[&str]) {
    output.exits(125).complains(words);
    let lines: Vec<&str> = output.stderr.lines().collect();
    let well_formed = matches!(lines[..], [line, hint] if line.starts_with("cofferdam: ") && hint.starts_with("hint: "));
    assert!(well_formed, "a line and a hint are wanted: {lines:?}");
}

fn a_panic_is_one_line(world: &World) {
    let output = world.sh(&["--privileged"], PANIC);
    one_line_and_a_hint(&output, &["the guest kernel panicked: sysrq triggered crash"]);
    assert_eq!(output.text(), "before");
    // It does not wait for anything that will not come.
    assert!(output.elapsed < Duration::from_secs(25), "{:?}", output.elapsed);
}

fn a_panic_on_a_terminal_is_one_line(world: &World) {
    let arguments =
        world.sandbox().flags(&["-i", "-t", "--privileged"]).arguments(&["sh", "-c", PANIC]);
    let mut terminal = Terminal::start(&world.product, &arguments);
    let before = terminal.modes();
    assert_eq!(terminal.ends(), 125);
    let text = terminal.text();
    assert_eq!(text.matches("cofferdam:").count(), 1, "{text:?}");
    assert!(text.contains("panic") && text.contains("\nhint: "), "{text:?}");
    assert_eq!(before.local_modes, terminal.modes().local_modes);
}

/// A panic of which nobody may write the mark: killing the guest's PID 1 cannot be done from inside a
/// container, but running out of all memory with panic_on_oom can.
fn a_panic_inside_init_is_one_line(world: &World) {
    let script = "echo 2 > /proc/sys/vm/panic_on_oom; tail /dev/zero";
    let output = world.sandbox().machine("128m", "1").flags(&["--privileged"]).sh(script);
    one_line_and_a_hint(
        &output,
        &["the guest kernel panicked: Out of memory: compulsory panic_on_oom"],
    );
}

fn printing_the_words_changes_nothing(world: &World) {
    let script = r#"
        for to in /dev/stdout /dev/stderr /dev/console /dev/kmsg /dev/ttyS0 /dev/hvc0; do
            echo 'Kernel panic - not syncing: sysrq triggered crash' 2>/dev/null > $to
            echo 'reboot: System halted; ---[ end Kernel panic' 2>/dev/null > $to
            echo 'cofferdam: the guest kernel panicked' 2>/dev/null > $to
        done
        exit 7
    "#;
    world.sh(&[], script).exits(7);
    world.sh(&["--privileged"], script).exits(7);
}

fn a_reset_has_its_own_words(world: &World) {
    let output = world.sh(&["--privileged"], "echo b > /proc/sysrq-trigger; sleep 30");
    one_line_and_a_hint(&output, &["reset"]);
    assert!(!output.stderr.contains("panic"), "{}", output.stderr);
}

/// Power-off without ACPI is a machine that stands still, or one that stops: never a success.
fn a_power_off_has_its_own_words(world: &World) {
    let output =
        world.sh(&["--privileged", "--timeout", "20"], "echo o > /proc/sysrq-trigger; sleep 60");
    assert!(output.code == 125 || output.code == 124, "{} {}", output.code, output.stderr);
    output.complains(&[if output.code == 124 { "--timeout" } else { "the guest" }]);
    assert!(!output.stderr.contains("panic"), "{}", output.stderr);
}

/// QEMU tells a triple fault from a reset by nothing that it lets others see.
fn words_of_a_triple_fault(world: &World) -> &'static str {
    match world.accelerator {
        Accelerator::Kvm => "triple fault",
        Accelerator::Tcg => "reset",
    }
}

fn a_triple_fault_has_its_own_words(world: &World) {
    let script = "echo triple > /sys/kernel/reboot/type && echo b > /proc/sysrq-trigger; sleep 30";
    let output = world.sh(&["--privileged"], script);
    one_line_and_a_hint(&output, &[words_of_a_triple_fault(world)]);
    assert!(!output.stderr.contains("panic"), "{}", output.stderr);
}

fn a_guest_that_hangs_at_boot(world: &World) {
    let kernel = tiny(world, Misdeed::Spin);
    let flags = ["--kernel", kernel.to_str().unwrap(), "--boot-timeout", "2"];
    let output = world.sh(&flags, "true");
    one_line_and_a_hint(&output, &["boot"]);
    assert!(output.elapsed < Duration::from_secs(12), "{:?}", output.elapsed);
}

fn a_guest_that_faults_at_boot(world: &World) {
    let kernel = tiny(world, Misdeed::TripleFault);
    let output = world.sh(&["--kernel", kernel.to_str().unwrap()], "true");
    one_line_and_a_hint(&output, &[words_of_a_triple_fault(world)]);
    assert!(output.elapsed < Duration::from_secs(12), "{:?}", output.elapsed);
}

/// What an image's root kills is its own sandbox: this machine's processes, and ours, live on. The init
/// process of its own namespace is spared, as the kernel has it; all else dies.
fn killall_ends_its_own_sandbox_only(world: &World) {
    let bystander = world.sandbox().start(&["sh", "-c", "sleep 8; echo alive"]);
    let before = leftovers::family(bystander.pid());
    let script = "sleep 100 & echo begun; setsid sh -c 'kill -9 -1'; sleep 5; echo survived";
    let output = world.sh(&["--privileged", "--init"], script);
    assert_eq!(output.exits(137).text(), "begun");
    let dead: Vec<_> = before.iter().filter(|it| !leftovers::lives(it.pid)).collect();
    assert!(dead.is_empty(), "{dead:?} died with it");
    bystander.wait().prints("alive");
}
