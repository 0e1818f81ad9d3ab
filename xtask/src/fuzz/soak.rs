//! `make soak`'s fuzzing: every target for an hour of a processor's time, which may be spread over many runs.
//!
//! Owns: which target is next, and for how long. Two at a time; each session is recorded when it ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, anyhow, ensure};

use super::record::Record;
use super::{build, names, session};
use crate::progress;
use crate::workspace::Workspace;

/// How much of a processor each target has in the end, in seconds.
const GOAL_SECONDS: f64 = 3600.0;
const AT_A_TIME: usize = 2;
/// What is left of the goal after that is not worth a session.
const LEAST_SECONDS: f64 = 1.0;

/// Brings every target nearer to its hour, by `seconds` at most.
///
/// # Errors
/// Those of cargo; a crash, once all have had their time.
pub fn run(workspace: &Workspace, seconds: u32) -> Result<()> {
    let record = Record::open(workspace)?;
    let mut wanted: Vec<(String, u32)> = names(workspace)?
        .into_iter()
        .filter_map(|name| {
            let seconds = next_session(record.seconds(&name), seconds)?;
            Some((name, seconds))
        })
        .collect();
    // Who has had least comes first, should there be no time for all.
    wanted.sort_by(|(one, _), (other, _)| {
        record.seconds(one).total_cmp(&record.seconds(other)).then(one.cmp(other))
    });
    let program = build(workspace)?;
    progress::heading(&format!("Fuzzing {} targets, {AT_A_TIME} at a time", wanted.len()));
    let (record, next, crashed) = (Mutex::new(record), AtomicUsize::new(0), Mutex::default());
    let work = || -> Result<()> {
        while let Some((name, seconds)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let session = session(workspace, &program, name, *seconds)?;
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            record.add(name, &session)?;
            progress::say(&format!(
                "{name}: {} runs in {:.0} s, {} edges, {:.0} s in all",
                session.executions,
                session.cpu_seconds,
                session.edges,
                record.seconds(name)
            ));
            if let Some(words) = session.failure {
                let mut crashed: std::sync::MutexGuard<'_, Vec<String>> =
                    crashed.lock().unwrap_or_else(PoisonError::into_inner);
                crashed.push(format!("{name}: {words}"));
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        let mut ends = workers.into_iter().map(|worker| worker.join());
        ends.try_for_each(|end| end.map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    let crashed = crashed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(crashed.is_empty(), "targets failed; their inputs are kept\n{}", crashed.join("\n"));
    Ok(())
}

/// How long a target is run next, in seconds, that has had so many and may have so many more.
fn next_session(had: f64, most: u32) -> Option<u32> {
    let left = GOAL_SECONDS - had;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 3600")]
    (left >= LEAST_SECONDS && most > 0).then(|| most.min(left.ceil() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_may_be_had_in_parts_and_no_more_than_that() {
        assert_eq!(next_session(0.0, 3600), Some(3600));
        assert_eq!(next_session(0.0, 60), Some(60));
        assert_eq!(next_session(3500.5, 3600), Some(100));
        assert_eq!(next_session(3599.5, 60), None);
        assert_eq!(next_session(4000.0, 60), None);
    }
}
