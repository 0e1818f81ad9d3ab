//! What a person reads on stderr while it works.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// One piece of work that takes long enough to be named.
pub struct Task {
    name: String,
    begun: Instant,
    last_note: Instant,
    is_terminal: bool,
}

/// How often a line is written where there is no terminal to rewrite one on.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

impl Task {
    /// Says that it begins.
    pub fn begin(name: &str) -> Self {
        eprintln!("  · {name}");
        let now = Instant::now();
        Self {
            name: name.to_owned(),
            begun: now,
            last_note: now,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Says how far it is, now and then.
    pub fn note(&mut self, how_far: &str) {
        let interval = if self.is_terminal { TERMINAL_INTERVAL } else { LOG_INTERVAL };
        if self.last_note.elapsed() < interval {
            return;
        }
        self.last_note = Instant::now();
        let seconds = self.begun.elapsed().as_secs();
        let line = format!("    {how_far}, {seconds} s");
        if self.is_terminal {
            eprint!("\r\x1b[K{line}");
            let _ = io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    /// Says that it ended well.
    pub fn end(self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
        eprintln!("  ✓ {} ({:.1} s)", self.name, self.begun.elapsed().as_secs_f64());
    }
}

/// A line about something that needs no clock.
pub fn say(line: &str) {
    eprintln!("  · {line}");
}

/// A heading.
pub fn heading(line: &str) {
    eprintln!("\n{line}");
}

/// What a command of ours was asked for, on stdout.
#[allow(clippy::print_stdout, reason = "a result for programs")]
pub fn result(path: &Path) {
    println!("{}", path.display());
}

/// The end of everything, with its causes.
pub fn failure(error: &anyhow::Error) {
    eprintln!("\nxtask: {error:#}");
}
