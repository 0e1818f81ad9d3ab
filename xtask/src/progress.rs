//! What a person reads on stderr while it works.
//!
//! Owns: how work is named, and for how long it is quiet. On a terminal one line is rewritten; where
//! there is none, a line is written now and then. Work that is done at once is not mentioned.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Work that takes less is not mentioned.
const SHORT: Duration = Duration::from_secs(1);
/// How often a line is written where there is no terminal to rewrite one on.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
/// Nothing we write ourselves is wider.
const WIDTH: usize = 100;

thread_local! {
    static IS_BESIDE: Cell<bool> = const { Cell::new(false) };
}

/// Has this thread's work go on beside other work, which says how far that is.
pub fn go_beside() {
    IS_BESIDE.set(true);
}

/// One piece of work that may take long enough to be named. While it lives, a thread says how far it
/// is; nothing else may write to stderr, but for the end of one that is done beside it.
pub struct Task {
    name: String,
    begun: Instant,
    state: Arc<(Mutex<State>, Condvar)>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    how_far: String,
    is_over: bool,
}

impl Task {
    /// Begins it.
    pub fn begin(name: &str) -> Self {
        if IS_BESIDE.get() {
            return Self::beside(name);
        }
        let begun = Instant::now();
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        let (shown, known) = (name.to_owned(), Arc::clone(&state));
        let ticker = thread::spawn(move || tick(&shown, begun, &known));
        Self { name: name.to_owned(), begun, state, ticker: Some(ticker) }
    }

    /// Begins it beside other work that says how far that is: of this one, the end is told.
    pub fn beside(name: &str) -> Self {
        let state = Arc::default();
        Self { name: name.to_owned(), begun: Instant::now(), state, ticker: None }
    }

    /// Says how far it is.
    pub fn note(&self, how_far: &str) {
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        how_far.clone_into(&mut state.how_far);
    }

    /// Says that it ended well.
    pub fn end(mut self) {
        self.stop();
        if self.begun.elapsed() >= SHORT {
            let clear = if io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
            eprintln!("{clear}  ✓ {} ({:.1} s)", self.name, self.begun.elapsed().as_secs_f64());
        }
    }

    fn stop(&mut self) {
        let Some(ticker) = self.ticker.take() else { return };
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.state.1.notify_all();
        // It only writes; what it cannot write is not missed.
        let _ = ticker.join();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.stop();
    }
}

fn tick(name: &str, begun: Instant, state: &(Mutex<State>, Condvar)) {
    let is_terminal = io::stderr().is_terminal();
    let interval = if is_terminal { TERMINAL_INTERVAL } else { LOG_INTERVAL };
    let mut wait = SHORT;
    let mut guard = state.0.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let waited = state.1.wait_timeout_while(guard, wait, |state| !state.is_over);
        guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        if guard.is_over {
            break;
        }
        let line = status(name, &guard.how_far, begun.elapsed());
        if is_terminal {
            eprint!("\r\x1b[K{line}");
            let _ = io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
        wait = interval;
    }
    if is_terminal && begun.elapsed() >= SHORT {
        eprint!("\r\x1b[K");
    }
}

/// One line, which never wraps: a wrapped one could not be rewritten.
fn status(name: &str, how_far: &str, elapsed: Duration) -> String {
    let far = if how_far.is_empty() { String::new() } else { format!(" · {how_far}") };
    let line = format!("  · {:4} s  {name}{far}", elapsed.as_secs());
    const NARROW: usize = 79;
    if line.chars().count() <= NARROW {
        return line;
    }
    line.chars().take(NARROW - 1).chain(['…']).collect()
}

/// A line about something that needs no clock.
pub fn say(line: &str) {
    eprintln!("{}", wrapped(line, "  · ", "    ", ""));
}

/// A command line that can be copied, over as many lines as it takes.
pub fn say_command(words: &str) {
    eprintln!("{}", wrapped(words, "  $ ", "      ", " \\"));
}

/// Something that must not be missed.
pub fn warn(line: &str) {
    eprintln!("{}", wrapped(line, "WARNING: ", "  ", ""));
}

/// A heading.
pub fn heading(line: &str) {
    eprintln!("\n{line}");
}

/// What stands as it was made.
pub fn block(text: &str) {
    eprintln!("\n{text}");
}

/// What a program said, on stdout.
#[allow(clippy::print_stdout, reason = "a result for programs")]
pub fn output(text: &str) {
    println!("{text}");
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

/// `text` in lines of [`WIDTH`], broken between words: `first` before the first, `further` before the
/// others, `cut` at the end of each but the last.
pub fn wrapped(text: &str, first: &str, further: &str, cut: &str) -> String {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split(' ') {
        let long = line.chars().count() + 1 + word.chars().count() + cut.chars().count() > WIDTH;
        if long && !is_empty {
            lines.push(line + cut);
            line = further.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_none_is_lost() {
        let words = vec!["word"; 100].join(" ");
        let text = wrapped(&words, "  $ ", "    ", " \\");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().count() > 4);
        let again: Vec<&str> =
            text.split_whitespace().filter(|word| !["$", "\\"].contains(word)).collect();
        assert_eq!(again.join(" "), words);
        // What does not fit stands alone.
        let long = "x".repeat(2 * WIDTH);
        assert_eq!(wrapped(&format!("a {long}"), "", "", "").lines().count(), 2);
    }

    #[test]
    fn a_status_is_one_line() {
        let line = status(&"name ".repeat(40), "17 files", Duration::from_secs(3));
        assert_eq!(line.chars().count(), 79);
        assert!(status("name", "17 files", Duration::from_secs(3)).ends_with("name · 17 files"));
    }
}
