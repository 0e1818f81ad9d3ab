//! `cofferdam audit`: which of the seven rules of isolation hold, for a container run like this, here.
//!
//! Owns: looking at a real sandbox while it stands. Never does: take a flag's word for anything; what is
//! judged is what the kernels outside and inside say of the running processes.
//!
//! ```text
//!   this process ── run --audited … ──▶ launcher ──▶ VMM … guest agent ──▶ witness
//!      │ its family, mounts, ids, filters  │ says whether "/" is closed to it   │ says what it finds
//!      ▼                                   ▼                                    ▼
//!   Outside ─────────────────────────── rules (pure) ──────────────────── Testimony
//!                                          ▼
//!                                  Report ─▶ lines, or one JSON document
//! ```

mod evidence;
mod inside;
mod outside;
mod report;
mod rules;
mod sandbox;

pub use sandbox::tell_reach;

use crate::cli::AuditArgs;
use crate::error::Failure;
use crate::outer_walls::Around;
use outside::Place;
use sandbox::SandboxError;
use std::io::Write;
use std::process::ExitCode;

/// The whole command. Its exit code says whether the audit was done, not how it went: a rule that does not hold
/// is no failure.
pub fn main(args: &AuditArgs) -> ExitCode {
    // Before this process walls itself in: what it does so with would be taken for the engine's.
    let place = Place::ask(Around::ask());
    match sandbox::look_into(&args.run) {
        Ok(seen) => {
            let report = rules::judge(&place, &seen);
            let text = if args.json { report.to_json() } else { report.to_string() };
            match std::io::stdout().write_all(text.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(Failure::plain(error)),
            }
        }
        // It has said why itself.
        Err(SandboxError::Failed(code)) => ExitCode::from(code),
        Err(error) => failed(error.into()),
    }
}

fn failed(failure: Failure) -> ExitCode {
    crate::error::report(&failure);
    ExitCode::from(failure.exit_code())
}
