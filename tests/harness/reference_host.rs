//! One boot of the reference host (an emulated machine with a real KVM) in which this binary runs
//! many cases, and a line of JSON for each that comes back.
//!
//! A case with no line has failed: the machine may have died under it.

use super::{Case, Images, World, workspace};
use crate::harness::product::Accelerator;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

const BOOT: &str = "tests/reference-host/boot";
/// Twice what all cases take on a machine of two cores; a soak takes longer.
const LIMIT: Duration = Duration::from_secs(2400);
const SOAK_LIMIT: Duration = Duration::from_secs(4 * 3600);
const MEMORY_MIB: u32 = 7168;
/// What each line that comes back begins with.
const MARK: &str = "\u{1e}case ";

/// What all places need to know of this run.
static SHARED: OnceLock<(Images, PathBuf, u64)> = OnceLock::new();

/// Says once what every later boot hands on.
pub fn share(images: Images, scratch: PathBuf, seed: u64) {
    SHARED.set((images, scratch, seed)).expect("it is said once");
}

/// One boot, not made before it is needed.
#[derive(Debug)]
pub struct Session {
    prefix: &'static str,
    cases: Vec<String>,
    begun: OnceLock<()>,
    results: Arc<(Mutex<Results>, Condvar)>,
}

#[derive(Debug, Default)]
struct Results {
    known: HashMap<String, Result<(), String>>,
    over: Option<String>,
}

impl Session {
    /// A boot for these cases.
    pub fn new(prefix: &'static str, cases: Vec<String>) -> Self {
        Self { prefix, cases, begun: OnceLock::new(), results: Arc::default() }
    }

    /// Waits until it is known how a case went.
    pub fn outcome(&self, case: &str) -> Result<(), String> {
        self.begun.get_or_init(|| self.begin());
        let (results, changed) = &*self.results;
        let mut results = results.lock().expect("nobody panics with it");
        loop {
            if let Some(outcome) = results.known.get(case) {
                return outcome.clone();
            }
            if let Some(words) = &results.over {
                return Err(format!("the reference host said nothing of it: {words}"));
            }
            results = changed.wait(results).expect("nobody panics with it");
        }
    }

    fn begin(&self) {
        let (images, scratch, seed) = SHARED.get().expect("it was said in main").clone();
        let order = json!({
            "prefix": self.prefix,
            "cases": self.cases,
            "images": images.to_json(),
            "dist": super::dist(),
            "seed": seed,
        });
        let path = scratch.join(format!("{}.json", self.prefix));
        std::fs::write(&path, order.to_string()).expect("an order is written");
        let results = Arc::clone(&self.results);
        let limit = if self.prefix.ends_with("soak") { SOAK_LIMIT } else { LIMIT };
        std::thread::spawn(move || {
            let words = boot(&path, limit, &results.0, &results.1);
            let mut ended = results.0.lock().expect("nobody panics with it");
            ended.over = Some(words);
            results.1.notify_all();
        });
    }
}

/// Boots, and files each line; gives what is to be said of cases without one.
fn boot(order: &Path, limit: Duration, results: &Mutex<Results>, changed: &Condvar) -> String {
    let program = std::env::current_exe().expect("this program has a path");
    let child = Command::new(workspace().join(BOOT))
        .arg(program)
        .arg("--inside-reference-host")
        .arg(order)
        .env("LIMIT_S", limit.as_secs().to_string())
        .env("MEM_MIB", MEMORY_MIB.to_string())
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return format!("cannot start {BOOT}: {error}"),
    };
    let errors = super::product::collect(child.stderr.take().expect("it is piped"));
    let mut other = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        match line.split_once(MARK).map(|(_, json)| serde_json::from_str::<Value>(json)) {
            Some(Ok(result)) => file(&result, results, changed),
            _ => other.push(line),
        }
    }
    let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    let errors = errors.join().unwrap_or_default();
    let last = &other[other.len().saturating_sub(30)..];
    format!("{status}\n{}\n{}", last.join("\n"), String::from_utf8_lossy(&errors))
}

fn file(result: &Value, results: &Mutex<Results>, changed: &Condvar) {
    let case = result["case"].as_str().unwrap_or_default().to_owned();
    let failure = result["failure"].as_str().map(str::to_owned);
    let time = Duration::from_millis(result["milliseconds"].as_u64().unwrap_or_default());
    super::trial::took(format!("kvm::{case}"), time);
    let mut results = results.lock().expect("nobody panics with it");
    results.known.insert(case, failure.map_or(Ok(()), Err));
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
    let begun = Instant::now();
    let failure = case.outcome(world).err();
    let milliseconds = begun.elapsed().as_millis() as u64;
    let line = json!({ "case": case.name(), "failure": failure, "milliseconds": milliseconds });
    let line = format!("\n{MARK}{line}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).expect("stdout takes a line");
}
