//! One boot of the reference host (an emulated machine with a real KVM) in which this binary runs
//! many cases, and a line of JSON for each that comes back.
//!
//! The machine may die under its cases: it is an emulator. Then it is booted again for those that are
//! left, and the run says so at its end. A case that two machines died under has failed, and so has one
//! that was at work when a machine's time was up.

use super::{Case, Images, Outcome, World, cores, workspace};
use crate::harness::product::Accelerator;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

const BOOT: &str = "tests/reference-host/boot";
/// Twice what all cases take on a machine of two cores; a soak takes longer.
const LIMIT: Duration = Duration::from_secs(3300);
const SOAK_LIMIT: Duration = Duration::from_secs(4 * 3600);
/// More machines than this do not die by chance.
const BOOTS: usize = 3;
/// The exit status of `boot` at the time limit.
const TIME_WAS_UP: i32 = 124;
const MEMORY_MIB: u32 = 7168;
/// What each line that comes back begins with.
const MARK: &str = "\u{1e}case ";

/// What all places need to know of this run.
static SHARED: OnceLock<(Images, PathBuf, u64)> = OnceLock::new();

static DEATHS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Says once what every later boot hands on.
pub fn share(images: Images, scratch: PathBuf, seed: u64) {
    SHARED.set((images, scratch, seed)).expect("it is said once");
}

/// Cases that run in one boot, not made before it is needed.
#[derive(Debug)]
pub struct Session {
    prefix: &'static str,
    cases: Vec<String>,
    begun: OnceLock<()>,
    results: Arc<(Mutex<Results>, Condvar)>,
}

#[derive(Debug, Default)]
struct Results {
    known: HashMap<String, Outcome>,
    /// Those at work in the machine that runs.
    at_work: HashSet<String>,
    over: Option<String>,
}

impl Session {
    /// A boot for these cases, which begins when the first is asked for.
    pub fn new(prefix: &'static str, cases: Vec<String>) -> Self {
        Self { prefix, cases, begun: OnceLock::new(), results: Arc::default() }
    }

    /// Begins already: there is much to do.
    pub fn early(self) -> Self {
        if !self.cases.is_empty() {
            self.begun.get_or_init(|| self.begin());
        }
        self
    }

    /// Waits until it is known how a case went.
    pub fn outcome(&self, case: &str) -> Outcome {
        self.begun.get_or_init(|| self.begin());
        let (results, changed) = &*self.results;
        let mut results = results.lock().expect("nobody panics with it");
        loop {
            if let Some(outcome) = results.known.get(case) {
                return outcome.clone();
            }
            if let Some(words) = &results.over {
                let words = format!("the reference host said nothing of it: {words}");
                return Outcome::failed(words);
            }
            results = changed.wait(results).expect("nobody panics with it");
        }
    }

    fn begin(&self) {
        let (prefix, cases, results) = (self.prefix, self.cases.clone(), Arc::clone(&self.results));
        let core = cores::take();
        std::thread::spawn(move || {
            let _core = core;
            run_all(prefix, &cases, &results.0, &results.1);
        });
    }
}

/// Boots until it is known how every case went, or a machine too many has died.
fn run_all(prefix: &'static str, cases: &[String], results: &Mutex<Results>, changed: &Condvar) {
    let (mut died_under, mut left) = (HashSet::new(), cases.to_vec());
    let mut words = String::new();
    for _ in 0..BOOTS {
        let timed_out;
        (timed_out, words) = boot(prefix, &left, results, changed);
        let mut results = results.lock().expect("nobody panics with it");
        let at_work = std::mem::take(&mut results.at_work);
        if timed_out {
            // No death by chance: another machine would only wait as long again.
            words = format!("its time was up while {at_work:?} were at work: {words}");
            break;
        }
        for case in at_work.intersection(&died_under) {
            let failure = format!("two reference hosts died under it, the last with {words}");
            results.known.insert(case.clone(), Outcome::failed(failure));
        }
        left.retain(|case| !results.known.contains_key(case));
        changed.notify_all();
        if left.is_empty() {
            break;
        }
        let death = format!(
            "a reference host died under {at_work:?}, and {} cases were left: {words}",
            left.len()
        );
        eprintln!("{death}");
        DEATHS.lock().expect("nobody panics with it").push(death);
        died_under.extend(at_work);
    }
    results.lock().expect("nobody panics with it").over = Some(words);
    changed.notify_all();
}

/// Says again, where it cannot be missed, which machines died.
pub fn print_deaths() {
    for death in DEATHS.lock().expect("nobody panics with it").iter() {
        println!("WARNING: {death}");
    }
}

/// Writes what a machine is to do.
fn order(prefix: &str, cases: &[String]) -> PathBuf {
    let (images, scratch, seed) = SHARED.get().expect("it was said in main");
    let order = json!({
        "prefix": prefix,
        "cases": cases,
        "images": images.to_json(),
        "dist": super::dist(),
        "seed": seed,
    });
    let path = scratch.join(format!("{prefix}.json"));
    std::fs::write(&path, order.to_string()).expect("an order is written");
    path
}

/// Boots, and files each line; gives whether the machine's time was up, and what is to be said of cases
/// without a line.
fn boot(
    prefix: &str,
    cases: &[String],
    results: &Mutex<Results>,
    changed: &Condvar,
) -> (bool, String) {
    let program = std::env::current_exe().expect("this program has a path");
    let limit = if prefix.ends_with("soak") { SOAK_LIMIT } else { LIMIT };
    // Whoever kills this process must not leave a machine behind.
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM"])
        .arg(workspace().join(BOOT))
        .arg(program)
        .arg("--inside-reference-host")
        .arg(order(prefix, cases))
        .env("LIMIT_S", limit.as_secs().to_string())
        .env("MEM_MIB", MEMORY_MIB.to_string())
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return (false, format!("cannot start {BOOT}: {error}")),
    };
    let errors = super::product::collect(child.stderr.take().expect("it is piped"));
    let mut other = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        match line.split_once(MARK).map(|(_, json)| serde_json::from_str::<Value>(json)) {
            Some(Ok(result)) => file(prefix, &result, results, changed),
            _ => other.push(line),
        }
    }
    let status = child.wait();
    let timed_out = status.as_ref().is_ok_and(|it| it.code() == Some(TIME_WAS_UP));
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    let errors = errors.join().unwrap_or_default();
    let last = &other[other.len().saturating_sub(30)..];
    (timed_out, format!("{status}\n{}\n{}", last.join("\n"), String::from_utf8_lossy(&errors)))
}

fn file(prefix: &str, result: &Value, results: &Mutex<Results>, changed: &Condvar) {
    let case = result["case"].as_str().unwrap_or_default().to_owned();
    let mut results = results.lock().expect("nobody panics with it");
    if result["begun"] == true {
        results.at_work.insert(case);
        return;
    }
    let failure = result["failure"].as_str().map(str::to_owned);
    let notes = result["notes"].as_array().into_iter().flatten();
    let notes = notes.filter_map(|note| note.as_str().map(str::to_owned)).collect();
    let time = Duration::from_millis(result["milliseconds"].as_u64().unwrap_or_default());
    super::trial::took(format!("{prefix}::{case}"), time);
    results.at_work.remove(&case);
    results.known.insert(case, Outcome { failure, notes });
    changed.notify_all();
}

/// What this binary does inside: every case that was ordered, two at a time.
pub fn run_inside(order: &Path, cases: &[Case]) {
    let order: Value =
        serde_json::from_slice(&std::fs::read(order).expect("the order is there")).expect("JSON");
    let ordered = order["cases"].as_array().expect("a list").clone();
    let mut waiting: Vec<Case> = cases
        .iter()
        .filter(|case| ordered.iter().any(|name| *name == case.name()))
        .copied()
        .rev()
        .collect();
    // A tmpfs of the emulated machine's: nothing there is slower than memory.
    let scratch = PathBuf::from("/dev/shm/e2e");
    std::fs::create_dir_all(&scratch).expect("a directory in memory");
    let world = World::new(
        Accelerator::Kvm,
        Images::from_json(&order["images"]),
        Path::new(order["dist"].as_str().expect("a path")),
        &scratch,
        order["seed"].as_u64().unwrap_or_default(),
    );
    super::trial::keep_panics_quiet();
    // Engines are one for all, and a soak's cases look at everything: they run one by one.
    let lanes = if order["prefix"] == "kvm" { 2 } else { 1 };
    let waiting = Mutex::new(&mut waiting);
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("nobody panics with it").pop();
                    let Some(case) = next else { return };
                    report(&case, &world);
                }
            });
        }
    });
}

fn report(case: &Case, world: &World) {
    say(&json!({ "case": case.name(), "begun": true }));
    let begun = Instant::now();
    let Outcome { failure, notes } = case.outcome(world);
    let milliseconds = begun.elapsed().as_millis() as u64;
    let name = case.name();
    say(&json!({ "case": name, "failure": failure, "notes": notes, "milliseconds": milliseconds }));
}

fn say(result: &Value) {
    let line = format!("\n{MARK}{result}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).expect("stdout takes a line");
}
