//! System calls, by `strace -f -c`: of a command and of all that it starts.

use super::SurfaceError;
use crate::bench::layer::Layer;
use crate::bench::patience::Patience;
use crate::bench::start::ended;
use ::bench::Counts;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A table that is longer is none of strace's.
const MAX_TABLE_BYTES: u64 = 1 << 20;

/// Why its table says nothing.
#[derive(Debug, thiserror::Error)]
pub enum StraceError {
    /// There is no room for it.
    #[error("cannot keep what strace says")]
    Io(#[source] io::Error),
    /// It has no line of a system call.
    #[error("strace counted nothing")]
    Nothing,
}

/// How often each system call was made for a script at a layer, by all processes outside.
///
/// # Errors
/// Where there is no strace, it may not trace, or the script fails.
pub fn counted(
    layer: &Layer,
    script: &str,
    within: Duration,
    patience: &Patience,
) -> Result<Counts, SurfaceError> {
    let table =
        memfd_create("strace", MemfdFlags::CLOEXEC).map_err(|e| StraceError::Io(e.into()))?;
    let mut table = File::from(table);
    // By its name under this process: strace opens it, and the layer's processes never have it.
    let output = format!("/proc/{}/fd/{}", std::process::id(), table.as_raw_fd());
    let myself = std::env::current_exe().map_err(StraceError::Io)?;
    let strace = ["strace", "-f", "-qq", "-c", "-o", &output, "--"];
    let command = layer.wrapped(&strace, myself.as_os_str(), &["sh", "-c", script])?;
    ended(command, within, patience)?;
    let mut text = String::new();
    table.rewind().map_err(StraceError::Io)?;
    table.take(MAX_TABLE_BYTES).read_to_string(&mut text).map_err(StraceError::Io)?;
    let counts = rows(&text);
    if counts.is_empty() { Err(StraceError::Nothing.into()) } else { Ok(counts) }
}

/// The rows of its table: share, seconds, microseconds each, calls, errors where there were any, name.
fn rows(table: &str) -> Counts {
    let mut counts = Counts::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(count), Some(name), 5..=6) = (fields.get(3), fields.last(), fields.len()) else {
            continue;
        };
        if let Ok(count) = count.parse::<u64>()
            && *name != "total"
        {
            *counts.entry((*name).to_owned()).or_default() += count;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 41.52    0.001234          12       100         3 read
  0.00    0.000000           0         2           execve
------ ----------- ----------- --------- --------- ----------------
100.00    0.001234          12       102         3 total
";

    #[test]
    fn its_table_is_understood() {
        let expected = [("execve".to_owned(), 2), ("read".to_owned(), 100)];
        assert_eq!(rows(TABLE).into_iter().collect::<Vec<_>>(), expected);
        assert!(rows("strace: nothing of the kind\n").is_empty());
    }

    #[test]
    fn calls_of_a_program_are_counted() {
        let patience = Patience::new().unwrap();
        let within = Duration::from_secs(60);
        let script = "dd if=/dev/zero of=/dev/null bs=1 count=500 2>/dev/null";
        let counts = counted(&Layer::Host, script, within, &patience).unwrap();
        let written = counts["write"];
        assert!((500..520).contains(&written), "{counts:?}");
        let failed = counted(&Layer::Host, "echo no luck >&2; exit 3", within, &patience);
        assert!(failed.unwrap_err().to_string().contains("no luck"));
    }
}
