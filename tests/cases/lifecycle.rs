//! Signals, stopping, time-outs, and who is PID 1.

use crate::cases;
use crate::harness::{Running, World};
use rustix::process::Signal;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

cases! {
    Both: a_timeout_stops_with_the_stop_signal;
    Guest: the_program_is_pid_1, init_reaps, init_forwards_signals,
        the_image_says_which_signal_stops, processes_left_behind_do_not_hold_it_up,
        signals_are_forwarded, a_timeout_kills_what_does_not_stop;
}

/// Starts a script, waits for its first line, sends a signal; gives the rest of its output and its code.
#[track_caller]
fn signalled(world: &World, flags: &[&str], script: &str, signal: Signal) -> (String, i32) {
    let mut child = Command::new(&world.product)
        .args(world.sandbox().flags(flags).arguments(&["sh", "-c", script]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut ready = [0u8; 6];
    output.read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let code = child.try_wait().unwrap();
    if code.is_none() {
        child.kill().unwrap();
    }
    let rest = std::io::read_to_string(output).unwrap();
    let code = code.unwrap_or_else(|| panic!("it did not end: {rest}"));
    (rest.trim().to_owned(), code.code().unwrap_or(-1))
}

const LOOP: &str = "echo ready; while :; do sleep 0.1; done";

fn signals_are_forwarded(world: &World) {
    for (signal, name, code) in
        [(Signal::TERM, "TERM", 9), (Signal::HUP, "HUP", 8), (Signal::USR1, "USR1", 7)]
    {
        let script = format!("trap 'echo got {name}; exit {code}' {name}; {LOOP}");
        assert_eq!(signalled(world, &[], &script, signal), (format!("got {name}"), code));
    }
}

fn the_program_is_pid_1(world: &World) {
    world.sh(&[], "echo $$; cat /proc/1/comm; true").prints("1\nsh");
}

/// An orphan goes to PID 1; what does not reap keeps it as a zombie.
fn init_reaps(world: &World) {
    let script = "(sh -c 'sleep 0.2 & exit' &); sleep 1; echo $(grep -l '^State:.Z' /proc/[0-9]*/status | wc -l) $$";
    let output = world.sh(&["--init"], script);
    let text = output.exits(0).text();
    let (zombies, pid) = text.split_once(' ').unwrap();
    assert_eq!(zombies, "0", "zombies are left");
    assert_ne!(pid, "1", "the shell is not PID 1");
    world.sh(&["--init"], "exit 3").exits(3);
    world.sandbox().flags(&["--init"]).run(&["no-such-program"]).exits(127);
}

fn init_forwards_signals(world: &World) {
    let script = format!("trap 'exit 6' TERM; {LOOP}");
    assert_eq!(signalled(world, &["--init"], &script, Signal::TERM).1, 6);
    // Whatever has no handler dies of it, as it would at home.
    assert_eq!(signalled(world, &["--init"], "echo ready; exec sleep 100", Signal::TERM).1, 143);
}

fn a_timeout_stops_with_the_stop_signal(world: &World) {
    let script = "trap 'echo asked to stop; exit 0' USR2; while :; do sleep 0.1; done";
    let output = world.sh(&["--timeout", "2", "--stop-signal", "SIGUSR2"], script);
    output.exits(124).shows("asked to stop").complains(&["--timeout"]);
}

fn a_timeout_kills_what_does_not_stop(world: &World) {
    let script = "trap 'echo no' TERM; while :; do sleep 0.1; done";
    let output = world.sh(&["--timeout", "1", "--stop-timeout", "1"], script);
    output.exits(124).shows("no").complains(&["--timeout"]);
}

fn the_image_says_which_signal_stops(world: &World) {
    let script = "trap 'echo as the image says; exit 0' USR1; while :; do sleep 0.1; done";
    let sandbox = world.sandbox().image(&world.images.configured).flags(&["--timeout", "2"]);
    sandbox.run(&[script]).exits(124).shows("as the image says");
}

fn processes_left_behind_do_not_hold_it_up(world: &World) {
    let arguments = world.sandbox().arguments(&["sh", "-c", "sleep 1000 & echo gone"]);
    let mut command = Command::new(&world.product);
    command.args(arguments);
    let output = Running::start(command, None).wait();
    output.prints("gone");
    assert!(output.elapsed < Duration::from_secs(45), "{:?}", output.elapsed);
}
