//! `kill -9` of each kind of process at moments that a seed chooses: nothing is left that the next
//! command trips on, or that it does not remove.

use crate::cases;
use crate::harness::{Kind, Random, World, leftovers};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

cases! {
    Both: the_launcher, unpacking;
    Kvm: the_vmm;
    // A probe that is killed means TCG, which in the reference host is an emulator in an emulator.
    Tcg: the_emulator, its_devices, the_probe;
}

fn the_launcher(world: &World) {
    some(world, Kind::Launcher);
}

fn the_vmm(world: &World) {
    some(world, Kind::Vmm);
}

fn the_emulator(world: &World) {
    some(world, Kind::Qemu);
}

fn its_devices(world: &World) {
    some(world, Kind::Devices);
}

fn unpacking(world: &World) {
    some(world, Kind::Unpack);
}

fn the_probe(world: &World) {
    some(world, Kind::Probe);
}

fn some(world: &World, kind: Kind) {
    kills(world, kind, 2);
}

/// Kills this many of a kind, at moments spread over its life: one in each part of it. A moment at which
/// it had already ended is no kill, and another is tried.
pub fn kills(world: &World, kind: Kind, count: u32) {
    let mut random = Random::new(world.seed ^ ((kind as u64) << 32));
    let part = longest_delay(kind) / u64::from(count);
    let mut killed = 0;
    for attempt in 0..4 * count {
        let delay = u64::from(attempt % count) * part + random.below(part.max(1));
        killed += u32::from(kill_once(world, kind, Duration::from_millis(delay)));
        if killed == count {
            return;
        }
    }
    panic!("only {killed} of {count} kills of {kind:?} met one that lived");
}

/// How long after it was first seen such a process may yet live, in milliseconds.
fn longest_delay(kind: Kind) -> u64 {
    match kind {
        Kind::Probe => 4,
        Kind::Unpack => 60,
        Kind::Launcher | Kind::Vmm | Kind::Qemu | Kind::Devices => 3500,
    }
}

/// Starts a sandbox, kills one such process `delay` after it was first seen, and looks at what is left.
/// Gives whether it was killed: it may have ended before.
fn kill_once(world: &World, kind: Kind, delay: Duration) -> bool {
    let state = world.fresh_state();
    let mut sandbox = world.sandbox().state(&state);
    if kind == Kind::Unpack {
        sandbox = sandbox.image(&world.images.heavy);
    } else {
        // What the first run leaves is no matter of killing.
        sandbox.run(&["true"]).exits(0);
    }
    if kind == Kind::Probe {
        sandbox = sandbox.accel("auto");
    }
    let before = leftovers::files(&state);
    let running = sandbox.start(&["sh", "-c", "echo some > /file; sleep 2; exit 5"]);
    let (family, killed) = kill(running.pid(), kind, delay);
    let output = running.wait();
    let context = format!("{kind:?} {delay:?} after it began, killed: {killed}: {}", output.stderr);
    let right = match (kind, killed) {
        (_, false) => output.code == 5,
        (Kind::Launcher, true) => output.code == -9,
        // A probe that was killed has shown that nothing can be relied on here.
        (Kind::Probe, true) => output.code == 5 || output.code == 125,
        (_, true) => output.code == 125 || output.code == 5,
    };
    assert!(right, "exit code {} after {context}", output.code);
    if output.code == 125 {
        output.complains(&[]);
        // What the parts of a machine have to say when one of them dies is no concern of the user's.
        let ours = |line: &str| line.starts_with("cofferdam: ") || line.starts_with("hint: ");
        assert!(output.stderr.lines().all(ours), "others speak too: {context}");
    }
    leftovers::all_gone(&family);
    leaves_nothing(world, &state, &before, kind, &context);
    killed
}

fn leaves_nothing(
    world: &World,
    state: &Path,
    before: &BTreeSet<String>,
    kind: Kind,
    context: &str,
) {
    world.command(&["ps", "--state-dir", state.to_str().unwrap()]).exits(0);
    let mut sandbox = world.sandbox().state(state);
    if kind == Kind::Unpack {
        sandbox = sandbox.image(&world.images.heavy);
    } else {
        assert_eq!(&leftovers::files(state), before, "files are left: {context}");
    }
    sandbox.sh("echo next").prints("next");
    if kind == Kind::Unpack {
        let single = world.fresh_state();
        world.sandbox().state(&single).image(&world.images.heavy).run(&["true"]).exits(0);
        assert_eq!(leftovers::files(state), leftovers::files(&single), "files are left: {context}");
    }
}

/// Waits for a process of a kind, then some more, then kills it. Gives all the processes there were at
/// that time, and whether it still lived.
fn kill(root: u32, kind: Kind, delay: Duration) -> (BTreeSet<leftovers::Process>, bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let victim = loop {
        let all = || leftovers::family(root);
        let found = match kind {
            Kind::Launcher => all().into_iter().find(|it| it.kind == Some(kind)),
            _ => leftovers::child_of(root, kind),
        };
        match found {
            Some(victim) => break victim,
            // It came and went between two looks.
            None if !leftovers::lives(root) => return (BTreeSet::new(), false),
            None => {
                assert!(Instant::now() < deadline, "no such process came: {kind:?} in {:?}", all())
            }
        }
        std::thread::yield_now();
    };
    std::thread::sleep(delay);
    let family = leftovers::family(root);
    let alive = family.contains(&victim);
    if alive && let Some(pid) = rustix::process::Pid::from_raw(victim.pid.cast_signed()) {
        // It may have ended just now.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    (family, alive)
}
