//! `kill -9` of each kind of process at each stage of its life, at moments in it that a seed chooses:
//! nothing is left that the next command trips on, or that it does not remove.

use crate::cases;
use crate::harness::{Accelerator, Kind, Random, Running, World, leftovers, trial};
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

cases! {
    Both: the_launcher, unpacking, the_share_process, the_network_process;
    Kvm: the_vmm, the_probe_of_a_good_kvm;
    Tcg: the_emulator, its_devices;
    OpenKvm: the_probe;
}

fn the_launcher(world: &World) {
    kills(world, Kind::Launcher, 2, false);
}

fn the_vmm(world: &World) {
    kills(world, Kind::Vmm, 1, false);
}

fn the_emulator(world: &World) {
    kills(world, Kind::Qemu, 1, false);
}

fn its_devices(world: &World) {
    kills(world, Kind::Devices, 1, false);
}

fn the_share_process(world: &World) {
    kills(world, Kind::Share, 1, false);
}

fn the_network_process(world: &World) {
    kills(world, Kind::Network, 1, false);
}

fn unpacking(world: &World) {
    kills(world, Kind::Unpack, 1, false);
}

fn the_probe(world: &World) {
    kills(world, Kind::Probe, 1, false);
}

fn the_probe_of_a_good_kvm(world: &World) {
    kills(world, Kind::Probe, 1, false);
}

/// How far a sandbox has come, as it can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The launcher is alone.
    Starting,
    /// A layer is made a file system.
    Unpacking,
    /// KVM is tried.
    Probing,
    /// There is a machine, and its container has said nothing yet.
    Booting,
    /// The container has spoken.
    Running,
    /// It has said its last, and its disk is being written.
    Ending,
}

impl Stage {
    /// The stages in which there is such a process.
    fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Launcher => {
                &[Self::Starting, Self::Unpacking, Self::Booting, Self::Ending, Self::Running]
            }
            Kind::Vmm | Kind::Qemu | Kind::Devices | Kind::Share | Kind::Network => {
                &[Self::Booting, Self::Running, Self::Ending]
            }
            Kind::Unpack => &[Self::Unpacking],
            Kind::Probe => &[Self::Probing],
        }
    }

    /// How long it may last.
    fn length(self) -> Duration {
        Duration::from_micros(match self {
            Self::Starting => 3_000,
            Self::Probing => 2_000,
            Self::Unpacking | Self::Ending => 60_000,
            Self::Booting => 500_000,
            Self::Running => 1_000_000,
        })
    }

    /// That of a sandbox now; `None` where it has ended.
    fn now(launcher: u32, said: &Path) -> Option<Self> {
        let kinds = leftovers::kinds_of_children(launcher);
        let has = |wanted: &[Kind]| kinds.iter().any(|kind| wanted.contains(kind));
        let said = std::fs::read_to_string(said).unwrap_or_default();
        let stage = if said.contains("down\n") {
            Self::Ending
        } else if said.contains("up\n") {
            Self::Running
        } else if has(&[Kind::Vmm, Kind::Qemu, Kind::Devices]) {
            Self::Booting
        } else if has(&[Kind::Unpack]) {
            Self::Unpacking
        } else if has(&[Kind::Probe]) {
            Self::Probing
        } else {
            Self::Starting
        };
        leftovers::lives(launcher).then_some(stage)
    }
}

/// Leaves something to be written when it ends.
const SCRIPT: &str =
    "echo up; sleep 1; dd if=/dev/zero of=/file bs=1M count=24 2>/dev/null; echo down; exit 5";
const NAME: &str = "victim";

/// Kills this many of a kind, each at the next of its stages; with `every_stage` at least one at each. A
/// moment at which it had already ended is no kill, and another is tried.
pub fn kills(world: &World, kind: Kind, count: u32, every_stage: bool) {
    let stages = Stage::of(kind);
    let mut random = Random::new(world.seed ^ ((kind as u64) << 32));
    let warm = LazyCell::new(|| Ground::warm(world));
    let cold = LazyCell::new(|| Ground::cold(world));
    let mut hits = BTreeMap::<Stage, u32>::new();
    for attempt in 0..10 * u64::from(count) {
        let missed = stages.iter().find(|stage| !hits.contains_key(stage));
        let missed = missed.filter(|_| every_stage);
        let killed: u32 = hits.values().sum();
        if killed >= count && missed.is_none() {
            trial::note(format!("{kind:?} killed while {hits:?}"));
            return;
        }
        let next = stages[(world.seed + attempt) as usize % stages.len()];
        let aim = if killed < count { next } else { missed.copied().unwrap_or(next) };
        let ground: &Ground = if aim == Stage::Unpacking { &cold } else { &warm };
        // A disk that is kept is written to its end; one that is not is dropped at once.
        let kept = aim == Stage::Ending || random.below(2) == 0;
        let shot = Shot { kind, aim, delay: length_of(aim, &mut random), kept };
        if let Some(hit) = shot.fire(world, ground) {
            *hits.entry(hit).or_default() += 1;
        }
    }
    panic!("not all of {count} kills of {kind:?} met one that lived, at {stages:?}: {hits:?}");
}

fn length_of(stage: Stage, random: &mut Random) -> Duration {
    Duration::from_micros(random.below(stage.length().as_micros() as u64))
}

/// What a run finds, and what stands there when all is well.
struct Ground {
    image: String,
    state: Option<PathBuf>,
    files: BTreeSet<String>,
}

impl Ground {
    /// A state directory that has the image: it is the same after each kill.
    fn warm(world: &World) -> Self {
        let state = world.fresh_state();
        world.sandbox().state(&state).run(&["true"]).exits(0);
        let files = leftovers::files(&state);
        Self { image: world.images.plain.clone(), state: Some(state), files }
    }

    /// A new state directory for each kill, and an image that takes a moment to unpack.
    fn cold(world: &World) -> Self {
        let state = world.fresh_state();
        let image = world.images.heavy.clone();
        world.sandbox().state(&state).image(&image).run(&["true"]).exits(0);
        Self { image, state: None, files: leftovers::files(&state) }
    }
}

/// One kill.
struct Shot {
    kind: Kind,
    aim: Stage,
    /// After the stage was first seen.
    delay: Duration,
    kept: bool,
}

impl Shot {
    /// Starts a sandbox, kills, and looks at what is left. Gives at which stage a living one was met.
    fn fire(&self, world: &World, ground: &Ground) -> Option<Stage> {
        let state = ground.state.clone().unwrap_or_else(|| world.fresh_state());
        let said = world.scratch_file("said");
        let command = self.command(world, &ground.image, &state);
        let running = Running::watched(command, std::fs::File::create(&said).unwrap());
        let (family, mut hit) = self.kill(running.pid(), &said);
        let output = running.wait();
        // What was said between the look and the kill counts too; but a sandbox outlives its probe.
        let ends_with_it = self.kind != Kind::Probe;
        if hit.is_some()
            && ends_with_it
            && std::fs::read_to_string(&said).unwrap().contains("down\n")
        {
            hit = Some(Stage::Ending);
        }
        let context = format!(
            "{:?}, aimed {:?} after it was {:?}, kept: {}, met while {hit:?}: {}",
            self.kind, self.delay, self.aim, self.kept, output.stderr
        );
        let right = match (self.kind, hit) {
            (_, None) => output.code == 5,
            (Kind::Launcher, Some(_)) => output.code == -9,
            // A probe that was killed has shown that nothing can be relied on here; and one may be killed
            // when it has answered.
            (Kind::Probe, Some(_)) => output.code == 5 || output.code == 125,
            (_, Some(Stage::Ending)) => output.code == 125 || output.code == 5,
            (_, Some(_)) => output.code == 125,
        };
        assert!(right, "exit code {} after {context}", output.code);
        if output.code == 125 {
            output.complains(&[]);
            // What the parts of a machine have to say when one of them dies is no concern of the user's.
            let ours = |line: &str| line.starts_with("cofferdam: ") || line.starts_with("hint: ");
            assert!(output.stderr.lines().all(ours), "others speak too: {context}");
        }
        leftovers::all_gone(&family);
        leftovers::no_orphans();
        self.leaves_nothing(world, ground, &state, &context);
        hit
    }

    fn command(&self, world: &World, image: &str, state: &Path) -> Command {
        let mut sandbox = world.sandbox().state(state).image(image);
        if self.kept {
            sandbox = sandbox.kept().flags(&["--name", NAME]);
        }
        let shared = world.fresh_state();
        if self.kind == Kind::Share {
            sandbox = sandbox.flags(&["-v".to_owned(), format!("{}:/shared", shared.display())]);
        }
        let mut path = std::env::var("PATH").unwrap_or_default();
        if self.kind == Kind::Probe {
            sandbox = sandbox.accel("auto");
            if world.accelerator == Accelerator::Kvm {
                // What is left is TCG, which in the reference host is an emulator in an emulator.
                path = "/no/emulator/here".to_owned();
            }
        }
        let mut command = Command::new(&world.product);
        command.args(sandbox.arguments(&["sh", "-c", SCRIPT])).env("PATH", path);
        command
    }

    fn leaves_nothing(&self, world: &World, ground: &Ground, state: &Path, context: &str) {
        let directory = state.to_str().unwrap();
        world.command(&["ps", "--state-dir", directory]).exits(0);
        if self.kept {
            // Where it came so far as to have ended it is kept, else it is not there any more.
            let removed = world.command(&["rm", NAME, "--state-dir", directory]);
            assert!([0, 125].contains(&removed.code), "rm: {}: {context}", removed.stderr);
        }
        if ground.state.is_some() {
            assert_eq!(leftovers::files(state), ground.files, "files are left: {context}");
        }
        let sandbox = world.sandbox().state(state).image(&ground.image);
        sandbox.sh("echo next").prints("next");
        assert_eq!(leftovers::files(state), ground.files, "files are left: {context}");
    }

    /// Waits for the stage, then some more, then kills. Gives all the processes there were at that time,
    /// and the stage at which the process was met alive.
    fn kill(&self, launcher: u32, said: &Path) -> (BTreeSet<leftovers::Process>, Option<Stage>) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            match Stage::now(launcher, said) {
                Some(stage) if stage >= self.aim => break,
                // It came and went between two looks.
                None => return (BTreeSet::new(), None),
                Some(stage) => assert!(Instant::now() < deadline, "it stays {stage:?}"),
            }
            std::thread::yield_now();
        }
        std::thread::sleep(self.delay);
        let victim = match self.kind {
            Kind::Launcher => Some(launcher).filter(|pid| leftovers::lives(*pid)),
            kind => leftovers::child_of(launcher, kind).map(|it| it.pid),
        };
        // Without the launcher nobody would know whose its children were.
        let before = leftovers::family(launcher);
        let stage = Stage::now(launcher, said);
        let Some(victim) = victim.filter(|pid| leftovers::lives(*pid)) else {
            return (before, None);
        };
        if let Some(pid) = rustix::process::Pid::from_raw(victim.cast_signed()) {
            // It may have ended just now.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        (before, stage)
    }
}
