//! What each of our processes tries from behind its walls, and what comes of it: a launcher made for this
//! (`--features trial`) has every process, and every thread with a list of its own, try the same things.
//!
//! As an ordinary user, because root may do what only the walls forbid others.

use crate::cases;
use crate::harness::living::Living;
use crate::harness::registry::{Door, Registry};
use crate::harness::{Accelerator, Output, Running, World, trial_product};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

cases! {
    Both: each_process_is_refused, without_filters_it_is_still_closed_in,
        without_landlock_it_is_still_filtered;
    Tcg: what_a_newer_landlock_adds_is_used;
}

const USER: u32 = 1000;

/// What came of what was tried, by who tried it.
type Attempts = BTreeMap<String, BTreeMap<String, String>>;

/// What the trial launcher is asked to do.
enum What<'a> {
    Run,
    Share,
    Pull(&'a Registry, &'a str),
}

/// A run of the trial launcher, as an ordinary user.
fn run(world: &World, trial: &str) -> (Output, Attempts) {
    done(world, trial, &What::Run)
}

/// The trial launcher, as an ordinary user.
fn done(world: &World, trial: &str, what: &What<'_>) -> (Output, Attempts) {
    // The checkout may be in a place that is closed to other users.
    let product = world.scratch_file("trial");
    std::fs::copy(trial_product(), &product).unwrap();
    let state = world.fresh_state();
    chown(&state, Some(USER), Some(USER)).unwrap();
    for above in state.ancestors().skip(1).take_while(|path| *path != std::env::temp_dir()) {
        let mode = std::fs::metadata(above).unwrap().permissions().mode();
        std::fs::set_permissions(above, std::fs::Permissions::from_mode(mode | 0o011)).unwrap();
    }
    let group = match world.accelerator {
        Accelerator::Kvm => std::fs::metadata("/dev/kvm").unwrap().gid(),
        Accelerator::Tcg => USER,
    };
    let arguments = match what {
        What::Run => world.sandbox().state(&state).arguments(&["true"]),
        What::Share => {
            let flags = ["-v".to_owned(), format!("{}:/shared", state.display())];
            world.sandbox().state(&state).flags(&flags).arguments(&["ls", "/shared"])
        }
        What::Pull(registry, name) => {
            let state = state.display().to_string();
            let words =
                ["pull", "--state-dir", &state, "--insecure-registry", &registry.host(), name];
            words.map(str::to_owned).to_vec()
        }
    };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "1000", "--regid", "1000", "--groups", &group.to_string()]);
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]);
    command.arg(product).args(arguments);
    command.env("COFFERDAM_TRIAL", trial);
    let output = Running::start(command, None).wait();
    let attempts = read(&output.stderr);
    (output, attempts)
}

fn read(words: &str) -> Attempts {
    let mut attempts = Attempts::new();
    for line in words.lines().filter_map(|line| line.strip_prefix("trial: ")) {
        let mut parts = line.splitn(3, ": ").map(str::to_owned);
        if let (Some(who), Some(what), Some(answer)) = (parts.next(), parts.next(), parts.next()) {
            // A process that serves several devices has several threads of a kind, which answer alike.
            attempts.entry(who).or_default().insert(what, answer);
        }
    }
    attempts
}

/// The list of all that was tried and what came of it equals the one that is kept.
fn each_process_is_refused(world: &World) {
    let (output, mut attempts) = run(world, "attempt");
    output.exits(0);
    // Who fetches an image does not know what machine it is for.
    if world.accelerator == Accelerator::Tcg {
        let registry = Registry::start(world, Door::Plain);
        let name = registry.push(&world.images.plain, "plain:v1");
        let (output, fetching) = done(world, "attempt", &What::Pull(&registry, &name));
        output.exits(0);
        attempts.extend(fetching.into_iter().filter(|(who, _)| who.contains("fetch")));
        // Nor who copies, who is the sandbox's own user: here root.
        let sandbox = Living::start(world, &[]);
        let to = world.scratch_file("copied").display().to_string();
        let copied = sandbox.copy(&world.on_trial("attempt"), &["box:/etc/passwd", &to], None);
        attempts.extend(read(&copied.exits(0).stderr));
        sandbox.end().exits(5);
    }
    let (output, sharing) = done(world, "attempt", &What::Share);
    output.exits(0);
    attempts.extend(sharing.into_iter().filter(|(who, _)| who.contains("share")));
    let mut seen = BTreeSet::new();
    for (who, tried) in &attempts {
        assert!(tried.len() > 30, "{who} tried too little: {tried:?}");
        seen.extend(tried.iter().map(|(what, answer)| format!("{who}: {what}: {answer}")));
    }
    world.sees_what_is_listed("attempts", &seen);
}

/// What of `wanted` a process of a sandbox's was not refused.
fn succeeded(attempts: &Attempts, wanted: &[&str]) -> Vec<String> {
    let mut succeeded = Vec::new();
    for (who, tried) in attempts.iter().filter(|(who, _)| *who != "launcher") {
        for (what, answer) in tried {
            if answer == "DONE" && wanted.iter().any(|it| what.starts_with(it)) {
                succeeded.push(format!("{who}: {what}"));
            }
        }
    }
    succeeded
}

/// Landlock alone: no file, and nothing of another's.
fn without_filters_it_is_still_closed_in(world: &World) {
    const CLOSED: [&str; 8] = [
        "open /etc/passwd",
        "open /dev/kvm",
        "make a file in /tmp",
        "list /",
        "trace ",
        "read the memory of ",
        "open the memory of ",
        "borrow a descriptor of ",
    ];
    let (_, attempts) = run(world, "attempt no-seccomp");
    assert_eq!(succeeded(&attempts, &CLOSED), [""; 0]);
    // What only a filter denies is done: this would see it.
    assert!(!succeeded(&attempts, &["executable memory"]).is_empty(), "{attempts:?}");
}

/// The filters alone, as on a kernel without Landlock.
fn without_landlock_it_is_still_filtered(world: &World) {
    const FILTERED: [&str; 14] = [
        "open ",
        "make a file",
        "list /",
        "trace ",
        "read the memory of ",
        "borrow a descriptor of ",
        "signal ",
        "start a process",
        "execute a file",
        "a TCP socket",
        "a Unix socket",
        "executable memory",
        "mount",
        "ask the limits of ",
    ];
    let (output, attempts) = run(world, "attempt landlock=0");
    output.exits(0);
    let mut done = succeeded(&attempts, &FILTERED);
    // QEMU opens its libraries, and makes code: its list cannot deny these two, Landlock has to.
    done.retain(|line| !line.starts_with("cofferdam-qemu: open "));
    done.retain(|line| !line.starts_with("cofferdam-qemu: executable memory"));
    done.retain(|line| !line.starts_with("cofferdam-qemu: execute a file"));
    done.retain(|line| !line.starts_with("cofferdam-qemu: list /"));
    done.retain(|line| !line.starts_with("cofferdam-qemu: make a file"));
    // Sockets outward are what one of them is for.
    done.retain(|line| !line.ends_with("network: a TCP socket"));
    assert_eq!(done, [""; 0]);
}

/// Landlock alone, as old as the oldest that is met (2), as one that knows of signals (6), and as this
/// machine's: each closes what those before it do, and no more is left open than its own words say.
fn what_a_newer_landlock_adds_is_used(world: &World) {
    const OF_ALL: [&str; 4] = ["open /etc/passwd", "list /", "trace ", "read the memory of "];
    const SIGNALS: [&str; 2] = ["signal the launcher", "signal a sibling"];
    let doctor = world.command(&["doctor", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let check =
        said["checks"].as_array().unwrap().iter().find(|it| it["name"] == "landlock").unwrap();
    for (version, signals_are_closed) in [(2, false), (6, true), (u8::MAX, true)] {
        let (_, attempts) = run(world, &format!("attempt no-seccomp landlock={version}"));
        assert_eq!(succeeded(&attempts, &OF_ALL), [""; 0], "{version}: {check}");
        let signals = succeeded(&attempts, &SIGNALS);
        assert_eq!(signals.is_empty(), signals_are_closed, "{version}: {signals:?}; {check}");
    }
}
