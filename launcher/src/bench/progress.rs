//! How far it is: one line that changes on a terminal, a line now and then elsewhere.

use ::bench::{Schedule, Step};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Where nothing changes a line, one is written so often.
const NOW_AND_THEN: Duration = Duration::from_secs(30);

/// What is told on standard error.
#[derive(Debug)]
pub struct Progress {
    layers: Vec<String>,
    begun: Instant,
    told: Option<Instant>,
    done: usize,
    terminal: bool,
}

impl Progress {
    /// Nothing is done yet.
    pub fn new(layers: Vec<String>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { layers, begun: Instant::now(), told: None, done: 0, terminal }
    }

    /// A step begins.
    pub fn step(&mut self, workload: &str, step: Step, schedule: Schedule) {
        let rounds = schedule.warmups + schedule.repeats;
        let all = rounds * schedule.workloads * schedule.layers;
        let left = left(self.begun.elapsed(), self.done, all);
        self.done += 1;
        let layer = self.layers.get(step.layer).map_or("", String::as_str);
        let round = if schedule.keeps(step) { "round" } else { "warm-up" };
        let number = if schedule.keeps(step) { step.round - schedule.warmups } else { step.round };
        let done = self.done;
        self.say(&format!("{done}/{all} · {round} {} · {workload} at {layer}{left}", number + 1));
    }

    fn say(&mut self, line: &str) {
        let due = self.told.is_none_or(|told| told.elapsed() >= NOW_AND_THEN);
        if !self.terminal && !due {
            return;
        }
        self.told = Some(Instant::now());
        let (before, after) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        let _ = write!(std::io::stderr(), "{before}{line}{after}");
    }

    /// A piece of work is counted.
    pub fn counting(&mut self, work: &str, layer: usize) {
        let layer = self.layers.get(layer).map_or("", String::as_str);
        let work = work.split(':').next().unwrap_or_default();
        self.say(&format!("surface · {work} at {layer}"));
    }

    /// Nothing more comes.
    pub fn end(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// How long the rest takes if it goes on like this; nothing as long as too little is done to say.
fn left(elapsed: Duration, done: usize, all: usize) -> String {
    if done < 3 {
        return String::new();
    }
    let seconds = elapsed.as_secs_f64() / done as f64 * all.saturating_sub(done) as f64;
    if seconds >= 90.0 {
        format!(" · {:.0} min left", seconds / 60.0)
    } else {
        format!(" · {seconds:.0} s left")
    }
}
