//! Further processes in a sandbox that runs: `cofferdam exec`.

use crate::cases;
use crate::harness::living::Living;
use crate::harness::terminal::Terminal;
use crate::harness::{Output, Running, World};
use rustix::process::Signal;
use std::path::Path;

cases! {
    Both: a_process_beside_the_first, it_ends_with_its_sandbox;
    Tcg: it_has_a_terminal, whoever_leaves_lets_it_run, a_launcher_that_is_killed,
        several_at_once_and_one_after_the_other, the_walls_of_the_container_hold_it, who_cannot_be_reached;
}

fn a_process_beside_the_first(world: &World) {
    let sandbox = Living::start(world, &["-e", "KEPT=yes", "-w", "/srv", "--tmpfs", "/srv"]);
    let exec = |flags: &[&str], script: &str| sandbox.exec(world, flags, &["sh", "-c", script]);
    exec(&[], "pwd; echo $KEPT; cat /proc/1/cmdline | tr '\\0' ' ' | cut -c 1-5")
        .prints("/srv\nyes\nsh -c");
    let both = exec(&[], "echo out; echo err >&2; exit 7");
    assert_eq!((both.exits(7).text().trim(), both.stderr.trim()), ("out", "err"));
    exec(
        &["-u", "7:8", "-w", "/tmp", "-e", "MORE=one", "-e", "KEPT=no"],
        "id -u; id -g; pwd; echo $MORE $KEPT",
    )
    .prints("7\n8\n/tmp\none no");
    let bytes: Vec<u8> = (0..1_000_000u32).map(|it| (it % 251) as u8).collect();
    let copied = sandbox.begin(world, &["-i"], &["cat"], Some(&bytes)).wait();
    assert!(copied.exits(0).stdout == bytes, "{} bytes came back", copied.stdout.len());
    exec(&[], "kill -USR1 $$").exits(138);
    sandbox
        .exec(world, &[], &["nothing-there"])
        .exits(127)
        .complains(&["cannot start the process", "nothing-there"]);
    sandbox.exec(world, &[], &["/etc"]).exits(126);
    // What it leaves behind in the container's root, the container has.
    exec(&[], "echo left > /file").exits(0);
    exec(&[], "cat /file").prints("left");
    sandbox.end().exits(5);
}

fn it_ends_with_its_sandbox(world: &World) {
    let sandbox = Living::start(world, &[]);
    let waiting =
        sandbox.begin(world, &[], &["sh", "-c", "echo begun; touch /begun; sleep 1000"], None);
    sandbox.exec(world, &[], &["sh", "-c", "until [ -e /begun ]; do sleep 0.1; done"]).exits(0);
    sandbox.end().exits(5);
    let output = waiting.wait();
    output.exits(137).shows("begun");
}

fn it_has_a_terminal(world: &World) {
    let sandbox = Living::start(world, &[]);
    let mut terminal = Terminal::start(&world.product, &sandbox.words(&["-it"], &["sh"]));
    terminal.types("tty; stty size; echo $TERM\r");
    terminal.waits_for("/dev/pts/");
    terminal.waits_for("24 80");
    terminal.waits_for("xterm");
    terminal.resize(33, 101);
    terminal.types("sleep 1; stty size\r");
    terminal.waits_for("33 101");
    terminal.types("exit 9\r");
    assert_eq!(terminal.ends(), 9, "{}", terminal.text());
    sandbox.end().exits(5);
}

/// As with Docker: the process goes on.
fn whoever_leaves_lets_it_run(world: &World) {
    let sandbox = Living::start(world, &[]);
    let script = "touch /begun; until [ -e /go ]; do sleep 0.1; done; echo went on > /done";
    let leaving = sandbox.begin(world, &[], &["sh", "-c", script], None);
    let waits = |file: &str| {
        let script = format!("until [ -e {file} ]; do sleep 0.1; done");
        sandbox.exec(world, &[], &["timeout", "60", "sh", "-c", &script]).exits(0);
    };
    waits("/begun");
    leaving.signal(Signal::KILL);
    leaving.wait();
    sandbox.exec(world, &[], &["touch", "/go"]).exits(0);
    waits("/done");
    // A signal to whoever waits is for the process.
    let signalled = sandbox.begin(
        world,
        &[],
        &["sh", "-c", "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.1; done"],
        None,
    );
    waits("/ready");
    signalled.signal(Signal::TERM);
    signalled.wait().exits(3);
    sandbox.end().exits(5);
}

fn a_launcher_that_is_killed(world: &World) {
    let sandbox = Living::start(world, &[]);
    let waiting = sandbox.begin(world, &[], &["sh", "-c", "touch /begun; sleep 1000"], None);
    sandbox.exec(world, &[], &["sh", "-c", "until [ -e /begun ]; do sleep 0.1; done"]).exits(0);
    let state = sandbox.state.clone();
    sandbox.ends_by(Signal::KILL);
    waiting.wait().exits(125).complains(&["was lost", "hint:"]);
    exec_in(world, &state, "box").exits(125);
    // Whoever comes next trips on nothing.
    world.sandbox().state(&state).flags(&["--name", "box"]).run(&["echo", "again"]).prints("again");
}

fn several_at_once_and_one_after_the_other(world: &World) {
    let sandbox = Living::start(world, &[]);
    let number = |it: u32| it.to_string();
    let all: Vec<Running> = (0..20)
        .map(|it| {
            sandbox.begin(world, &[], &["sh", "-c", "sleep 1; echo $1", "sh", &number(it)], None)
        })
        .collect();
    for (it, running) in (0..20).zip(all) {
        running.wait().prints(&number(it));
    }
    for it in 0..30 {
        sandbox.exec(world, &[], &["echo", &number(it)]).prints(&number(it));
    }
    sandbox.end().exits(5);
}

/// It may do what the container may, and no more.
fn the_walls_of_the_container_hold_it(world: &World) {
    let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/self/attr/current; readlink /proc/self/ns/user";
    for flags in [&[][..], &["--profile", "strict"], &["--userns"], &["--cap-drop", "all"]] {
        let sandbox = Living::start(world, flags);
        let own = sandbox.exec(
            world,
            &[],
            &["sh", "-c", &format!("sed -n 1p /proc/1/stat > /dev/null; {script}")],
        );
        let first = world.sandbox().flags(flags).sh(script);
        let without_namespace = |output: &Output| {
            let text = output.exits(0).text();
            text.lines().filter(|line| !line.starts_with("user:")).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(without_namespace(&own), without_namespace(&first), "{flags:?}");
        let cgroup = sandbox.exec(
            world,
            &[],
            &["sh", "-c", "cat /proc/self/cgroup /proc/1/cgroup | sort -u | wc -l"],
        );
        cgroup.prints("1");
        sandbox.end();
    }
}

fn exec_in(world: &World, state: &Path, name: &str) -> Output {
    world.command(&["exec", "--state-dir", &state.display().to_string(), name, "true"])
}

fn who_cannot_be_reached(world: &World) {
    let state = world.fresh_state();
    exec_in(world, &state, "nobody")
        .exits(125)
        .complains(&["no sandbox is called", "hint: cofferdam ps"]);
    world.sandbox().state(&state).kept().flags(&["--name", "ended"]).run(&["true"]).exits(0);
    exec_in(world, &state, "ended").exits(125).complains(&["does not run", "hint: cofferdam ps"]);
    world.command(&["exec", "box"]).exits(125).complains(&["hint: see cofferdam exec --help"]);
}
