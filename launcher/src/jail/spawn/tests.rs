use super::*;
use std::time::Instant;

fn shell(script: &str) -> Child {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdin(Stdio::null());
    start(command, Channel::pair().unwrap().0).unwrap()
}

#[test]
fn one_that_does_not_end_is_killed_and_not_waited_for() {
    let begun = Instant::now();
    let mut child = shell("sleep 100");
    assert_eq!(child.end(Duration::from_millis(50)), None);
    drop(child);
    shell("sleep 100").abandon();
    drop(shell("sleep 100"));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn how_one_ended_by_itself_is_told() {
    let status = shell("exit 7").end(Duration::from_secs(10));
    assert_eq!(status.and_then(|status| status.code()), Some(7));
}

#[test]
fn what_it_said_is_one_line_and_never_holds_it_up() {
    let mut child = shell("echo cofferdam: it broke >&2; echo hint: mend it >&2");
    assert!(child.end(Duration::from_secs(10)).is_some());
    assert_eq!(child.last_words().as_deref(), Some("it broke; hint: mend it"));

    let mut silent = shell("exit 0");
    assert!(silent.end(Duration::from_secs(10)).is_some());
    assert_eq!(silent.last_words(), None);

    let mut chatty = shell("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 3");
    let status = chatty.end(Duration::from_secs(10));
    assert_eq!(status.and_then(|status| status.code()), Some(3), "it waited for a reader");
    assert!(chatty.last_words().unwrap().len() <= MOST_SHOWN_BYTES);
}
