//! A process in a container that lists the others there (`cofferdam top`).
//!
//! The agent's own program, executed from an open file under all that holds the container's, as its root and with no
//! capability: it sees what any process there does that looks into /proc.
//!
//! Follows proc(5).

use crate::sys;
use std::ffi::CString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

/// The name under which it runs, and is recognised.
pub const TASKS_NAME: &str = "/cofferdam-tasks";
/// How much of a command line is shown, in characters.
const MOST_OF_A_COMMAND: usize = 400;
/// Ticks of a second, in which the kernel tells times of user space.
const TICKS: u64 = 100;
const TITLES: [&str; 7] = ["UID", "PID", "PPID", "STATE", "MEMORY", "TIME", "COMMAND"];

/// Its arguments.
pub fn arguments() -> Vec<CString> {
    CString::new(TASKS_NAME).into_iter().collect()
}

/// Lists them, and ends.
pub fn run() -> ! {
    let rows = match rows(Path::new("/proc"), std::process::id()) {
        Ok(rows) => rows,
        Err(error) => {
            let _ = writeln!(io::stderr(), "cannot read /proc of the container: {error}");
            sys::exit_now(1)
        }
    };
    match io::stdout().write_all(table(&rows).as_bytes()) {
        Ok(()) => sys::exit_now(0),
        Err(_) => sys::exit_now(1),
    }
}

/// What is known of each process but this one, in the order of their numbers.
fn rows(proc: &Path, own: u32) -> io::Result<Vec<[String; 7]>> {
    let mut numbers: Vec<u32> = Vec::new();
    for entry in std::fs::read_dir(proc)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    // One that is gone meanwhile is none.
    let others = numbers.into_iter().filter(|&number| number != own);
    Ok(others.filter_map(|number| row(&proc.join(number.to_string()), number)).collect())
}

fn row(place: &Path, number: u32) -> Option<[String; 7]> {
    let text = |name: &str| std::fs::read(place.join(name)).ok();
    let stat = String::from_utf8_lossy(&text("stat")?).into_owned();
    // A name may hold parentheses: the last one ends it.
    let (begin, rest) = stat.rsplit_once(')')?;
    let name = begin.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let status = String::from_utf8_lossy(&text("status")?).into_owned();
    let of_status = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let number_at = |index: usize| fields.get(index).and_then(|it| it.parse::<u64>().ok());
    let ticks = number_at(11)?.saturating_add(number_at(12)?);
    let command = text("cmdline").unwrap_or_default();
    let words =
        String::from_utf8_lossy(command.strip_suffix(b"\0").unwrap_or(&command)).into_owned();
    let command = if words.is_empty() { format!("[{name}]") } else { words };
    // A kernel's own process has no memory of its own.
    let kib: u64 = of_status("VmRSS:").and_then(|it| it.parse().ok()).unwrap_or(0);
    Some([
        of_status("Uid:")?,
        number.to_string(),
        (*fields.get(1)?).to_owned(),
        (*fields.first()?).to_owned(),
        format!("{kib} KiB"),
        time(ticks / TICKS),
        shown(&command),
    ])
}

/// Seconds as hours, minutes and seconds.
fn time(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A command line without what moves a terminal.
fn shown(command: &str) -> String {
    let one = |it: char| match it {
        '\0' => ' ',
        it if it.is_control() => '?',
        it => it,
    };
    command.chars().take(MOST_OF_A_COMMAND).map(one).collect()
}

/// All of them in columns.
fn table(rows: &[[String; 7]]) -> String {
    let titles = TITLES.map(str::to_owned);
    let all = || std::iter::once(&titles).chain(rows);
    let mut text = String::new();
    for row in all() {
        for (column, cell) in row.iter().enumerate().take(TITLES.len() - 1) {
            let width =
                all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            let _ = write!(text, "{cell:<width$}   ", width = width.unwrap_or(0));
        }
        let _ = writeln!(text, "{}", row.last().map_or("", String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_is_a_line() {
        let proc = tempfile::tempdir().unwrap();
        let make = |number: u32, stat: &str, cmdline: &[u8]| {
            let place = proc.path().join(number.to_string());
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join("stat"), stat).unwrap();
            std::fs::write(place.join("status"), "Name:\tx\nUid:\t33\t0\t0\t0\nVmRSS:\t  12 kB\n")
                .unwrap();
            std::fs::write(place.join("cmdline"), cmdline).unwrap();
        };
        let rest = "S 1 7 7 0 -1 4 1 0 0 0 360000 6100 0 0 20 0 1 0 100";
        make(10, &format!("10 (a) b) {rest}"), b"sleep\x001\x1b[31m\0");
        make(2, &format!("2 (idle) {rest}"), b"");
        make(3, "no such thing", b"x");
        make(4, &format!("4 (self) {rest}"), b"x");
        std::fs::create_dir(proc.path().join("self")).unwrap();
        let rows = rows(proc.path(), 4).unwrap();
        assert_eq!(rows[0], ["33", "2", "1", "S", "12 KiB", "01:01:01", "[idle]"]);
        assert_eq!(rows[1][6], "sleep 1?[31m");
        assert_eq!(rows.len(), 2);
        let text = table(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "UID   PID   PPID   STATE   MEMORY   TIME       COMMAND");
        assert_eq!(lines[1], "33    2     1      S       12 KiB   01:01:01   [idle]");
    }

    /// And this machine's own are understood.
    #[test]
    fn real_ones_are_read() {
        let rows = rows(Path::new("/proc"), 0).unwrap();
        let own = std::process::id().to_string();
        assert!(rows.iter().any(|row| row[1] == own), "{rows:?}");
    }
}
