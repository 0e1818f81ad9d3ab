//! `cofferdam doctor`: will `run` work here, with what, and what helps where it will not.
//!
//! Owns: what the facts of a [`Survey`] mean for a user. Never does: asks (but for the probe, which
//! is a process of its own), or changes anything.
//!
//! ```text
//!   host::Survey ─▶ checks (pure) ─▶ Report ─▶ lines, or one JSON document
//! ```

mod checks;
mod report;

pub use checks::examine;
pub use report::{Check, Level, Report, Verdict};

use crate::accelerator;
use crate::cli::DoctorArgs;
use crate::error::chain;
use crate::host::kvm::KvmFacts;
use crate::host::{KvmProbe, Survey};
use crate::jail::probe::{ProbeOutcome, probe};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

/// Exit code where `run` will not work.
const WILL_NOT_WORK: u8 = 1;

/// The whole command.
pub fn main(args: &DoctorArgs) -> ExitCode {
    let search_path = std::env::var("PATH").unwrap_or_default();
    let mut survey = Survey::ask(&args.state_dir, &search_path);
    // Not before: what it walls itself in with would be taken for the engine's.
    if let Err(error) = crate::jail::confine_launcher(false) {
        crate::error::report(&crate::error::Failure::plain(error));
        return ExitCode::from(WILL_NOT_WORK);
    }
    if let KvmFacts::Open(kvm) = &survey.kvm {
        survey.probe = Some(probed(kvm.device.as_fd()));
    }
    let report = examine(&survey);
    let text = if args.json { report.to_json() } else { report.to_string() };
    // Where standard output is closed, the exit code still tells.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if report.verdict.works { ExitCode::SUCCESS } else { ExitCode::from(WILL_NOT_WORK) }
}

fn probed(kvm: BorrowedFd<'_>) -> KvmProbe {
    match probe(kvm) {
        Ok(outcome) => {
            let mips = match &outcome {
                ProbeOutcome::Measured(report) if report.loop_mips > 0.0 => Some(report.loop_mips),
                _ => None,
            };
            let refused = match &outcome {
                ProbeOutcome::Refused(causes) => Some(causes.join(": ")),
                _ => None,
            };
            KvmProbe { refused, useless: accelerator::unusable(&outcome), mips }
        }
        Err(error) => KvmProbe { refused: None, useless: Some(chain(&error)), mips: None },
    }
}

#[cfg(test)]
mod tests;
