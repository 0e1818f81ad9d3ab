//! Sandboxes that live on when whoever started them has gone: `cofferdam run --detach`, and what finds them.

use crate::cases;
use crate::harness::detached::Detached;
use crate::harness::terminal::Terminal;
use crate::harness::{Running, World, leftovers};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use std::time::{Duration, Instant};

cases! {
    Both: it_lives_until_it_is_stopped;
    Tcg: what_it_says_is_kept, an_old_log_goes, nothing_is_kept_where_that_is_asked_for, whoever_attaches, a_terminal_of_its_own, what_does_not_start,
        one_that_is_killed_is_known, one_that_does_not_answer_is_ended, patience_ends, whoever_starts_it_as_pid_1_stays,
        whoever_gives_up_leaves_nothing;
}

fn it_lives_until_it_is_stopped(world: &World) {
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done";
    let sandbox = Detached::start(world, &[], script);
    sandbox.says("up");
    assert!(sandbox.command(&["ps"], &[]).exits(0).text().contains("running"));
    sandbox
        .command(&["exec"], &["box", "sh", "-c", "echo there > /kept; cat /kept"])
        .prints("there");
    let family = leftovers::family(sandbox.supervisor().as_raw_nonzero().get().cast_unsigned());
    assert!(family.len() > 1, "{family:?}");
    let waits = sandbox.begin(&["wait"], &["box"], None);
    let follows = sandbox.begin(&["logs", "--follow"], &["box"], None);
    sandbox.command(&["rm"], &["box"]).exits(125).complains(&["runs"]);
    sandbox.command(&["stop"], &["box"]).prints("box");
    waits.wait().prints("7");
    follows.wait().prints("up\nbye");
    leftovers::all_gone(&family);
    assert!(sandbox.command(&["ps", "--all"], &[]).text().contains("exited (7)"));
    // Nothing that is asked of one that has ended is a surprise.
    sandbox.command(&["stop"], &["box"]).prints("box");
    sandbox.command(&["wait"], &["box"]).prints("7");
    assert_eq!(sandbox.logs(&["--follow"]), "up\nbye");
    sandbox.command(&["kill"], &["box"]).exits(125).complains(&["does not run"]);
    sandbox.command(&["attach"], &["box"]).exits(125).complains(&["does not run"]);
    sandbox.command(&["rm"], &["box"]).exits(0);
    assert!(leftovers::sandboxes(&sandbox.state).is_empty());
    sandbox.command(&["stop"], &["box"]).exits(125).complains(&["no sandbox is called \"box\""]);
}

fn what_it_says_is_kept(world: &World) {
    let script = "for it in 1 2 3 4; do echo out $it; echo err $it >&2; sleep 0.3; done; printf 'no\\0 line \\377'";
    let sandbox = Detached::start(world, &[], script);
    let output = sandbox.command(&["logs", "--follow"], &["box"]);
    assert_eq!(output.exits(0).stdout, b"out 1\nout 2\nout 3\nout 4\nno\0 line \xff");
    assert_eq!(output.stderr, "err 1\nerr 2\nerr 3\nerr 4\n");
    let last = sandbox.command(&["logs", "--tail", "2"], &["box"]);
    assert_eq!(last.stderr.lines().count() + last.text().lines().count(), 3, "{last:?}");
    let timed = sandbox.logs(&["--timestamps"]);
    let third = timed.lines().find(|line| line.ends_with("Z out 3")).expect("it is there");
    let since = third.split_once(' ').unwrap().0;
    assert!(sandbox.logs(&["--since", since]).starts_with("out 3\nout 4\n"));
    assert_eq!(sandbox.logs(&["--until", since]), "out 1\nout 2\nout 3");
    assert_eq!(sandbox.logs(&["--since", "0s"]), "");
    sandbox.command(&["logs", "--since", "soon"], &["box"]).exits(125).complains(&["no time"]);
    sandbox.command(&["logs", "--tail", "few"], &["box"]).exits(125).complains(&["no number"]);
}

/// Whoever keeps up has all of it, whoever does not is told, and what is kept stays within its limits.
fn an_old_log_goes(world: &World) {
    const STEPS: usize = 12;
    const LINES: usize = 5000;
    let flags = ["--interactive", "--log-opt", "max-size=256k", "--log-opt", "max-file=3"];
    let script = "for it in 0 1 2 3 4 5 6 7 8 9 10 11; do
        read line; seq $((100000 + it * 5000)) $((100000 + it * 5000 + 4999)); done; read line";
    let sandbox = Detached::start(world, &flags, script);
    let path = world.scratch_file("followed");
    let mut follow = Command::new(&world.product);
    follow.args(sandbox.words(&["logs", "--follow"], &["box"]));
    let follows = Running::watched(follow, std::fs::File::create(&path).unwrap());
    let outrun = sandbox.begin(&["logs", "--follow"], &["box"], None);
    std::thread::sleep(Duration::from_millis(300));
    outrun.signal(Signal::STOP);
    let mut attach = Command::new(&world.product);
    attach.args(sandbox.words(&["attach"], &["box"]));
    let (attached, stdin) = Running::with_stdin(&mut attach, true);
    let mut stdin = stdin.unwrap();
    let followed = || std::fs::read_to_string(&path).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    for step in 1..=STEPS {
        std::io::Write::write_all(&mut stdin, b"on\n").unwrap();
        while followed().lines().count() < step * LINES {
            assert!(Instant::now() < deadline, "step {step}: {} lines", followed().lines().count());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    outrun.signal(Signal::CONT);
    std::io::Write::write_all(&mut stdin, b"end\n").unwrap();
    let all: Vec<_> = (0..STEPS * LINES).map(|it| format!("{}", 100_000 + it)).collect();
    let all = all.join("\n");
    assert!(attached.wait().text() == all, "whoever is attached has all of it");
    assert_eq!(follows.wait().exits(0).stderr, "");
    assert!(followed().trim_end() == all, "{} lines", followed().lines().count());
    let kept = sandbox.logs(&[]);
    assert!(kept.len() < all.len() && all.ends_with(&kept), "{} bytes", kept.len());
    assert!(kept.lines().count() > 5000, "{}", kept.lines().count());
    let outrun = outrun.wait();
    assert!(outrun.exits(0).stderr.contains("thrown away before it could be shown"), "{outrun:?}");
    let shown = outrun.text();
    assert!(shown.len() < all.len() && shown.ends_with(&kept), "{}", shown.lines().count());
    let id = leftovers::sandboxes(&sandbox.state).remove(0);
    let files = std::fs::read_dir(sandbox.state.join("sandboxes").join(id)).unwrap();
    let is_log = |name: &str| name.starts_with("output.log");
    let sizes: Vec<u64> = files
        .map(|file| file.unwrap())
        .filter(|file| is_log(&file.file_name().to_string_lossy()))
        .map(|file| file.metadata().unwrap().len())
        .collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|&size| size <= 256 << 10), "{sizes:?}");
}

fn nothing_is_kept_where_that_is_asked_for(world: &World) {
    let flags = ["--log-driver", "none"];
    let sandbox =
        Detached::start(world, &flags, "until [ -e /go ]; do sleep 0.1; done; sleep 1; echo said");
    let reads = sandbox.begin(&["attach"], &["box"], None);
    std::thread::sleep(Duration::from_millis(300));
    sandbox.command(&["exec"], &["box", "touch", "/go"]).exits(0);
    reads.wait().prints("said");
    assert_eq!(sandbox.logs(&[]), "");
}

/// Several at once: each has what is said, and what each types goes in.
fn whoever_attaches(world: &World) {
    let script = "while read line; do echo got $line; [ $line = end ] && exit 3; done; echo closed";
    let sandbox = Detached::start(world, &["--interactive"], script);
    sandbox.begin(&["attach", "--no-stdin"], &["box"], None).signal(Signal::KILL);
    let reads = sandbox.begin(&["attach", "--no-stdin"], &["box"], None);
    let (writes, stdin) = {
        let mut program = Command::new(&world.product);
        program.args(sandbox.words(&["attach"], &["box"]));
        Running::with_stdin(&mut program, true)
    };
    let mut stdin = stdin.unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let mut types = |line: &str| std::io::Write::write_all(&mut stdin, line.as_bytes()).unwrap();
    types("one\n");
    sandbox.says("got one");
    // Whoever goes takes nothing along.
    let leaving = sandbox.begin(&["attach", "--sig-proxy=false"], &["box"], Some(b"two\n"));
    sandbox.says("got two");
    leaving.signal(Signal::TERM);
    assert_eq!(leaving.wait().code, -15);
    types("end\n");
    for output in [reads.wait(), writes.wait()] {
        output.exits(3).shows("got one\ngot two\ngot end");
    }
    sandbox.command(&["wait"], &["box"]).prints("3");
}

fn a_terminal_of_its_own(world: &World) {
    let flags = ["--interactive", "--tty"];
    let script = "trap 'stty size' WINCH; echo in $(tty); while :; do sleep 0.1; done";
    let sandbox = Detached::start(world, &flags, script);
    sandbox.says("in /dev/pts/0");
    // Keys let go of it; of what only begins like them nothing is lost.
    let words = sandbox.words(&["attach", "--detach-keys", "ctrl-p,x"], &["box"]);
    let mut leaving = Terminal::start(&world.product, &words);
    leaving.types("\u{10}\u{10}x");
    assert_eq!(leaving.ends(), 0, "{}", leaving.text());
    assert!(leaving.text().contains("detached: it goes on"), "{}", leaving.text());
    let wrong = sandbox.command(&["attach", "--detach-keys", "ctrl-1"], &["box"]);
    wrong.exits(125).complains(&["\"ctrl-1\" is no key"]);
    let mut terminal = Terminal::start(&world.product, &sandbox.words(&["attach"], &["box"]));
    terminal.resize(33, 101);
    terminal.waits_for("33 101");
    // The keys' signals are the container's.
    terminal.types("\u{3}");
    assert_eq!(terminal.ends(), 130, "{}", terminal.text());
    sandbox.command(&["wait"], &["box"]).prints("130");
}

fn what_does_not_start(world: &World) {
    let (sandbox, detached) = Detached::sandbox(world);
    let ends = |command: &str, code: i32, words: &str| {
        sandbox.run(&[command]).exits(code).complains(&["cannot start the container", words]);
        detached.command(&["rm"], &["box"]).exits(0);
    };
    ends("/nowhere", 127, "no such file");
    ends("/etc", 126, "is a directory");
    let (sandbox, _) = Detached::sandbox(world);
    sandbox.image("oci:/nowhere").run(&["true"]).exits(125).complains(&["/nowhere"]);
    let (sandbox, _) = Detached::sandbox(world);
    sandbox.flags(&["--log-opt", "max-size=1"]).run(&["true"]).exits(125).complains(&["--log-opt"]);
    world
        .command(&["run", "--keeper", "x"])
        .exits(125)
        .complains(&["for cofferdam run --detach itself"]);
    assert!(leftovers::sandboxes(&detached.state).is_empty());
}

/// What it has written stays, and nothing else.
fn one_that_is_killed_is_known(world: &World) {
    let sandbox = Detached::start(world, &[], "echo up; sleep 1000");
    sandbox.says("up");
    let supervisor = sandbox.supervisor();
    let family = leftovers::family(supervisor.as_raw_nonzero().get().cast_unsigned());
    let waits = sandbox.begin(&["wait"], &["box"], None);
    std::thread::sleep(Duration::from_millis(200));
    kill_process(supervisor, Signal::KILL).unwrap();
    waits.wait().exits(125).complains(&["its cofferdam is gone"]);
    leftovers::all_gone(&family);
    assert!(sandbox.command(&["ps", "--all"], &[]).text().contains("exited (137)"));
    assert_eq!(sandbox.logs(&["--follow"]), "up");
    sandbox.command(&["wait"], &["box"]).prints("137");
    sandbox.command(&["rm"], &["box"]).exits(0);
    assert!(leftovers::sandboxes(&sandbox.state).is_empty());
    let sandbox = Detached::start(world, &["--rm"], "sleep 1000");
    kill_process(sandbox.supervisor(), Signal::KILL).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(sandbox.command(&["ps", "--all", "--quiet"], &[]).text(), "");
    assert!(leftovers::sandboxes(&sandbox.state).is_empty());
}

fn one_that_does_not_answer_is_ended(world: &World) {
    let sandbox = Detached::start(world, &[], "sleep 1000");
    let supervisor = sandbox.supervisor();
    let family = leftovers::family(supervisor.as_raw_nonzero().get().cast_unsigned());
    kill_process(supervisor, Signal::STOP).unwrap();
    let removed = sandbox.command(&["rm", "--force"], &["box"]);
    assert!(removed.exits(0).stderr.contains("does not answer: it is killed"), "{removed:?}");
    leftovers::all_gone(&family);
    assert!(leftovers::sandboxes(&sandbox.state).is_empty());
}

fn patience_ends(world: &World) {
    let script =
        "trap 'echo no' TERM; trap 'echo yes; exit 4' USR1; echo up; while :; do sleep 0.1; done";
    let sandbox = Detached::start(world, &["--stop-timeout", "1000"], script);
    sandbox.says("up");
    sandbox.command(&["kill", "--signal", "TERM"], &["box"]).prints("box");
    sandbox.says("no");
    sandbox.command(&["stop", "--time", "1"], &["box"]).prints("box");
    sandbox.command(&["wait"], &["box"]).prints("137");
    sandbox.command(&["rm"], &["box"]).exits(0);
    let sandbox = Detached::start(world, &[], script);
    sandbox.says("up");
    sandbox.command(&["stop", "--signal", "USR1"], &["box"]).prints("box");
    sandbox.command(&["wait"], &["box"]).prints("4");
    sandbox.command(&["stop", "--signal", "NO"], &["box"]).exits(125).complains(&["no signal"]);
    // Whoever ends the supervisor ends the sandbox, in order.
    let other = Detached::start(world, &["--rm"], script);
    other.says("up");
    let follows = other.begin(&["logs", "--follow"], &["box"], None);
    std::thread::sleep(Duration::from_millis(300));
    kill_process(other.supervisor(), Signal::TERM).unwrap();
    other.says("no");
    other.command(&["kill"], &["box"]).prints("box");
    follows.wait().exits(0).shows("no");
}

/// With it, everything in its PID namespace would end.
fn whoever_starts_it_as_pid_1_stays(world: &World) {
    let (sandbox, detached) = Detached::sandbox(world);
    let within = ["unshare", "--pid", "--fork", "--kill-child"].map(str::to_owned);
    let script = "trap 'echo bye; exit 6' TERM; echo up; while :; do sleep 0.1; done";
    let running = sandbox.within(&within).start(&["sh", "-c", script]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while leftovers::sandboxes(&detached.state).is_empty() {
        assert!(Instant::now() < deadline, "it does not begin");
        std::thread::sleep(Duration::from_millis(50));
    }
    detached.says("up");
    let outer = leftovers::descent(running.pid());
    let first = Pid::from_raw(outer[1].cast_signed()).unwrap();
    kill_process(first, Signal::TERM).unwrap();
    let output = running.wait();
    assert_eq!(output.exits(6).text().trim().len(), 12);
    assert_eq!(detached.says("bye"), "up\nbye");
}

fn whoever_gives_up_leaves_nothing(world: &World) {
    let (sandbox, detached) = Detached::sandbox(world);
    let running = sandbox.start(&["sleep", "1000"]);
    std::thread::sleep(Duration::from_millis(200));
    let family = leftovers::family(running.pid());
    running.signal(Signal::INT);
    running.wait();
    leftovers::all_gone(&family);
    detached.command(&["rm", "--force"], &["box"]);
    assert!(leftovers::sandboxes(&detached.state).is_empty());
}
