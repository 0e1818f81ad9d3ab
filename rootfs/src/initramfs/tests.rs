use std::process::{Command, Stdio};

use super::*;

fn archive(agent: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(agent, b"profile", &mut bytes).unwrap();
    bytes
}

#[test]
fn the_same_agent_gives_the_same_bytes() {
    assert_eq!(archive(b"agent"), archive(b"agent"));
    assert_ne!(archive(b"agent"), archive(b"other"));
}

/// Read by a program that is not ours: GNU cpio, as the kernel's reader is not at hand.
#[test]
fn another_reader_finds_the_agent_and_its_devices() {
    let mut child = Command::new("cpio")
        .args(["--quiet", "-tv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&archive(&[7; 5000])).unwrap();
    let listing = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let line = |name: &str| listing.lines().find(|line| line.ends_with(name)).unwrap_or_default();
    assert!(line(" init").starts_with("-rwxr-xr-x"), "{listing}");
    assert!(line(" init").contains(" 5000 "), "{listing}");
    assert!(line(" cofferdam-default.apparmor").starts_with("-rw-r--r--"), "{listing}");
    assert!(line(" dev/console").starts_with("crw-------"), "{listing}");
    assert!(line(" dev/console").contains("5,"), "{listing}");
    assert!(line(" dev/null").contains("1,   3"), "{listing}");
}
