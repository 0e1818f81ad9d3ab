//! `-t`: a real terminal, with its size, its modes and its keys.

use crate::cases;
use crate::harness::World;
use crate::harness::terminal::Terminal;
use rustix::termios::LocalModes;
use std::process::Command;
use std::time::{Duration, Instant};

cases! {
    Both: a_program_sees_a_terminal, a_resize_is_seen_inside, keys_reach_the_program,
        modes_are_given_back, without_t_there_is_no_terminal;
    Tcg: a_tmux_window_looks_right, a_closed_window_ends_its_sandbox;
}

fn shell(world: &World, script: &str) -> Terminal {
    let arguments = world.sandbox().flags(&["-i", "-t"]).arguments(&["sh", "-c", script]);
    Terminal::start(&world.product, &arguments)
}

fn a_program_sees_a_terminal(world: &World) {
    let mut terminal =
        shell(world, "tty; stty size; test -t 0 -a -t 1 -a -t 2 && echo all three; exit 7");
    assert_eq!(terminal.ends(), 7);
    let text = terminal.text();
    assert!(text.contains("/dev/pts/") || text.contains("/dev/console"), "{text:?}");
    assert!(text.contains("24 80\n") && text.contains("all three"), "{text:?}");
}

fn a_resize_is_seen_inside(world: &World) {
    let mut terminal =
        shell(world, "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done");
    terminal.waits_for("ready");
    terminal.resize(40, 132);
    terminal.waits_for("40 132");
    terminal.resize(10, 20);
    terminal.waits_for("10 20");
    terminal.types("\u{3}");
    terminal.ends();
}

/// The keys go through our raw terminal to the inner one, which makes a signal of one of them.
fn keys_reach_the_program(world: &World) {
    let mut terminal = shell(
        world,
        "trap 'echo stopped; exit 5' INT; echo ready; read line; echo \"got $line\"; while :; do sleep 0.1; done",
    );
    terminal.waits_for("ready");
    terminal.types("hello\r");
    terminal.waits_for("got hello");
    terminal.types("\u{3}");
    assert_eq!(terminal.ends(), 5);
    assert!(terminal.text().contains("stopped"), "{:?}", terminal.text());
}

fn modes_are_given_back(world: &World) {
    let mut terminal = shell(world, "echo ready; read line; exit 0");
    let before = terminal.modes();
    assert!(before.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
    terminal.waits_for("ready");
    assert!(!terminal.modes().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO));
    terminal.types("\r");
    assert_eq!(terminal.ends(), 0);
    let after = terminal.modes();
    assert_eq!(
        (before.local_modes, before.input_modes, before.output_modes),
        (after.local_modes, after.input_modes, after.output_modes)
    );
}

fn without_t_there_is_no_terminal(world: &World) {
    world.sh(&[], "test -t 0 || test -t 1 || echo none").prints("none");
}

/// A screen of tmux's, which is a terminal that can be looked at.
fn a_tmux_window_looks_right(world: &World) {
    let tmux = Tmux { socket: world.scratch_file("tmux").display().to_string() };
    let words = world.sandbox().flags(&["-i", "-t"]).arguments(&["sh"]);
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let command = format!("{} {}; sleep 60", world.product.display(), words.join(" "));
    tmux.run(&["new-session", "-d", "-x", "90", "-y", "25", &command]);
    tmux.waits_for(|screen| screen.contains('#'));
    tmux.run(&["send-keys", "stty size", "Enter"]);
    tmux.waits_for(|screen| screen.contains("25 90"));
    tmux.run(&["resize-window", "-x", "70", "-y", "18"]);
    // The size and the keys go different ways: the keys may be there first.
    let until = "until stty size | grep -q 18.70; do sleep 0.1; done; clear; stty size";
    tmux.run(&["send-keys", until, "Enter"]);
    tmux.waits_for(|screen| screen.contains("18 70"));
    // A program that draws the whole screen: a tilde for each line that the empty file has not.
    tmux.run(&["send-keys", "vi /tmp/file", "Enter"]);
    tmux.waits_for(|screen| screen.lines().filter(|line| line.trim() == "~").count() == 16);
    tmux.run(&["send-keys", "ihello"]);
    tmux.waits_for(|screen| screen.starts_with("hello"));
    // What follows an Escape at once would be taken for the rest of a key's code.
    tmux.run(&["send-keys", "Escape"]);
    tmux.waits_for(|screen| !screen.contains("I /tmp/file"));
    tmux.run(&["send-keys", ":wq", "Enter"]);
    tmux.waits_for(|screen| screen.contains('#') && !screen.contains("~\n~"));
    tmux.run(&["send-keys", "clear; cat /tmp/file; exit", "Enter"]);
    tmux.waits_for(|screen| screen.contains("hello"));
}

/// Even where the program in it takes no notice of the hang-up.
fn a_closed_window_ends_its_sandbox(world: &World) {
    let tmux = Tmux { socket: world.scratch_file("tmux").display().to_string() };
    let script = "trap '' HUP; echo rea''dy; sleep 600";
    let words = world.sandbox().flags(&["-i", "-t"]).arguments(&["sh", "-c", script]);
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let command = format!("exec {} {}", world.product.display(), words.join(" "));
    tmux.run(&["new-session", "-d", "-x", "90", "-y", "25", &command]);
    tmux.waits_for(|screen| screen.contains("ready"));
    let launcher = tmux.run(&["display-message", "-p", "#{pane_pid}"]);
    let launcher = std::path::Path::new("/proc").join(launcher.trim());
    assert!(launcher.exists(), "{} is not there", launcher.display());
    tmux.run(&["kill-server"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while launcher.exists() {
        assert!(Instant::now() < deadline, "it lives on without its terminal");
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Tmux {
    socket: String,
}

impl Tmux {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-f", "/dev/null", "-S", &self.socket])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .output()
            .expect("tmux is installed");
        assert!(
            output.status.success(),
            "tmux {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn waits_for(&self, is_right: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let screen = self.run(&["capture-pane", "-p"]);
            if is_right(&screen) {
                return;
            }
            assert!(Instant::now() < deadline, "the screen shows:\n{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}
