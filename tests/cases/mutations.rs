//! Archives and registries' answers with mistakes in them, at places and of kinds that a seed chooses: an error or an image,
//! soon, within bounds, and nothing written but to the store.

use crate::cases;
use crate::harness::registry::{Door, Registry};
use crate::harness::{Output, Random, Running, World, leftovers};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

cases! {
    Tcg: some_archives, some_answers;
}

/// The address space of whatever reads one: a window of zstd's, buffers, and the program.
const MEMORY_KIB: u64 = 1 << 20;
/// None takes this long.
const LONG: Duration = Duration::from_secs(60);

fn some_archives(world: &World) {
    archives(world, 60);
}

fn some_answers(world: &World) {
    answers(world, 8);
}

/// The product within bounds of memory, and how it ends.
fn bounded(world: &World, state: &Path, words: &[&str]) -> Output {
    let mut command = Command::new("sh");
    let script = format!("ulimit -v {MEMORY_KIB}; exec \"$@\"");
    command.args(["-c", &script, "sh"]).arg(&world.product).args(words);
    command.arg("--state-dir").arg(state);
    let output = Running::start(command, None).wait();
    let Output { code, stderr, elapsed, .. } = &output;
    assert!(matches!(code, 0 | 125), "{code}: {stderr}");
    assert!(!stderr.contains("panicked") && *elapsed < LONG, "{elapsed:?}: {stderr}");
    assert!(*code == 0 || stderr.contains("cofferdam: "), "{stderr}");
    output
}

/// What a mistake does to some bytes.
fn mistaken(random: &mut Random, bytes: &mut Vec<u8>) {
    let length = bytes.len() as u64;
    let at = random.below(length) as usize;
    // Headers of archives are where most is to be mistaken about.
    let at = if random.below(2) == 0 { at - at % 512 + random.below(160) as usize } else { at };
    let at = at.min(bytes.len().saturating_sub(1));
    let some = random.below(600) as usize;
    let end = (at + some).min(bytes.len());
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next().to_le_bytes()[0],
        2 => bytes.truncate(at),
        3 => bytes[at..end].fill([0, 0xff, b'7', b' '][random.below(4) as usize]),
        4 => {
            let copied = bytes[at..end].to_vec();
            let to = random.below(length) as usize;
            bytes.splice(to..to, copied);
        }
        5 => drop(bytes.drain(at..end)),
        _ => {
            let more = random.bytes(some);
            bytes.splice(at..end, more);
        }
    }
}

/// Loads so many archives, each with one mistake or a few.
pub fn archives(world: &World, count: u32) {
    let mut random = Random::new(world.seed);
    let place = world.fresh_state();
    let [archive, state] = ["archive.tar", "state"].map(|name| place.join(name));
    let sources = ["docker-archive", "oci-archive"].map(|kind| {
        let file = world.scratch_file("layered.tar").display().to_string();
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "copy",
            "--quiet",
            &world.images.layered,
            &format!("{kind}:{file}:layered:v1"),
        ]);
        Running::start(skopeo, None).wait().exits(0);
        fs::read(file).unwrap()
    });
    let mut loaded = 0;
    for round in 0..count {
        let mut bytes = sources[random.below(2) as usize].clone();
        for _ in 0..=random.below(3) {
            mistaken(&mut random, &mut bytes);
        }
        fs::write(&archive, &bytes).unwrap();
        let words = ["load", "--quiet", "--name", "mistaken", "--input", archive.to_str().unwrap()];
        let output = bounded(world, &state, &words);
        loaded += u32::from(output.code == 0);
        let beside: Vec<_> = fs::read_dir(&place).unwrap().flatten().collect();
        assert_eq!(beside.len(), 2, "{round}: {beside:?}");
        if round % 100 == 0 {
            let _ = fs::remove_dir_all(&state);
        }
    }
    // Mistakes that nobody asks about, such as in a time, are none; most are.
    assert!(loaded < count, "every one was loaded");
    leftovers::no_orphans();
}

/// Pulls so often over a line that changes what comes.
pub fn answers(world: &World, count: u32) {
    let registry = Registry::start(world, Door::Plain);
    registry.push(&world.images.layered, "layered:v1");
    let place = world.fresh_state();
    let mut pulled = 0;
    for round in 0..u64::from(count) {
        let port = registry.lying(world.seed.wrapping_add(round), mistaken);
        let (host, state) = (format!("localhost:{port}"), place.join("state"));
        let name = format!("{host}/layered:v1");
        let output =
            bounded(world, &state, &["pull", "--quiet", "--insecure-registry", &host, &name]);
        pulled += u32::from(output.code == 0);
        let _ = fs::remove_dir_all(&state);
        let beside: Vec<_> = fs::read_dir(&place).unwrap().flatten().collect();
        assert!(beside.is_empty(), "{round}: {beside:?}");
    }
    assert!(pulled < count, "every one was pulled");
    leftovers::no_orphans();
}
