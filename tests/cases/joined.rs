//! Containers that come to a sandbox that runs: `cofferdam run --sandbox`.

use crate::cases;
use crate::harness::World;
use crate::harness::living::Living;
use crate::harness::terminal::Terminal;
use rustix::process::Signal;
use std::time::Duration;

cases! {
    Both: containers_of_other_images, they_share_what_is_asked_for, they_end_with_their_sandbox;
    Tcg: each_has_what_it_was_given, several_at_once, what_is_not_there_cannot_be_read, a_terminal_and_signals,
        whoever_is_killed_leaves_theirs, what_cannot_be_added;
}

fn containers_of_other_images(world: &World) {
    let sandbox = Living::start(world, &[]);
    sandbox.exec(world, &[], &["sh", "-c", "echo first > /mine"]).exits(0);
    let script = "cat /part/kept; ls /mine 2>&1; echo second > /mine; cat /mine; echo $$; exit 7";
    let layered = &world.images.layered;
    for _ in 0..2 {
        let output = sandbox.container(world, &[], layered, script);
        // Its own root, new each time, its own processes, and its own end.
        let expected = "lowest\nls: /mine: No such file or directory\nsecond\n1";
        assert_eq!(output.exits(7).text().trim(), expected);
    }
    // One of the image that is there, and one that is larger than what was there.
    sandbox.container(world, &[], &world.images.plain, "hostname | wc -c").prints("13");
    let size = "du -s / 2> /dev/null | cut -f1";
    let large = sandbox.container(world, &[], &world.images.heavy, size).exits(0).text();
    assert!(large.trim().parse::<u64>().unwrap() > 2000, "{large}");
    sandbox.exec(world, &[], &["cat", "/mine"]).prints("first");
    sandbox.end().exits(5);
}

/// By default nothing; else the first one's network, with its names, its processes, and its queues.
fn they_share_what_is_asked_for(world: &World) {
    let sandbox = Living::start(world, &[]);
    let kinds = ["net", "pid", "ipc"];
    let script = "for it in net pid ipc; do readlink /proc/self/ns/$it; done; cat /etc/resolv.conf /proc/net/route";
    let of = |output: crate::harness::Output| -> Vec<String> {
        output.exits(0).text().lines().map(str::to_owned).collect()
    };
    let first = of(sandbox.exec(world, &[], &["sh", "-c", script]));
    assert!(first.len() > kinds.len() + 1, "{first:?}");
    let joined = |flags: &[&str]| of(sandbox.container(world, flags, &world.images.plain, script));
    let own = joined(&[]);
    assert!(kinds.iter().zip(&own).all(|(kind, it)| it.starts_with(kind)), "{own:?}");
    assert!(own[..3].iter().zip(&first).all(|(own, first)| own != first), "{own:?} {first:?}");
    let shared = joined(&["--share", "network,pid", "--share=ipc"]);
    assert_eq!(shared, first);
    let network = joined(&["--share=net"]);
    assert!(network[0] == first[0] && network[1] != first[1] && network[2] != first[2]);
    let alone = world.sandbox().flags(&["--share=net"]).sh("true");
    alone.exits(125).complains(&["--sandbox"]);
    sandbox.end().exits(5);
}

/// A script that waits, a while, until some process sleeps for so long.
fn sleeps(seconds: &str) -> String {
    format!(
        "for it in $(seq 300); do for p in /proc/[0-9]*; do \
         [ \"$(tr '\\0' ' ' < $p/cmdline)\" = 'sleep {seconds} ' ] && exit 0; done; sleep 0.1; done; exit 1"
    )
}

fn they_end_with_their_sandbox(world: &World) {
    let sandbox = Living::start(world, &[]);
    let script = "echo begun; exec sleep 4321";
    let waiting = sandbox.begin_container(world, &[], &world.images.layered, &["sh", "-c", script]);
    // Both have the guest's own processes only if they are told to: this one looks from outside of it.
    let seen = sandbox.container(world, &["--no-container"], &world.images.plain, &sleeps("4321"));
    seen.exits(0);
    sandbox.end().exits(5);
    let output = waiting.wait();
    output.exits(137).shows("begun");
}

fn each_has_what_it_was_given(world: &World) {
    let sandbox = Living::start(world, &[]);
    let run =
        |flags: &[&str], script: &str| sandbox.container(world, flags, &world.images.plain, script);
    let caps = "grep CapEff /proc/self/status";
    run(&["--privileged", "-u", "0"], caps).prints("CapEff:\t000001ffffffffff");
    run(&["--cap-drop", "all", "-u", "0"], caps).prints("CapEff:\t0000000000000000");
    run(&["--userns", "-u", "0"], "cut -c 12-21 /proc/self/uid_map | head -1").exits(0);
    let read_only = run(&["--read-only", "-u", "0"], "echo x > /x");
    assert!(read_only.exits(1).stderr.contains("Read-only file system"), "{}", read_only.stderr);
    run(&["-e", "MORE=one", "-h", "other", "-w", "/tmp"], "echo $MORE; hostname; pwd")
        .prints("one\nother\n/tmp");
    run(&["-m", "8m", "-u", "0"], "tail /dev/zero").exits(137).complains(&["memory"]);
    sandbox.exec(world, &[], &["true"]).exits(0);
    sandbox.end().exits(5);
}

fn several_at_once(world: &World) {
    let sandbox = Living::start(world, &[]);
    let images = [
        &world.images.layered,
        &world.images.plain,
        &world.images.second_root,
        &world.images.setuid,
    ];
    let begun: Vec<_> = (0..12)
        .map(|number| {
            let script = format!("echo {number}; exit {number}");
            sandbox.begin_container(
                world,
                &[],
                images[number % images.len()],
                &["sh", "-c", &script],
            )
        })
        .collect();
    for (number, running) in (0..).zip(begun) {
        let output = running.wait();
        assert_eq!(output.exits(number).text().trim(), number.to_string());
    }
    sandbox.end().exits(5);
}

/// The disk of layers is as long as it may become; a guest that reads on finds errors, and later what has come.
fn what_is_not_there_cannot_be_read(world: &World) {
    let sandbox = Living::start(world, &["--privileged"]);
    let read = |at: &str| {
        let script =
            format!("dd if=/dev/vda of=/dev/null bs=4096 count=1 skip={at} 2>&1 | tail -1");
        sandbox.exec(world, &[], &["sh", "-c", &script]).text()
    };
    sandbox.exec(world, &[], &["blockdev", "--getsize64", "/dev/vda"]).prints("1099511627776");
    assert!(!read("0").contains("error"));
    let end =
        sandbox.exec(world, &[], &["sh", "-c", "echo $(($(cat /sys/block/vda/vda1/size) / 8))"]);
    let end = end.exits(0).text().trim().to_owned();
    for far in [end.as_str(), "100000000", "268435455"] {
        assert!(read(far).contains("Input/output error"), "{far}: {}", read(far));
    }
    // Of a size at which reading ahead stays within it.
    sandbox.container(world, &[], &world.images.heavy, "true").exits(0);
    assert!(!read(&end).contains("error"), "{}", read(&end));
    // Nor can it be written to, wherever.
    for at in ["0", &end] {
        let script = format!("dd if=/dev/zero of=/dev/vda bs=4096 count=1 seek={at} conv=fsync");
        let written = sandbox.exec(world, &[], &["sh", "-c", &script]);
        assert_ne!(written.code, 0, "{at}");
    }
    sandbox.end().exits(5);
}

fn a_terminal_and_signals(world: &World) {
    let sandbox = Living::start(world, &[]);
    let state = sandbox.state.display().to_string();
    let words = ["run", "-it", "--quiet", "--state-dir", &state, "--sandbox", "box"];
    let words = [&words[..], &[&world.images.layered, "sh"]].concat();
    let words: Vec<_> = words.into_iter().map(str::to_owned).collect();
    let mut terminal = Terminal::start(&world.product, &words);
    terminal.types("stty size; cat /part/kept\n");
    terminal.waits_for("lowest");
    terminal.types("exit 6\n");
    assert_eq!(terminal.ends(), 6);
    let script = "trap 'echo heard; exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let running = sandbox.begin_container(world, &[], &world.images.plain, &["sh", "-c", script]);
    std::thread::sleep(Duration::from_secs(3));
    running.signal(Signal::TERM);
    assert_eq!(running.wait().exits(3).text(), "up\nheard");
    sandbox.end().exits(5);
}

fn whoever_is_killed_leaves_theirs(world: &World) {
    let sandbox = Living::start(world, &[]);
    let script = "echo up; exec sleep 77";
    let running = sandbox.begin_container(world, &[], &world.images.layered, &["sh", "-c", script]);
    std::thread::sleep(Duration::from_secs(3));
    running.signal(Signal::KILL);
    running.wait().exits(-9);
    let seen = sandbox.container(world, &["--no-container"], &world.images.plain, &sleeps("77"));
    seen.exits(0);
    sandbox.end().exits(5);
}

fn what_cannot_be_added(world: &World) {
    let sandbox = Living::start(world, &[]);
    let plain = &world.images.plain;
    let here = world.fresh_state().display().to_string();
    let refused = |flags: &[&str], image: &str, words: &[&str]| {
        sandbox.container(world, flags, image, "true").exits(125).complains(words);
    };
    refused(
        &["-v", &format!("{here}:/here")],
        plain,
        &["a shared directory cannot be added", "cofferdam cp"],
    );
    refused(&["-v", "kept:/here"], plain, &["a named volume cannot be added"]);
    refused(&["--vm-memory", "1g"], plain, &["cannot be used with"]);
    refused(&["--timeout", "1"], plain, &["cannot be used with"]);
    refused(&[], "oci:/nowhere", &["/nowhere"]);
    sandbox.container(world, &[], plain, "exec nothing-there").exits(127);
    let nothing = sandbox.begin_container(world, &[], plain, &["/nothing-there"]).wait();
    nothing.exits(127).complains(&["cannot start the process", "nothing-there"]);
    let other = ["run", "--quiet", "--state-dir", &here, "--sandbox", "box", plain, "true"];
    world.command(&other).exits(125).complains(&["box"]);
    let state = sandbox.state.display().to_string();
    sandbox.exec(world, &[], &["true"]).exits(0);
    sandbox.end().exits(5);
    let ended = ["run", "--quiet", "--state-dir", &state, "--sandbox", "box", plain, "true"];
    world.command(&ended).exits(125).complains(&["box"]);
}
