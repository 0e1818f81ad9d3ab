//! Signals to the launcher, at every stage of a run, and what the user's terminal is left as.

use crate::cases;
use crate::harness::terminal::Terminal;
use crate::harness::{Kind, World, leftovers};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::LocalModes;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

cases! {
    Both: every_signal_is_forwarded, a_signal_during_the_boot_ends_it, three_interrupts_are_enough;
    Tcg: an_interrupt_that_is_ignored_stays_so, a_termination_reaches_a_terminals_program,
        modes_are_given_back_whatever_ends_it, a_reader_that_stalls_holds_nothing_up,
        a_full_output_is_told, children_have_nothing_of_the_terminal, orphans_are_reaped;
}

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const LOOP: &str = "echo ready; while :; do sleep 0.1; done";

/// A launcher whose standard output this case reads, or does not.
struct Launcher(Child);

impl Launcher {
    fn start(world: &World, flags: &[&str], command: &[&str]) -> Self {
        Self::of(Command::new(&world.product).args(world.sandbox().flags(flags).arguments(command)))
    }

    fn of(command: &mut Command) -> Self {
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self(child.expect("it starts"))
    }

    /// Reads one line, which is `ready`.
    #[track_caller]
    fn is_ready(&mut self) {
        let mut line = [0u8; 6];
        let stdout = self.0.stdout.as_mut().expect("it is piped");
        stdout.read_exact(&mut line).expect("it gets ready");
        assert_eq!(&line, b"ready\n");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it can be signalled");
    }

    /// Waits for its end; gives its exit code.
    #[track_caller]
    fn ends_within(&mut self, patience: Duration) -> i32 {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.0.try_wait().expect("it can be waited for") {
                return status.code().unwrap_or(-1);
            }
            if Instant::now() > deadline {
                let _ = self.0.kill();
                panic!("it did not end within {patience:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn complaint(&mut self) -> String {
        let stderr = self.0.stderr.take().expect("it is piped");
        std::io::read_to_string(stderr).expect("it can be read")
    }

    /// Waits until it has a child of this kind.
    #[track_caller]
    fn has(&self, kind: Kind) -> leftovers::Process {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(process) = leftovers::child_of(self.0.id(), kind) {
                return process;
            }
            assert!(Instant::now() < deadline, "no {kind:?} came");
            std::thread::yield_now();
        }
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What runs the guest's processor.
fn machine(world: &World) -> Kind {
    match world.accelerator {
        crate::harness::Accelerator::Kvm => Kind::Vmm,
        crate::harness::Accelerator::Tcg => Kind::Qemu,
    }
}

/// Those that are asked for most, and one of each further kind, in one machine.
fn every_signal_is_forwarded(world: &World) {
    let signals = [
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::TERM, "TERM"),
        (Signal::ALARM, "ALRM"),
        (Signal::XCPU, "XCPU"),
        (Signal::POWER, "PWR"),
        (Signal::IO, "IO"),
    ];
    let traps: Vec<String> =
        signals.iter().map(|(_, name)| format!("trap 'echo {name}' {name}")).collect();
    let script = format!("{}; trap 'exit 9' USR2; {LOOP}", traps.join("; "));
    let mut launcher = Launcher::start(world, &[], &["sh", "-c", &script]);
    launcher.is_ready();
    for (signal, name) in signals {
        launcher.signal(signal);
        let mut said = vec![0; name.len() + 1];
        let stdout = launcher.0.stdout.as_mut().expect("it is piped");
        stdout.read_exact(&mut said).expect("it answers");
        assert_eq!(String::from_utf8_lossy(&said).trim(), name);
    }
    launcher.signal(Signal::USR2);
    assert_eq!(launcher.ends_within(PATIENCE), 9);
}

fn a_signal_during_the_boot_ends_it(world: &World) {
    world.sh(&[], "true").exits(0);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut launcher = Launcher::start(world, &[], &["sleep", "100"]);
        launcher.has(machine(world));
        // What is asked before the guest can have booted.
        std::thread::sleep(Duration::from_millis(30));
        let family = leftovers::family(launcher.0.id());
        launcher.signal(signal);
        let patience = Duration::from_secs(10);
        assert_eq!(launcher.ends_within(patience), code, "{}", launcher.complaint());
        leftovers::all_gone(&family);
    }
}

fn three_interrupts_are_enough(world: &World) {
    let script = format!("trap '' INT; {LOOP}");
    let mut launcher = Launcher::start(world, &[], &["sh", "-c", &script]);
    launcher.is_ready();
    let family = leftovers::family(launcher.0.id());
    for _ in 0..2 {
        launcher.signal(Signal::INT);
        std::thread::sleep(Duration::from_millis(500));
        assert!(leftovers::lives(launcher.0.id()), "it gave up too soon");
    }
    launcher.signal(Signal::INT);
    assert_eq!(launcher.ends_within(PATIENCE), 130);
    leftovers::all_gone(&family);
}

/// As a shell leaves it to what a script starts with `&`, and nohup does with SIGHUP.
fn an_interrupt_that_is_ignored_stays_so(world: &World) {
    let run = world.sandbox().arguments(&["sh", "-c", &format!("trap 'exit 9' TERM; {LOOP}")]);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' INT QUIT HUP; exec \"$0\" \"$@\""]);
    let mut launcher = Launcher::of(command.arg(&world.product).args(run));
    launcher.is_ready();
    for signal in [Signal::INT, Signal::QUIT, Signal::HUP, Signal::INT, Signal::INT] {
        launcher.signal(signal);
    }
    std::thread::sleep(Duration::from_secs(1));
    assert!(leftovers::lives(launcher.0.id()), "it did not ignore them");
    launcher.signal(Signal::TERM);
    assert_eq!(launcher.ends_within(PATIENCE), 9);
}

fn on_a_terminal(world: &World, script: &str) -> Terminal {
    let arguments = world.sandbox().flags(&["-i", "-t"]).arguments(&["sh", "-c", script]);
    let terminal = Terminal::start(&world.product, &arguments);
    terminal.waits_for("ready");
    terminal
}

#[track_caller]
fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("it is a process");
    kill_process(pid, signal).expect("it can be signalled");
}

fn a_termination_reaches_a_terminals_program(world: &World) {
    let mut terminal = on_a_terminal(world, &format!("trap 'exit 9' TERM; {LOOP}"));
    signal(terminal.pid(), Signal::TERM);
    assert_eq!(terminal.ends(), 9);
}

fn modes_are_given_back_whatever_ends_it(world: &World) {
    for (kind, by, code) in [
        (Kind::Qemu, Signal::KILL, 125),
        (Kind::Devices, Signal::KILL, 125),
        (Kind::Launcher, Signal::HUP, 129),
    ] {
        let mut terminal = on_a_terminal(world, LOOP);
        assert!(!terminal.modes().local_modes.contains(LocalModes::ICANON), "{kind:?}");
        let launcher = terminal.pid();
        let victim = match kind {
            Kind::Launcher => launcher,
            _ => leftovers::child_of(launcher, kind).expect("it is there").pid,
        };
        signal(victim, by);
        assert_eq!(terminal.ends(), code, "{kind:?}: {}", terminal.text());
        let modes = terminal.modes().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "{kind:?}: {modes:?}");
    }
}

/// Nobody reads: neither a time-out nor a signal may wait for that.
fn a_reader_that_stalls_holds_nothing_up(world: &World) {
    let mut launcher = Launcher::start(world, &["--timeout", "2", "--stop-timeout", "1"], &["yes"]);
    assert_eq!(launcher.ends_within(PATIENCE), 124);

    let script = "echo ready; head -c 300000 /dev/zero; echo done >&2";
    let mut launcher = Launcher::start(world, &[], &["sh", "-c", script]);
    launcher.is_ready();
    std::thread::sleep(Duration::from_secs(2));
    assert!(leftovers::lives(launcher.0.id()), "its output was to be waited for");
    for _ in 0..3 {
        launcher.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(launcher.ends_within(Duration::from_secs(20)), 143);
}

fn a_full_output_is_told(world: &World) {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("it is there");
    let mut command = Command::new(&world.product);
    command.args(world.sandbox().arguments(&["echo", "lost"])).stdin(Stdio::null());
    let output = command.stdout(full).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("standard output") && said.contains("No space"), "{said}");
}

/// One that was taken over must not read keys or write escapes.
fn children_have_nothing_of_the_terminal(world: &World) {
    let mut terminal = on_a_terminal(world, &format!("trap 'exit 9' TERM; {LOOP}"));
    let launcher = terminal.pid();
    let children = leftovers::family(launcher);
    let children = children.iter().filter(|it| it.pid != launcher);
    let mut count = 0;
    for child in children {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid)).expect("it lives");
        let fields: Vec<&str> =
            stat.rsplit_once(')').expect("it has a name").1.split_whitespace().collect();
        assert_eq!(fields[4], "0", "{child:?} has a controlling terminal");
        for entry in std::fs::read_dir(format!("/proc/{}/fd", child.pid)).expect("it lives") {
            let file = std::fs::read_link(entry.expect("it is there").path()).unwrap_or_default();
            assert!(!file.starts_with("/dev/pts"), "{child:?} has {}", file.display());
        }
        count += 1;
    }
    assert_eq!(count, 3, "QEMU, its devices, and the network");
    signal(launcher, Signal::TERM);
    assert_eq!(terminal.ends(), 9);
}

/// As PID 1 of the outer container the launcher gets every orphan there.
fn orphans_are_reaped(world: &World) {
    let run = world.sandbox().arguments(&["sh", "-c", &format!("trap 'exit 9' TERM; {LOOP}")]);
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(&world.product).args(run);
    let mut outer = Launcher::of(&mut unshare);
    outer.is_ready();
    let launcher = leftovers::child_of(outer.0.id(), Kind::Launcher).expect("it is there").pid;
    let enter = |script: &str| {
        let output = Command::new("nsenter")
            .args(["--target", &launcher.to_string(), "--pid", "--mount", "sh", "-c", script])
            .output()
            .expect("nsenter is installed");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    enter("for n in 1 2 3; do (sleep 0.2 &); done");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(enter("cat /proc/[0-9]*/stat | grep -c '(sleep) Z'"), "0", "zombies are left");
    signal(launcher, Signal::TERM);
    assert_eq!(outer.ends_within(PATIENCE), 9);
}
