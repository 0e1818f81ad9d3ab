//! Whether a container is well, by a command in it: `run --health-cmd`, and what its image says.

use crate::cases;
use crate::harness::World;
use crate::harness::detached::Detached;
use std::time::{Duration, Instant};

cases! {
    Tcg: it_is_known_whether_it_is_well, an_image_says_how;
}

/// Waits until `ps` says so of it.
#[track_caller]
fn is(sandbox: &Detached, status: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let said = sandbox.command(&["ps"], &[]).exits(0).text();
        if said.contains(&format!("running ({status})")) {
            return;
        }
        assert!(Instant::now() < deadline, "it is not {status}: {said}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn it_is_known_whether_it_is_well(world: &World) {
    let flags = [
        "--health-cmd=test -e /slow && sleep 100; test -e /well",
        "--health-interval=300ms",
        "--health-retries=2",
        "--health-timeout=5s",
        "--health-start-period=1h",
    ];
    let sandbox = Detached::start(world, &flags, "sleep 1000");
    let sh = |script: &str| sandbox.command(&["exec"], &["box", "sh", "-c", script]);
    is(&sandbox, "starting");
    std::thread::sleep(Duration::from_secs(2));
    is(&sandbox, "starting");
    sh("touch /well").exits(0);
    is(&sandbox, "healthy");
    sh("rm /well").exits(0);
    is(&sandbox, "unhealthy");
    let known = sandbox.command(&["inspect"], &["box"]).text();
    assert!(known.contains("\"status\": \"unhealthy\""), "{known}");
    sh("touch /well").exits(0);
    is(&sandbox, "healthy");
    // One that does not come to its end is ended, and is none that is well.
    sh("touch /slow").exits(0);
    is(&sandbox, "unhealthy");
    let tasks = sandbox.command(&["top"], &["box"]).exits(0).text();
    assert!(tasks.starts_with("UID") && tasks.contains("sleep 1000"), "{tasks}");
    assert!(tasks.lines().filter(|line| line.contains("sleep 100;")).count() <= 1, "{tasks}");
    // Nobody waits for a process that is left alone.
    let script = "echo it >> /done; sleep 1000";
    sandbox.command(&["exec", "--detach"], &["box", "sh", "-c", script]).prints("");
    let begun = Instant::now();
    while sh("cat /done").code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    sandbox
        .command(&["exec", "--detach"], &["box", "/nowhere"])
        .exits(127)
        .complains(&["/nowhere"]);
    sandbox.command(&["stop", "--time=1"], &["box"]).exits(0);
    let known = sandbox.command(&["inspect"], &["box"]).text();
    assert!(known.contains("\"health\": null"), "{known}");
}

fn an_image_says_how(world: &World) {
    for (flag, is_asked) in [("--health-retries=1", true), ("--no-healthcheck", false)] {
        let (sandbox, detached) = Detached::sandbox(world);
        let sandbox = sandbox.image(&world.images.configured).flags(&[flag]);
        sandbox.run(&["sleep 1000"]).exits(0);
        if is_asked {
            is(&detached, "healthy");
        } else {
            detached.command(&["exec"], &["box", "sleep", "2"]).exits(0);
            let listed = detached.command(&["ps"], &[]).text();
            assert!(listed.contains("running  "), "{listed}");
        }
        detached.command(&["rm", "--force"], &["box"]).exits(0);
    }
    let wrong = world.sandbox().flags(&["--health-cmd=true", "--health-interval=soon"]).sh("true");
    wrong.exits(125).complains(&["--health-interval \"soon\"", "30s"]);
}
