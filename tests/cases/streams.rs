//! Standard input, output and error: three clean streams with back-pressure.

use crate::cases;
use crate::harness::image::digest;
use crate::harness::product::collect;
use crate::harness::{Random, Running, World};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

cases! {
    Both: stdout_and_stderr_are_apart, stdin_comes_back_unchanged, stdin_ends_before_the_program,
        without_i_there_is_no_input, a_pipe_inside_ends_at_once, a_closed_output_ends_the_program,
        a_reader_that_waits_is_waited_for, both_outputs_at_full_flow;
}

fn stdout_and_stderr_are_apart(world: &World) {
    let output = world.sh(&[], "echo out; echo err >&2; printf 'no newline'");
    output.exits(0);
    assert_eq!(output.stdout, b"out\nno newline");
    assert_eq!(output.stderr, "err\n");
}

/// Every byte there is, through a shell that would mind some of them if a terminal were in the way.
fn stdin_comes_back_unchanged(world: &World) {
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend(Random::new(world.seed).bytes(4 * 1024 * 1024));
    let output = world.sandbox().input(bytes.clone()).run(&["cat"]);
    output.exits(0);
    assert_eq!(output.stdout.len(), bytes.len());
    assert_eq!(digest(&output.stdout), digest(&bytes));
}

fn stdin_ends_before_the_program(world: &World) {
    let script = "cat > /dev/null; echo after the end; sleep 1; echo still here";
    world.sandbox().input(b"some\n".to_vec()).sh(script).prints("after the end\nstill here");
}

fn without_i_there_is_no_input(world: &World) {
    let mut command = Command::new(&world.product);
    command.args(world.sandbox().arguments(&["sh", "-c", "cat; echo done"]));
    Running::start(command, Some(b"not for you\n".to_vec())).wait().prints("done");
}

fn a_pipe_inside_ends_at_once(world: &World) {
    let output = world.sh(&[], "yes | head -1");
    output.prints("y");
    assert_eq!(output.stderr, "");
    assert!(output.elapsed < Duration::from_secs(25), "{:?}", output.elapsed);
}

fn a_closed_output_ends_the_program(world: &World) {
    let mut child = Command::new(&world.product)
        .args(world.sandbox().arguments(&["yes"]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let errors = collect(child.stderr.take().unwrap());
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "y\n");
    drop(output);
    let closed = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if closed.elapsed() > Duration::from_secs(15) {
            child.kill().unwrap();
            panic!("it went on for {:?} with nobody reading", closed.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let code = child.wait().unwrap().code();
    let errors = String::from_utf8_lossy(&errors.join().unwrap()).into_owned();
    // A PID 1 is spared the signal; it is told by the error.
    assert_eq!(code, Some(1), "{errors}");
    assert_eq!(errors.trim_end(), "yes: (null): Broken pipe");
}

/// What nobody reads is not gathered outside the guest either.
fn a_reader_that_waits_is_waited_for(world: &World) {
    const MIB: usize = 48;
    let script = format!("dd if=/dev/zero bs=1M count={MIB} 2>/dev/null; echo end >&2");
    let mut child = Command::new(&world.product)
        .args(world.sandbox().arguments(&["sh", "-c", &script]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    assert!(!output.fill_buf().unwrap().is_empty());
    std::thread::sleep(Duration::from_secs(2));
    let held_kib = anonymous_kib(child.id());
    let count = std::io::copy(&mut output, &mut std::io::sink()).unwrap();
    let errors = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");
    assert_eq!((count, errors.as_str()), (MIB as u64 * 1024 * 1024, "end\n"));
    assert!(held_kib < 16 * 1024, "the launcher held {held_kib} KiB for a reader that waited");
}

fn anonymous_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn both_outputs_at_full_flow(world: &World) {
    let script = "yes out | head -c 2000000 & yes err | head -c 2000000 >&2; wait";
    let output = world.sh(&[], script);
    output.exits(0);
    assert_eq!((output.stdout.len(), output.stderr.len()), (2_000_000, 2_000_000));
    assert!(output.stdout.chunks(4).all(|line| line == b"out\n"));
    assert!(output.stderr.as_bytes().chunks(4).all(|line| line == b"err\n"));
}
