//! How far the layers of an image are, for whoever waits: on a terminal one line for each, as Docker shows it;
//! elsewhere a line for each that is ready, and one now and then.
//!
//! Owns: what is written to standard error meanwhile. Never does: hold up the work.

use crate::error::clean;
use image::{LayerProgress, Phase};
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Where there is no terminal, a line is written this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// A terminal's lines are written anew this often.
const FRAME: Duration = Duration::from_millis(100);
/// Where nobody says how high a terminal is.
const ROWS: u16 = 24;
const BAR: usize = 30;

/// What becomes of a terminal's lines at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// They go: something else is to be seen.
    Clear,
    /// They stay: that was all.
    Keep,
}

/// Shows how far the layers are.
pub(super) struct Progress {
    quiet: bool,
    afterwards: Afterwards,
    terminal: bool,
    layers: RefCell<Vec<LayerProgress>>,
    drawn: Cell<usize>,
    last: Cell<Option<Instant>>,
}

impl Progress {
    pub(super) fn new(quiet: bool, afterwards: Afterwards) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let (layers, drawn) = Default::default();
        // What is done in a moment needs no line.
        let last = Cell::new((!terminal).then(Instant::now));
        Self { quiet, afterwards, terminal, layers, drawn, last }
    }

    pub(super) fn show(&self, now: LayerProgress) {
        if self.quiet {
            return;
        }
        let mut layers = self.layers.borrow_mut();
        let ready = now.phase == Phase::Ready;
        let name = short(&now);
        match layers.iter_mut().find(|layer| layer.index == now.index) {
            Some(layer) => *layer = now,
            None => layers.push(now),
        }
        layers.sort_by_key(|layer| layer.index);
        let due = |interval| self.last.get().is_none_or(|last: Instant| last.elapsed() >= interval);
        if self.terminal {
            if due(FRAME) {
                self.last.set(Some(Instant::now()));
                self.draw(&layers);
            }
        } else if ready && self.afterwards == Afterwards::Keep {
            write(&format!("{name}: ready\n"));
        } else if due(LINE_INTERVAL) {
            self.last.set(Some(Instant::now()));
            write(&format!("cofferdam: {}\n", summary(&layers)));
        }
    }

    /// It is done, or has failed.
    pub(super) fn end(&self) {
        if !self.terminal || self.quiet {
            return;
        }
        match self.afterwards {
            Afterwards::Keep if !self.layers.borrow().is_empty() => {
                self.draw(&self.layers.borrow())
            }
            Afterwards::Keep => {}
            Afterwards::Clear if self.drawn.get() > 0 => {
                write(&format!("\x1b[{}A\x1b[J", self.drawn.get()));
            }
            Afterwards::Clear => {}
        }
    }

    fn draw(&self, layers: &[LayerProgress]) {
        let size = crate::host::terminal_size();
        let rows = size.map_or(ROWS, |size| size.rows.max(4));
        let columns = size.map_or(80, |size| usize::from(size.columns.max(20)));
        let room = usize::from(rows) - 2;
        let mut frame = match self.drawn.get() {
            0 => String::new(),
            drawn => format!("\x1b[{drawn}A\x1b[J"),
        };
        let mut lines: Vec<String> = if layers.len() <= room {
            layers.iter().map(line).collect()
        } else {
            // As many as there is room for, of those that are worked at.
            let active = layers.iter().filter(|layer| layer.phase != Phase::Ready);
            active.take(room - 1).map(line).collect()
        };
        if layers.len() > room || self.afterwards == Afterwards::Clear {
            lines.push(format!("cofferdam: {}", summary(layers)));
        }
        for line in &lines {
            let line: String = line.chars().take(columns - 1).collect();
            let _ = writeln!(frame, "{line}");
        }
        write(&frame);
        self.drawn.set(lines.len());
    }
}

/// Where standard error is closed there is nobody to tell.
fn write(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn line(layer: &LayerProgress) -> String {
    let name = short(layer);
    let (done, total) = (layer.done_bytes, layer.total_bytes);
    let word = match layer.phase {
        Phase::Fetching => "fetching ",
        Phase::Unpacking => "unpacking",
        Phase::Ready => return format!("{name}: ready"),
    };
    format!("{name}: {word} [{}] {}/{}", bar(done, total), bytes(done), bytes(total))
}

fn bar(done: u64, total: u64) -> String {
    let share = u128::from(done) * BAR as u128 / u128::from(total.max(1));
    let filled = usize::try_from(share).unwrap_or(BAR).min(BAR);
    let head = if filled < BAR { ">" } else { "" };
    format!("{}{head}{}", "=".repeat(filled), " ".repeat(BAR - filled - head.len()))
}

fn summary(layers: &[LayerProgress]) -> String {
    let ready = layers.iter().filter(|layer| layer.phase == Phase::Ready).count();
    let count = layers.first().map_or(0, |layer| layer.count);
    let fetching = layers.iter().any(|layer| layer.phase == Phase::Fetching);
    let word = if fetching { "fetching" } else { "unpacking" };
    let at_work = layers.iter().filter(|layer| layer.phase != Phase::Ready);
    let (done, total) = at_work
        .fold((0, 0), |(done, total), layer| (done + layer.done_bytes, total + layer.total_bytes));
    format!("{word}: {ready} of {count} layers ready, at {} of {}", bytes(done), bytes(total))
}

/// What Docker shows of a layer's digest.
fn short(layer: &LayerProgress) -> String {
    clean(&layer.name.hex().chars().take(12).collect::<String>())
}

/// A number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut unit = 0;
    let mut tenths = count.saturating_mul(10);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).unwrap_or(&"");
    if unit == 0 || tenths >= 1000 {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_readable() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (150 << 20, "150 MiB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        assert!(bytes(u64::MAX).ends_with("GiB"));
    }

    #[test]
    fn bars_are_of_one_length() {
        for (done, total) in [(0, 0), (0, 9), (5, 9), (9, 9), (10, 9), (u64::MAX, 1)] {
            assert_eq!(bar(done, total).len(), BAR, "{done} of {total}");
        }
        assert!(bar(9, 9).ends_with('=') && bar(8, 9).contains('>'));
    }
}
