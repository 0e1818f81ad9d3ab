//! `ps` and `rm`: what the state directory knows of sandboxes, shown and removed.

use crate::cli::{PsArgs, RmArgs};
use crate::error::{Explain, Failure, chain};
use crate::state::{Record, Sandboxes, StateError, Status};
use crate::table::{ago, shortened};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

impl Explain for StateError {
    fn hint(&self) -> Option<String> {
        match self {
            StateError::Path { path, source, .. }
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Some(format!(
                    "mount a directory that this user may write to (a volume or a tmpfs), or name one \
                     with --state-dir: {} is not",
                    path.display()
                ))
            }
            StateError::Ambiguous { .. } => Some("write more of it".to_owned()),
            StateError::NotFound(_) => Some("cofferdam ps -a lists them".to_owned()),
            StateError::NameTaken { name, .. } => {
                Some(format!("cofferdam rm {name} removes it when it has ended"))
            }
            _ => None,
        }
    }
}

/// Removes what killed sandboxes have left, and says what was not understood.
///
/// # Errors
/// Where the state directory cannot be read.
pub fn sweep(sandboxes: &Sandboxes) -> Result<(), StateError> {
    for error in sandboxes.sweep()?.left {
        crate::error::say(&format!("what may be a sandbox was left: {}", chain(&error)));
    }
    Ok(())
}

/// What `ps` prints on standard output.
///
/// # Errors
/// Where the state directory cannot be read.
pub fn ps(args: &PsArgs) -> Result<String, Failure> {
    let sandboxes = Sandboxes::open(&args.state_dir)?;
    sweep(&sandboxes)?;
    let mut records = sandboxes.list()?;
    records.retain(|record| args.all || !record.status.is_final());
    if args.json {
        return serde_json::to_string_pretty(&records).map(|it| it + "\n").map_err(Failure::plain);
    }
    if args.quiet {
        return Ok(records.iter().map(|record| format!("{}\n", record.id)).collect());
    }
    Ok(table(&records, SystemTime::now()))
}

/// Removes sandboxes that have ended; gives what to print on standard output.
///
/// # Errors
/// At the first that cannot be removed.
pub fn rm(args: &RmArgs) -> Result<String, Failure> {
    let sandboxes = Sandboxes::open(&args.state_dir)?;
    sweep(&sandboxes)?;
    let mut removed = String::new();
    for wanted in &args.sandboxes {
        let id = sandboxes.remove(wanted)?;
        let _ = writeln!(removed, "{id}");
    }
    Ok(removed)
}

fn table(records: &[Record], now: SystemTime) -> String {
    let mut rows =
        vec![["SANDBOX", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAME"].map(str::to_owned)];
    for record in records {
        let created = UNIX_EPOCH + Duration::from_millis(record.created_ms);
        let age = now.duration_since(created).unwrap_or_default();
        let status = match record.status {
            Status::Running => "running".to_owned(),
            Status::Exited { exit_code } => format!("exited ({exit_code})"),
        };
        rows.push([
            record.id.to_string(),
            shortened(&record.image, 40),
            shortened(&record.command.join(" "), 30),
            ago(age),
            status,
            shortened(record.name.as_deref().unwrap_or_default(), 64),
        ]);
    }
    crate::table::table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record is a file that anybody may have written.
    #[test]
    fn no_name_is_too_long_to_be_listed() {
        let id = protocol::ContainerId::try_from("long".to_owned()).unwrap();
        let long = "x".repeat(100_000);
        let record = Record::new(id, Some(long.clone()), long.clone(), vec![long]);
        let table = table(&[record], SystemTime::now());
        assert!(table.lines().all(|line| line.chars().count() < 300), "{}", table.len());
    }
}
