//! What must not change outside while something bad is done in a sandbox: a canary beside it, another in a
//! sibling sandbox, what the state directory holds, and how much our own processes take.
//!
//! Owns: what is looked at, and the bounds. Never does: the deed.

use super::canary::{Canary, Song, asked, nest};
use super::leftovers;
use super::product::{Accelerator, Output, Sandbox};
use super::{Random, World, image};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What all processes of a sandbox may take besides its machine's memory.
const fn overhead_mib(accelerator: Accelerator) -> u64 {
    match accelerator {
        Accelerator::Kvm => 40,
        // QEMU itself, and the code that it has translated.
        Accelerator::Tcg => 140,
    }
}

/// The threads of all of them: those of one virtual CPU, of each disk, of streams and signals.
const THREADS_MAX: u64 = 40;
/// How much of a CPU they may take besides those that their machine has, in percent.
const CPU_OVERHEAD_PERCENT: u64 = 60;
/// What starting and ending takes, over which no share of a CPU is counted.
const CPU_START_MS: u64 = 1500;
/// A machine keeps what it has taken; looking costs, most of all in an emulator.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// The outside of a deed.
#[derive(Debug)]
pub struct Outside<'w> {
    /// Where all of it is.
    pub world: &'w World,
    state: PathBuf,
    nest: PathBuf,
    canaries: [(&'static str, Arc<Mutex<Canary>>, Song); 2],
    stored: BTreeMap<PathBuf, String>,
    /// A word that stands outside only: in a file and in the launcher's environment.
    pub secret: String,
}

/// What the processes of one sandbox took.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    memory_kib: u64,
    threads: u64,
    cpu_ms: u64,
}

impl<'w> Outside<'w> {
    /// Has the canaries sing for the first time.
    pub fn of(world: &'w World) -> Self {
        let state = state(world);
        let nest = nest(world);
        let near = Arc::new(Mutex::new(Canary::outside(world, &nest)));
        let sibling = world.sibling.alive(|| Canary::inside(small(world), &[]));
        let canaries = [("the canary outside", near), ("the sibling sandbox", sibling)];
        let canaries = canaries.map(|(who, canary)| {
            let song = asked(&canary).unwrap_or_else(|| panic!("{who} is silent before the deed"));
            (who, canary, song)
        });
        let number = Random::new(world.seed ^ u64::from(std::process::id())).next();
        let secret = format!("secret-{number:016x}");
        fs::write(world.scratch_file("secret"), &secret).expect("a secret is written");
        Self { world, nest, canaries, stored: stored(&state), state, secret }
    }

    /// Does a deed in a sandbox and has an eye on what its processes take.
    pub fn sees(&self, sandbox: Sandbox<'_>, deed: &[&str]) -> Output {
        let near = &self.canaries[0];
        let memory_kib = (sandbox.memory_mib() + overhead_mib(self.world.accelerator)) << 10;
        let target = format!("CANARY={}", self.nest.display());
        let pid = format!("CANARY_PID={}", near.2.part("pid"));
        let sandbox = sandbox.flags(&["-e", &target, "-e", &pid]);
        let running = sandbox.launcher_env("CANARY_SECRET", &self.secret).start(deed);
        let (pid, ended) = (running.pid(), AtomicBool::new(false));
        let begun = Instant::now();
        let (output, taken) = std::thread::scope(|scope| {
            let sampler = scope.spawn(|| sample(pid, &ended));
            let output = running.wait();
            ended.store(true, Ordering::Relaxed);
            (output, sampler.join().expect("it only reads"))
        });
        let elapsed_ms = begun.elapsed().as_millis() as u64;
        assert!(taken.memory_kib > 0, "nothing was seen of its processes");
        assert!(taken.memory_kib <= memory_kib, "{taken:?}, of {memory_kib} KiB");
        assert!(taken.threads <= THREADS_MAX, "{taken:?}");
        let cpu_ms = elapsed_ms * (100 + CPU_OVERHEAD_PERCENT) / 100 + CPU_START_MS;
        assert!(taken.cpu_ms <= cpu_ms, "{taken:?} in {elapsed_ms} ms");
        output
    }

    /// Has the canaries sing again: nothing of outside has changed.
    #[track_caller]
    pub fn finds_no_harm(self) {
        for (who, canary, before) in &self.canaries {
            let Some(after) = asked(canary) else { panic!("{who} is silent") };
            let harm = before.harm(&after);
            assert!(harm.is_empty(), "{who} tells of harm to {harm:?}: {before:?} {after:?}");
        }
        let after = stored(&self.state);
        for (path, digest) in &self.stored {
            assert_eq!(after.get(path), Some(digest), "{}", path.display());
        }
        // Whatever an image holds, no file outside gives anyone another's rights.
        for path in files(&self.state) {
            let mode = fs::symlink_metadata(&path).map_or(0, |of| of.permissions().mode());
            assert_eq!(mode & 0o6000, 0, "{} has mode {mode:o}", path.display());
        }
    }
}

/// The state directory of all stories: few images, so that all that is in it can be looked at.
fn state(world: &World) -> PathBuf {
    let path = world.state().with_file_name("stories");
    fs::create_dir_all(&path).expect("a directory for the state");
    path
}

/// A sandbox as stories want it: one of three at a time, on a machine that may be emulated and busy.
pub fn small(world: &World) -> Sandbox<'_> {
    let patient = ["--boot-timeout", "150"];
    world.sandbox().state(&state(world)).machine("128m", "1").flags(&patient)
}

/// The digest of each file that is stored for all sandboxes.
fn stored(state: &Path) -> BTreeMap<PathBuf, String> {
    let own = state.join("sandboxes");
    let shared = files(state).into_iter().filter(|path| !path.starts_with(&own));
    let digest = |path: PathBuf| {
        // Locks and unfinished files come and go.
        let (digest, _) = image::digest_of(&mut File::open(&path).ok()?).ok()?;
        Some((path, digest))
    };
    let stored: BTreeMap<PathBuf, String> = shared.filter_map(digest).collect();
    assert!(!stored.is_empty(), "nothing is stored in {}", state.display());
    stored
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let names = leftovers::files(directory).into_iter().map(|name| directory.join(name));
    names.filter(|path| path.is_file()).collect()
}

/// The most that a process and all that descend from it take, until it is told that they have ended.
fn sample(root: u32, ended: &AtomicBool) -> Taken {
    let mut most = Taken::default();
    while !ended.load(Ordering::Relaxed) {
        let now = leftovers::descent(root).iter().fold(Taken::default(), |sum, pid| Taken {
            memory_kib: sum.memory_kib + memory_kib(*pid),
            threads: sum.threads + threads(*pid),
            cpu_ms: sum.cpu_ms + cpu_ms(*pid),
        });
        most.memory_kib = most.memory_kib.max(now.memory_kib);
        most.threads = most.threads.max(now.threads);
        most.cpu_ms = most.cpu_ms.max(now.cpu_ms);
        std::thread::sleep(SAMPLE_EVERY);
    }
    most
}

fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// What it has for itself, and its part of what it shares.
fn memory_kib(pid: u32) -> u64 {
    field(pid, "smaps_rollup", "Pss:")
}

fn threads(pid: u32) -> u64 {
    field(pid, "status", "Threads:")
}

fn cpu_ms(pid: u32) -> u64 {
    const TICK_MS: u64 = 10;
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum::<u64>();
    ticks * TICK_MS
}
