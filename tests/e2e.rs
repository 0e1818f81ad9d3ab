//! End to end, through the real binary: each case once for each accelerator.
//!
//! ```text
//!   e2e [FILTER] [libtest's flags]              natively on TCG; on KVM in the reference host
//!   e2e --soak SEED [--out FILE] [--accel NAME] [--case WORDS]
//!                                               long runs, with their result as JSON
//! ```
//!
//! What runs outside and what runs in the guest stand together in one file of `cases/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails so")]
#![allow(clippy::cast_possible_truncation, clippy::print_stdout, missing_docs, reason = "a test")]

mod cases;
mod harness;

use harness::{Accelerator, Images, NativeKvm, Where, World, reference_host, soak, trial};
use libtest_mimic::Arguments;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// How many outcomes are waited for at a time; how many sandboxes run is for `cores` to say.
const THREADS: usize = 2;
/// Cases that run on this machine.
const NATIVE: &[Where] = &[Where::Both, Where::Guest, Where::Tcg, Where::AutoTcg, Where::OpenKvm];
/// Cases that run in the reference host; there is time for the last of them in a soak.
const HOSTED: &[Where] = &[Where::Both, Where::Kvm, Where::Guest];

fn main() -> ExitCode {
    harness::signals::back_to_default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let cases = cases::all();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--inside-reference-host", order] => {
            reference_host::run_inside(Path::new(order), &[cases, cases::long()].concat());
            return ExitCode::SUCCESS;
        }
        ["--soak", ..] => return soak_main(&words[1..]),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let tcg = trial::wanted(&arguments, &cases, "tcg", NATIVE);
    let is_soak = std::env::var_os("COFFERDAM_TEST_EVERYWHERE").is_some();
    let hosted = if is_soak { HOSTED } else { &HOSTED[..2] };
    let kvm = trial::wanted(&arguments, &cases, "kvm", hosted);
    let outer = trial::wanted(&arguments, &cases, "outer", &[Where::Outer]);

    let scratch = scratch();
    let seed =
        std::env::var("COFFERDAM_TEST_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
    let mut images = if arguments.list { Images::default() } else { Images::make(scratch.path()) };
    if !outer.is_empty() && !arguments.list {
        images.make_demo();
    }
    if tcg.iter().chain(&kvm).any(|(_, case)| cases::runs_docker(case)) && !arguments.list {
        images.make_docker();
    }
    reference_host::share(images.clone(), scratch.path().to_owned(), seed);
    let session = |prefix, cases: &[(String, harness::Case)]| {
        let names = cases.iter().map(|(_, case)| case.name()).collect();
        reference_host::Session::new(prefix, names)
    };
    let (mut kvm_session, mut outer_session) = (session("kvm", &kvm), session("outer", &outer));
    if !arguments.list {
        // A core each; native cases have what is left, and both once these are done.
        kvm_session = kvm_session.early();
        outer_session = outer_session.early();
    }
    let mut trials = trial::hosted(outer, outer_session);
    if !tcg.is_empty() && !arguments.list {
        let world = World::new(Accelerator::Tcg, images, &harness::dist(), scratch.path(), seed);
        let kvm = NativeKvm::ask(&world);
        trials.extend(trial::native(tcg, &Arc::new(world), kvm));
    } else {
        let session = session("tcg", &tcg);
        trials.extend(trial::hosted(tcg, session));
    }
    // The emulated host of the KVM cases works beside them all, so their outcomes are asked for last.
    trials.extend(trial::hosted(kvm, kvm_session));
    trial::keep_panics_quiet();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        trial::print_slowest();
        reference_host::print_deaths();
        trial::print_not_tested();
    }
    conclusion.exit_code()
}

fn scratch() -> tempfile::TempDir {
    let made = tempfile::Builder::new().prefix("cofferdam-e2e-").tempdir();
    made.expect("a temporary directory")
}

fn soak_main(words: &[String]) -> ExitCode {
    let Some(order) = soak::Order::parse(words) else {
        eprintln!("e2e --soak SEED [--out FILE] [--accel tcg|kvm] [--case WORDS]");
        return ExitCode::from(2);
    };
    trial::keep_panics_quiet();
    let scratch = scratch();
    let all_well = soak::run(&order, &cases::long(), scratch.path());
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
