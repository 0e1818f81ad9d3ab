//! `--soak SEED`: the long cases on both accelerators, and what came of them as JSON.

use super::{
    Accelerator, Case, Images, NativeKvm, Outcome, Where, World, reference_host, workspace,
};
use crate::cases;
use crate::cases::soak::{BYTES, KILLS_OF_EACH_KIND, MISTAKEN, RUNS};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What was typed after `--soak`.
#[derive(Debug, Clone)]
pub struct Order {
    seed: u64,
    out: Option<PathBuf>,
    accelerator: Option<String>,
    case: Option<String>,
}

impl Order {
    /// Reads `SEED [--out FILE] [--accel NAME] [--case WORDS]`.
    pub fn parse(words: &[String]) -> Option<Self> {
        let (seed, mut rest) = words.split_first()?;
        let mut order = Self { seed: seed.parse().ok()?, out: None, accelerator: None, case: None };
        while let [flag, value, more @ ..] = rest {
            match flag.as_str() {
                "--out" => order.out = Some(value.into()),
                "--accel" => order.accelerator = Some(value.clone()),
                "--case" => order.case = Some(value.clone()),
                _ => return None,
            }
            rest = more;
        }
        rest.is_empty().then_some(order)
    }
}

/// Runs all, both accelerators side by side; true where all went well.
pub fn run(order: &Order, cases: &[Case], scratch: &Path) -> bool {
    // Before anything is written that differs from every commit.
    let commit = words_of("git", &["rev-parse", "HEAD"]);
    let is_changed = !words_of("git", &["status", "--porcelain"]).is_empty();
    let is_wanted = |case: &&Case| order.case.as_deref().is_none_or(|it| case.name().contains(it));
    let cases: &[Case] = &cases.iter().filter(is_wanted).copied().collect::<Vec<_>>();
    let mut images = Images::make(scratch);
    if cases.iter().any(cases::runs_job_of_ci) {
        images.make_job_place();
    }
    reference_host::share(images.clone(), scratch.to_owned(), order.seed);
    let wanted = |name: &str| order.accelerator.as_deref().is_none_or(|it| it == name);
    let results: Vec<Value> = std::thread::scope(|scope| {
        let tcg = wanted("tcg").then(|| scope.spawn(|| on_tcg(order, cases, images, scratch)));
        let kvm = wanted("kvm").then(|| scope.spawn(|| on_kvm(cases)));
        let sides = [tcg, kvm].into_iter().flatten();
        sides.flat_map(|side| side.join().expect("a case's panic is its own")).collect()
    });
    let all_well = results.iter().all(|result| result["failure"].is_null());
    let document = json!({
        "date": words_of("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        "command": format!("make soak (e2e --soak {})", order.seed),
        "seed": order.seed,
        "commit": commit,
        "uncommitted_changes": is_changed,
        "kernel": words_of("uname", &["-r"]),
        "consecutive_runs": RUNS,
        "mistaken_archives": MISTAKEN[0],
        "mistaken_answers": MISTAKEN[1],
        "kills_of_each_kind": KILLS_OF_EACH_KIND,
        "digested_bytes": BYTES,
        "all_well": all_well,
        "results": results,
    });
    let text = serde_json::to_string_pretty(&document).expect("it is plain data") + "\n";
    match &order.out {
        Some(path) => std::fs::write(path, text).expect("the result is written"),
        None => println!("{text}"),
    }
    all_well
}

fn on_tcg(order: &Order, cases: &[Case], images: Images, scratch: &Path) -> Vec<Value> {
    let world = World::new(Accelerator::Tcg, images, &super::dist(), scratch, order.seed);
    let kvm = NativeKvm::ask(&world);
    let result = |case: &Case| match kvm.is_wrong_for(case.place) {
        Some(why) => not_tested("tcg", case, why),
        None => timed("tcg", case, || case.outcome(&world)),
    };
    of(cases, crate::NATIVE).iter().map(result).collect()
}

fn on_kvm(cases: &[Case]) -> Vec<Value> {
    let cases = of(cases, &[Where::Both, Where::Kvm]);
    let names = cases.iter().map(Case::name).collect();
    let session = reference_host::Session::new("kvm-soak", names);
    cases.iter().map(|case| timed("kvm", case, || session.outcome(&case.name()))).collect()
}

fn of(cases: &[Case], places: &[Where]) -> Vec<Case> {
    cases.iter().filter(|case| places.contains(&case.place)).copied().collect()
}

fn not_tested(accelerator: &str, case: &Case, why: &str) -> Value {
    println!("WARNING: not tested: {accelerator}::{} ({why})", case.name());
    json!({ "accelerator": accelerator, "case": case.name(), "not_tested": why })
}

fn timed(accelerator: &str, case: &Case, run: impl FnOnce() -> Outcome) -> Value {
    let begun = Instant::now();
    let Outcome { failure, notes } = run();
    let seconds = begun.elapsed().as_millis() as f64 / 1000.0;
    let word = if failure.is_some() { "FAILED" } else { "ok" };
    println!("soak {accelerator}::{} ... {word} ({seconds} s)", case.name());
    if let Some(words) = &failure {
        println!("{words}");
    }
    json!({
        "accelerator": accelerator,
        "case": case.name(),
        "seconds": seconds,
        "notes": notes,
        "failure": failure,
    })
}

fn words_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(workspace()).output();
    output.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned()).unwrap_or_default()
}
