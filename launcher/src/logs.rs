//! `cofferdam logs`: what a detached sandbox has said, and says.
//!
//! Owns: which of it is wanted, and how it is shown. Never does: read a file; [`crate::log`] does.

use crate::cli::logs::LogsArgs;
use crate::control::RunningSandbox;
use crate::error::{Explain, Failure, say};
use crate::log::read::Reader;
use crate::log::{Entry, Stream};
use crate::session::ControlRequest;
use crate::state::Sandboxes;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often it is looked whether there is more. A machine that sleeps meanwhile loses nothing by it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What is said where files were thrown away before they were shown.
const OUTRUN: &str = "some of the output was thrown away before it could be shown, for it came faster; \
                      with a larger --log-opt max-size or max-file more of it is kept";

/// Why a log is not shown.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// A time that is none.
    #[error("{0:?} is no time")]
    Time(String),
    /// A number of lines that is none.
    #[error("{0:?} is no number of lines")]
    Count(String),
    /// It cannot be read.
    #[error("cannot read what sandbox {0} has said")]
    Read(String, #[source] io::Error),
    /// It cannot be written.
    #[error("cannot write it")]
    Write(#[source] io::Error),
}

impl Explain for LogsError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Time(_) => {
                Some("2026-01-31T12:00:00Z, 1769860800, or how long ago: 90s, 10m, 2h".to_owned())
            }
            Self::Count(_) => Some("a number, or all".to_owned()),
            _ => None,
        }
    }
}

/// What is shown, and how.
struct Shown {
    since: Option<SystemTime>,
    until: Option<SystemTime>,
    timestamps: bool,
    /// The last piece shown of each stream was no whole line.
    within_line: [bool; 2],
}

/// Shows what a sandbox has said.
///
/// # Errors
/// Where there is no such sandbox, or what it has said cannot be read or shown.
pub fn logs(args: &LogsArgs) -> Result<(), Failure> {
    let now = SystemTime::now();
    let time = |text: &Option<String>| text.as_deref().map(|text| time(text, now)).transpose();
    let (since, until) = (time(&args.since)?, time(&args.until)?);
    let last = match args.tail.as_str() {
        "all" => None,
        text => Some(text.parse().map_err(|_| LogsError::Count(text.to_owned()))?),
    };
    let (_, directory) = Sandboxes::open(&args.state_dir)?.directory_of(&args.sandbox)?;
    let running = match args.follow {
        true => RunningSandbox::if_running(&args.state_dir, &args.sandbox)?,
        false => None,
    };
    crate::jail::confine_launcher(false).map_err(Failure::plain)?;
    if let Some(running) = &running {
        running.ask(&ControlRequest::Wait, &[])?;
    }
    let mut shown = Shown { since, until, timestamps: args.timestamps, within_line: [false; 2] };
    match shown.follow(&directory, last, running.as_ref(), &args.sandbox) {
        // Whoever reads has enough.
        Err(LogsError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

impl Shown {
    fn follow(
        &mut self,
        directory: &Path,
        last: Option<usize>,
        running: Option<&RunningSandbox>,
        name: &str,
    ) -> Result<(), LogsError> {
        let unreadable = |error| LogsError::Read(name.to_owned(), error);
        let mut reader = Reader::open(directory, last).map_err(unreadable)?;
        let mut out = BufWriter::new(io::stdout().lock());
        let mut errors = BufWriter::new(io::stderr().lock());
        loop {
            // Asked first: what it has said last is there once it has ended.
            let is_over = running.is_none_or(|running| running.ends_within(LOOK_AGAIN_AFTER));
            while let Some(entry) = reader.entry().map_err(unreadable)? {
                let out: &mut dyn Write = match entry.stream {
                    Stream::Stdout => &mut out,
                    Stream::Stderr => &mut errors,
                };
                if !self.show(&entry, out).map_err(LogsError::Write)? {
                    return Ok(());
                }
            }
            if reader.has_missed_some() {
                say(OUTRUN);
            }
            out.flush().and_then(|()| errors.flush()).map_err(LogsError::Write)?;
            if is_over {
                return Ok(());
            }
        }
    }

    /// Shows an entry, if it is wanted; whether there is more to be shown.
    fn show(&mut self, entry: &Entry<'_>, out: &mut dyn Write) -> io::Result<bool> {
        let time = humantime::parse_rfc3339(entry.time).unwrap_or(UNIX_EPOCH);
        if self.until.is_some_and(|until| time > until) {
            return Ok(false);
        }
        if self.since.is_some_and(|since| time < since) {
            return Ok(true);
        }
        let within_line = &mut self.within_line[usize::from(entry.stream == Stream::Stderr)];
        if self.timestamps && !*within_line {
            write!(out, "{} ", entry.time)?;
        }
        *within_line = !entry.is_whole;
        out.write_all(entry.text)?;
        if entry.is_whole {
            out.write_all(b"\n")?;
        }
        Ok(true)
    }
}

/// A time as Docker takes it.
fn time(text: &str, now: SystemTime) -> Result<SystemTime, LogsError> {
    let since_epoch = |seconds| UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?);
    let ago = || now.checked_sub(humantime::parse_duration(text).ok()?);
    let read = match text.parse::<f64>() {
        Ok(seconds) => since_epoch(seconds),
        Err(_) => humantime::parse_rfc3339_weak(text).ok().or_else(ago),
    };
    read.ok_or_else(|| LogsError::Time(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_or_how_long_ago_it_was() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let after = |text: &str| time(text, now).unwrap().duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(after("1000.5"), Duration::from_millis(1_000_500));
        assert_eq!(after("10m"), Duration::from_secs(999_400));
        assert_eq!(after("1h30m"), Duration::from_secs(994_600));
        assert_eq!(after("1970-01-02T00:00:00Z"), Duration::from_secs(86_400));
        assert_eq!(after("1970-01-02T00:00:00"), Duration::from_secs(86_400));
        for wrong in ["", "soon", "-5", "NaN", "1e300", "99999999999999999999y"] {
            assert!(time(wrong, now).is_err(), "{wrong}");
        }
    }
}
