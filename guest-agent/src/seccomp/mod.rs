//! A system call filter from its profile: classic BPF, as seccomp(2) takes it.
//!
//! Pure: [`compile`] makes instructions and loads nothing. The filter asks for the architecture,
//! then finds the call's number by binary search over stretches of calls that fare alike, so that a
//! profile of four hundred names is some two hundred instructions and a call passes ten of them.
//!
//! ```text
//!   architecture ─┬─ x86-64 ── number ─┬─ stretch ── action
//!                 │                    └─ stretch ── conditions ── action
//!                 ├─ i386, where the profile covers it, likewise
//!                 └─ any other: the process is killed
//! ```
//!
//! Rules of a call are tried in order, those with conditions before those without; what no rule
//! covers gets the default. A rule whose action is the default is passed over, as runc does. As there,
//! too, a call newer than every one that a refusing profile names fails with ENOSYS: its authors did
//! not know it, and programs fall back from ENOSYS but not from EPERM.
//! Follows seccomp(2) and the meaning of the OCI profile as libseccomp gives it.

mod program;
#[cfg(test)]
mod tests;

use libc::sock_filter;
use program::Program;
use protocol::{SeccompAction, SeccompArgument, SeccompProfile, SeccompRule};
use std::collections::BTreeMap;

/// The longest filter the kernel takes (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;
/// linux/audit.h.
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
/// The bit that tells an x32 call from a 64-bit one.
const X32_BIT: u32 = 0x4000_0000;
const NO_SUCH_CALL: SeccompAction = SeccompAction::Errno(38);

/// Why a profile is no filter.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SeccompError {
    /// It is too long.
    #[error("the system call filter has {0} instructions, the kernel takes {MAX_INSTRUCTIONS}")]
    TooLong(usize),
    /// A condition is on an argument that no call has.
    #[error("a condition of the system call filter is on argument {0}: there are 0 to 5")]
    Argument(u8),
}

/// What becomes of one call: conditions in order, then what is done where none held.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict<'a> {
    conditional: Vec<(&'a [SeccompArgument], SeccompAction)>,
    otherwise: SeccompAction,
}

/// The verdicts of a profile on one architecture's calls.
struct Verdicts<'a> {
    of: BTreeMap<u32, Verdict<'a>>,
    /// On calls that no rule names.
    unnamed: Verdict<'a>,
    /// On calls from this number on.
    newer: Option<(u32, Verdict<'a>)>,
}

/// Makes the filter of a profile.
///
/// # Errors
/// A [`SeccompError`] where the kernel would not take it.
pub fn compile(profile: &SeccompProfile) -> Result<Vec<sock_filter>, SeccompError> {
    for argument in profile.rules.iter().flat_map(|rule| &rule.arguments) {
        if argument.index > 5 {
            return Err(SeccompError::Argument(argument.index));
        }
    }
    let covers = |name: &str| profile.architectures.iter().any(|covered| covered == name);
    let mut program = Program::default();
    program.load_architecture();
    let native = verdicts(profile, &numbers_x86_64());
    program.if_equal(AUDIT_ARCH_X86_64, |program| {
        program.load_number();
        program.if_at_least(X32_BIT, |program| {
            if covers("SCMP_ARCH_X32") {
                program.mask(!X32_BIT);
                emit_search(program, &native, false);
            } else {
                program.kill();
            }
        });
        emit_search(program, &native, false);
    });
    if covers("SCMP_ARCH_X86") {
        let compat = verdicts(profile, &numbers_i386());
        program.if_equal(AUDIT_ARCH_I386, |program| {
            program.load_number();
            emit_search(program, &compat, true);
        });
    }
    program.kill();
    let instructions = program.finish();
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(SeccompError::TooLong(instructions.len()));
    }
    Ok(instructions)
}

fn numbers_x86_64() -> BTreeMap<&'static str, u32> {
    use syscalls::x86_64::Sysno;
    Sysno::iter().filter_map(|call| Some((call.name(), u32::try_from(call.id()).ok()?))).collect()
}

fn numbers_i386() -> BTreeMap<&'static str, u32> {
    use syscalls::x86::Sysno;
    Sysno::iter().filter_map(|call| Some((call.name(), u32::try_from(call.id()).ok()?))).collect()
}

/// The verdict on every call that a rule names and this architecture knows.
fn verdicts<'a>(profile: &'a SeccompProfile, numbers: &BTreeMap<&str, u32>) -> Verdicts<'a> {
    let always = |action| Verdict { conditional: Vec::new(), otherwise: action };
    let unnamed = always(profile.default_action);
    let mut of = BTreeMap::new();
    let mut last = None;
    for SeccompRule { names, action, arguments } in &profile.rules {
        for number in names.iter().filter_map(|name| numbers.get(name.as_str())) {
            last = last.max(Some(*number));
            if *action == profile.default_action {
                continue;
            }
            let verdict = of.entry(*number).or_insert_with(|| unnamed.clone());
            if arguments.is_empty() {
                verdict.otherwise = *action;
            } else {
                verdict.conditional.push((arguments.as_slice(), *action));
            }
        }
    }
    let permits = matches!(profile.default_action, SeccompAction::Allow | SeccompAction::Log);
    let newer = last.filter(|_| !permits).map(|last| (last + 1, always(NO_SUCH_CALL)));
    Verdicts { of, unnamed, newer }
}

/// Emits the search for the loaded number; every path ends in a return.
fn emit_search(program: &mut Program, verdicts: &Verdicts<'_>, narrow: bool) {
    let Verdicts { of, unnamed, newer } = verdicts;
    // Stretches: from this number on, up to the next stretch, this verdict.
    let mut stretches: Vec<(u32, &Verdict<'_>)> = vec![(0, unnamed)];
    let mut next = 0;
    for (&number, verdict) in of {
        if number > next {
            push_stretch(&mut stretches, next, unnamed);
        }
        push_stretch(&mut stretches, number, verdict);
        next = number + 1;
    }
    push_stretch(&mut stretches, next, unnamed);
    if let Some((from, verdict)) = newer {
        push_stretch(&mut stretches, *from, verdict);
    }
    emit_stretches(program, &stretches, narrow);
}

fn push_stretch<'a>(
    stretches: &mut Vec<(u32, &'a Verdict<'a>)>,
    from: u32,
    verdict: &'a Verdict<'a>,
) {
    match stretches.last_mut() {
        Some((_, last)) if *last == verdict => {}
        Some((start, last)) if *start == from => *last = verdict,
        _ => stretches.push((from, verdict)),
    }
}

fn emit_stretches(program: &mut Program, stretches: &[(u32, &Verdict<'_>)], narrow: bool) {
    match stretches {
        [] => program.kill(),
        [(_, verdict)] => emit_verdict(program, verdict, narrow),
        _ => {
            let (low, high) = stretches.split_at(stretches.len() / 2);
            if let Some(&(middle, _)) = high.first() {
                program.if_at_least(middle, |program| emit_stretches(program, high, narrow));
            }
            emit_stretches(program, low, narrow);
        }
    }
}

fn emit_verdict(program: &mut Program, verdict: &Verdict<'_>, narrow: bool) {
    for (conditions, action) in &verdict.conditional {
        program.if_all(conditions, narrow, |program| program.act(*action));
    }
    program.act(verdict.otherwise);
}
