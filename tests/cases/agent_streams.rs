//! Terminals and pipes at their ends: nothing is lost, and nobody is waited for without end.

use crate::cases;
use crate::harness::World;
use crate::harness::terminal::Terminal;
use std::path::Path;
use std::time::Duration;

cases! {
    Both: a_writer_that_stays_is_not_waited_for, an_early_signal_reaches_init;
    Guest: init_with_a_terminal, a_users_terminal_is_their_own, a_terminals_last_lines_are_shown,
        a_terminal_that_nobody_has_open_goes_on;
}

/// A terminal around a shell around the program, whose output goes through a pipe.
fn a_terminals_last_lines_are_shown(world: &World) {
    let words = world.sandbox().flags(&["-i", "-t"]).arguments(&["seq", "1", "20000"]);
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let command = format!(
        "{{ {} {}; echo ended $? >&2; }} | tr -d '\\r' | cksum",
        world.product.display(),
        words.join(" ")
    );
    let mut terminal = Terminal::start(Path::new("sh"), &["-c".to_owned(), command]);
    assert_eq!(terminal.ends(), 0);
    // seq 1 20000 | cksum
    let expected = expected_sum();
    assert!(terminal.text().contains("ended 0"), "{}", terminal.text());
    assert!(terminal.text().contains(&expected), "{} is not {expected}", terminal.text());
}

fn expected_sum() -> String {
    let output = std::process::Command::new("sh").args(["-c", "seq 1 20000 | cksum"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

fn a_terminal_that_nobody_has_open_goes_on(world: &World) {
    let script = "exec < /dev/null > /dev/null 2>&1; sleep 1; exec < /dev/tty > /dev/tty; \
                  echo back; read line; echo got $line";
    let words = world.sandbox().flags(&["-i", "-t"]).arguments(&["sh", "-c", script]);
    let mut terminal = Terminal::start(&world.product, &words);
    terminal.waits_for("back");
    terminal.types("this\r");
    assert_eq!(terminal.ends(), 0);
    assert!(terminal.text().contains("got this"), "{}", terminal.text());
}

fn init_with_a_terminal(world: &World) {
    let script = "tty; cat /proc/1/comm; trap 'echo stopped; exit 5' INT; echo ready; \
                  while :; do sleep 0.1; done";
    let flags = ["--init", "-i", "-t"];
    let words = world.sandbox().flags(&flags).arguments(&["sh", "-c", script]);
    let mut terminal = Terminal::start(&world.product, &words);
    terminal.waits_for("ready");
    terminal.types("\u{3}");
    assert_eq!(terminal.ends(), 5);
    assert!(terminal.text().contains("/dev/pts/0"), "{}", terminal.text());
    assert!(terminal.text().contains("stopped"), "{}", terminal.text());
}

fn a_users_terminal_is_their_own(world: &World) {
    let script = "echo by name > /dev/stdout; echo as ours > $(tty); stat -c %u $(tty)";
    let flags = ["-u", "1234", "-i", "-t"];
    let words = world.sandbox().flags(&flags).arguments(&["sh", "-c", script]);
    let mut terminal = Terminal::start(&world.product, &words);
    assert_eq!(terminal.ends(), 0);
    let text = terminal.text();
    assert!(text.contains("by name\nas ours\n1234\n"), "{text}");
    world.sh(&["-u", "1234"], "echo by name > /dev/stdout").prints("by name");
}

/// In the guest's own time, however slow the machine: Docker waits for two seconds.
fn a_writer_that_stays_is_not_waited_for(world: &World) {
    let script = "(while :; do echo more; done) & echo first; exit 3";
    let flags = ["--init"];
    let output = world.sandbox().flags(&flags).sh(script);
    output.exits(3).shows("first");
    assert!(output.elapsed < Duration::from_secs(60), "{:?}", output.elapsed);
}

/// Whether it comes before the reaper waits for it or after, it ends the program.
fn an_early_signal_reaches_init(world: &World) {
    let script = "trap 'exit 9' TERM; kill -TERM 1; sleep 30 & wait; echo missed";
    world.sandbox().flags(&["--init"]).sh(script).exits(9);
}
