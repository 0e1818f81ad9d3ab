//! Volumes: named disks that outlive sandboxes, and directories that are no part of a container's root.

use crate::cases;
use crate::harness::product::Sandbox;
use crate::harness::{Output, World, leftovers};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

cases! {
    Both: a_volume_outlives_its_sandboxes, what_was_acknowledged_survives_a_kill;
    Guest: an_empty_volume_gets_what_the_image_has, what_a_container_has_beside_its_root,
        with_ids_of_its_own, a_full_volume_is_full_and_nothing_else, a_strict_container_starts_nothing_from_one;
    Tcg: one_sandbox_has_it_at_a_time, volumes_are_listed_and_removed, many_make_one_volume;
}

fn sandbox<'w>(world: &'w World, state: &Path, flags: &[&str]) -> Sandbox<'w> {
    world.sandbox().state(state).flags(flags)
}

/// `cofferdam volume …` on a state directory.
fn volume(world: &World, state: &Path, words: &[&str]) -> Output {
    let state = state.display().to_string();
    world.command(&[&["volume"], words, &["--state-dir", &state]].concat())
}

fn inspected(world: &World, state: &Path, name: &str) -> Value {
    let output = volume(world, state, &["inspect", name]);
    let volumes: Value = serde_json::from_str(&output.exits(0).text()).unwrap();
    volumes[0].clone()
}

/// Two volumes and the root's own disk side by side: each has what was written to it, and no other has.
fn a_volume_outlives_its_sandboxes(world: &World) {
    let state = world.fresh_state();
    let both = ["--volume", "one:/one", "--mount", "type=volume,src=two,dst=/two"];
    let write = "echo first > /one/file; echo second > /two/file; echo third > /file; \
                 dd if=/dev/urandom of=/one/random bs=1M count=8 2> /dev/null; sha256sum < /one/random";
    let digest = sandbox(world, &state, &both).sh(write).exits(0).text();
    let read = "cat /x/file /y/file; ls -a /x /file; sha256sum < /x/random";
    let seen = sandbox(world, &state, &["-v", "two:/y:ro", "-v", "one:/x"]).sh(read);
    seen.shows(&format!("first\nsecond\n/x:\n.\n..\nfile\nrandom\n{digest}"));
    assert!(seen.stderr.contains("/file: No such file or directory"), "{}", seen.stderr);
    let refused = sandbox(world, &state, &["-v", "two:/y:ro"]).sh("echo x > /y/file");
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    let used = inspected(world, &state, "one")["used_bytes"].as_u64().unwrap();
    assert!((8 << 20..24 << 20).contains(&used), "{used}");
    sandbox(world, &state, &["-v", "one:/x"]).sh("rm /x/random").exits(0);
    let left = inspected(world, &state, "one")["used_bytes"].as_u64().unwrap();
    assert!(left < 1 << 20, "{left}, of {used}");
}

/// What the guest was told is on the disk is there, whoever was killed when.
fn what_was_acknowledged_survives_a_kill(world: &World) {
    let state = world.fresh_state();
    let script = "i=0; while true; do i=$((i + 1)); echo $i > /v/$i; sync -d /v/$i /v || sync; echo $i; done";
    let flags = ["-v", "kept:/v"];
    let words = sandbox(world, &state, &flags).program(&["sh", "-c", script]);
    let output = world.scratch_file("output");
    let running = crate::harness::Running::watched(words, std::fs::File::create(&output).unwrap());
    let told = || std::fs::read_to_string(&output).unwrap_or_default();
    let patience = Instant::now() + Duration::from_secs(120);
    while told().lines().count() < 20 {
        assert!(Instant::now() < patience, "{}", told());
        std::thread::sleep(Duration::from_millis(10));
    }
    let family = leftovers::family(running.pid());
    for pid in family.iter().filter_map(|it| Pid::from_raw(it.pid.cast_signed())) {
        // One may have ended with another.
        let _ = kill_process(pid, Signal::KILL);
    }
    running.wait();
    leftovers::all_gone(&family);
    // The last line may be half of one.
    let told = told();
    let acknowledged = told.rsplit_once('\n').unwrap().0.lines().last().unwrap().to_owned();
    let check = format!(
        "i=1; while [ $i -le {acknowledged} ]; do [ $(cat /v/$i) = $i ] || echo lost $i; i=$((i + 1)); done; echo checked"
    );
    sandbox(world, &state, &flags).sh(&check).prints("checked");
}

/// All kinds of files, as they are in the image; and only where it is empty, and wanted.
fn an_empty_volume_gets_what_the_image_has(world: &World) {
    let state = world.fresh_state();
    let run = |flags: &[&str]| {
        let sandbox = sandbox(world, &state, flags).image(&world.images.layered);
        let output = sandbox.flags(&["--privileged"]).run(&["guest-tool", "tree", "/part"]);
        output.exits(0).text()
    };
    let image = run(&[]);
    assert!(image.lines().count() > 15, "{image}");
    assert_eq!(run(&["-v", "copied:/part"]), image);
    assert_eq!(run(&["-v", "/part"]), image);
    assert_ne!(run(&["-v", "bare:/part:nocopy"]), image);
    // It was empty once.
    let script = "rm -rf /part/*; echo own > /part/own";
    let layered = || sandbox(world, &state, &["-v", "copied:/part"]).image(&world.images.layered);
    layered().sh(script).exits(0);
    layered().sh("ls /part").prints("own");
    // Nor is there anything to copy where the image has nothing, or a link that leads out.
    sandbox(world, &state, &["-v", "other:/no/such/place"])
        .sh("ls -a /no/such/place")
        .prints(".\n..");
}

/// What the image declares and what was typed without a name: an ext4 of their own, gone with the container.
fn what_a_container_has_beside_its_root(world: &World) {
    let state = world.fresh_state();
    let script = "for d in /declared /typed; do grep \" $d \" /proc/mounts | cut -d ' ' -f 3; ls -A $d; echo x > $d/x; done";
    for _ in 0..2 {
        let sandbox =
            sandbox(world, &state, &["-v", "/typed", "--read-only", "--entrypoint", "", "-u", "0"]);
        sandbox.image(&world.images.configured).run(&["sh", "-c", script]).prints("ext4\next4");
    }
    assert_eq!(volume(world, &state, &["ls", "-q"]).exits(0).text(), "");
}

/// What a volume has belongs to whom it says, in each container.
fn with_ids_of_its_own(world: &World) {
    let state = world.fresh_state();
    let part = |flags: &[&str]| {
        sandbox(world, &state, flags).flags(&["-v", "mapped:/part"]).image(&world.images.layered)
    };
    let owners = "stat -c '%n %u:%g %a' /part /part/merged /part/setuid; id -u";
    let mapped = part(&["--userns"]).sh(owners).exits(0).text();
    assert!(
        mapped.contains("/part/merged 1234:") && mapped.contains("/part/setuid 0:0 4755"),
        "{mapped}"
    );
    part(&["--userns"]).sh("echo x > /part/new && chown 5:6 /part/new").exits(0);
    assert_eq!(part(&[]).sh(owners).exits(0).text(), mapped);
    part(&[]).sh("stat -c %u:%g /part/new").prints("5:6");
}

fn a_full_volume_is_full_and_nothing_else(world: &World) {
    let state = world.fresh_state();
    volume(world, &state, &["create", "small", "--size", "32m"]).prints("small");
    let script = "echo first > /v/first; dd if=/dev/zero of=/v/big bs=1M count=48; cat /v/first; \
                  dd if=/dev/zero of=/elsewhere bs=1M count=48 2> /dev/null && echo room elsewhere";
    let output = sandbox(world, &state, &["-v", "small:/v"]).sh(script);
    output.prints("first\nroom elsewhere");
    assert!(output.stderr.contains("No space left on device"), "{}", output.stderr);
    sandbox(world, &state, &["-v", "small:/v"]).sh("rm /v/big && cat /v/first").prints("first");
}

fn a_strict_container_starts_nothing_from_one(world: &World) {
    let state = world.fresh_state();
    let script = "cp /bin/busybox /v/program && /v/program true; echo $?; \
                  grep ' /v ' /proc/mounts | cut -d ' ' -f 4 | tr , '\\n' | grep -c -e '^nosuid$' -e '^nodev$' -e '^noexec$'";
    let flags = ["--profile", "strict", "-v", "strict:/v"];
    sandbox(world, &state, &["-v", "strict:/v"]).sh("chmod 1777 /v").exits(0);
    sandbox(world, &state, &flags).sh(script).prints("126\n3");
}

fn one_sandbox_has_it_at_a_time(world: &World) {
    let state = world.fresh_state();
    let script = "trap exit TERM; echo ready; while true; do sleep 0.1; done";
    let command = sandbox(world, &state, &["-v", "taken:/v"]).program(&["sh", "-c", script]);
    let output = world.scratch_file("output");
    let running =
        crate::harness::Running::watched(command, std::fs::File::create(&output).unwrap());
    let patience = Instant::now() + Duration::from_secs(120);
    while !std::fs::read_to_string(&output).unwrap_or_default().contains("ready") {
        assert!(Instant::now() < patience, "it does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(inspected(world, &state, "taken")["in_use"], true);
    let second = sandbox(world, &state, &["-v", "taken:/v"]).sh("true");
    second.exits(125).complains(&["the volume taken is in use by another sandbox", "hint: wait"]);
    volume(world, &state, &["rm", "taken"]).exits(125).complains(&["in use by another sandbox"]);
    volume(world, &state, &["prune"]).prints("removed: 0 B");
    // Other volumes are nobody's business.
    sandbox(world, &state, &["-v", "free:/v"]).sh("true").exits(0);
    running.signal(Signal::TERM);
    running.wait();
    sandbox(world, &state, &["-v", "taken:/v"]).sh("true").exits(0);
}

fn volumes_are_listed_and_removed(world: &World) {
    let state = world.fresh_state();
    let volume = |words: &[&str]| volume(world, &state, words);
    volume(&["create", "one"]).prints("one");
    volume(&["create", "one"]).prints("one");
    volume(&["create", "two", "--size", "1g"]).prints("two");
    volume(&["ls", "-q"]).prints("one\ntwo");
    volume(&["ls"]).shows("NAME").shows("two").shows("1.0 GiB").shows("no");
    let listed: Value = serde_json::from_str(&volume(&["ls", "--json"]).exits(0).text()).unwrap();
    assert_eq!((listed[0]["bytes"].as_u64(), &listed[1]["name"]), (Some(100 << 30), &"two".into()));
    let other = volume(&["create", "two", "--size", "2g"]);
    other.exits(125).complains(&["the volume two is there already", "hint: leave --size out"]);
    let named = volume(&["create"]).exits(0).text();
    assert_eq!(named.len(), 32, "{named}");
    for (words, said) in [
        (&["create", "../x"][..], "\"../x\" is no name for a volume"),
        (&["create", "one-more", "--size", "1"], "--size \"1\" is not between"),
        (&["inspect", "three"], "no volume is called \"three\""),
        (&["rm", "../one"], "no volume is called \"../one\""),
    ] {
        volume(words).exits(125).complains(&[said, "hint: "]);
    }
    volume(&["rm", "one", "three"]).exits(125).complains(&["no volume is called \"three\""]);
    volume(&["rm", "-f", "three"]).exits(0);
    volume(&["prune"]).shows(&named).shows("two").shows("removed: ");
    volume(&["ls", "-q"]).prints("");
    assert!(leftovers::files(&state.join("volumes")).is_empty());
}

/// All at once, some of them killed: there is one in the end, and it is whole.
fn many_make_one_volume(world: &World) {
    let state = world.fresh_state();
    let text = state.display().to_string();
    let start = || {
        let mut command = std::process::Command::new(&world.product);
        command.args(["volume", "create", "one", "--state-dir", &text]);
        crate::harness::Running::start(command, None)
    };
    for round in 0..3 {
        let started: Vec<_> = (0..6).map(|_| start()).collect();
        for (index, running) in started.iter().enumerate() {
            std::thread::sleep(Duration::from_millis(round));
            if index % 2 == 0 {
                running.signal(Signal::KILL);
            }
        }
        started.into_iter().for_each(|running| drop(running.wait()));
        start().wait().exits(0);
        let files: Vec<_> = leftovers::files(&state.join("volumes")).into_iter().collect();
        let whole = ["one/disk.ext4", "one/volume.json"];
        assert!(whole.iter().all(|it| files.iter().any(|file| file == it)), "{files:?}");
        volume(world, &state, &["rm", "one"]).exits(0);
        assert!(leftovers::files(&state.join("volumes")).is_empty());
    }
    sandbox(world, &state, &["-v", "one:/v"]).sh("touch /v/x").exits(0);
}
