//! When the stages of a run were reached, for `--timings FILE`.

use crate::accelerator::kvm_counts::KvmCounts;
use crate::supervisor::Timings;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Measures the stages of one run: each ends where the next begins, so that they sum to the total.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    last: Instant,
    stages: Vec<(&'static str, Duration)>,
    kernel: Option<Duration>,
    counts: Option<KvmCounts>,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { started: now, last: now, stages: Vec::new(), kernel: None, counts: None }
    }

    /// The stage of this name ends now.
    pub fn reached(&mut self, stage: &'static str) {
        self.reached_at(stage, Some(Instant::now()));
    }

    /// The stages that the supervisor saw.
    pub fn supervised(&mut self, timings: &Timings) {
        self.kernel = timings.kernel;
        self.reached_at("boot", timings.agent);
        self.reached_at("container", timings.started);
        self.reached_at("process", timings.exited);
    }

    /// What KVM counted of the machine.
    pub fn counted(&mut self, counts: Option<KvmCounts>) {
        self.counts = counts;
    }

    fn reached_at(&mut self, stage: &'static str, at: Option<Instant>) {
        if let Some(at) = at {
            self.stages.push((stage, at.saturating_duration_since(self.last)));
            self.last = at;
        }
    }

    /// Writes them as JSON, milliseconds each.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn write(&self, mut file: &File) -> io::Result<()> {
        let ms = |duration: Duration| json!(duration.as_secs_f64() * 1000.0);
        let stages: Map<String, Value> =
            self.stages.iter().map(|(name, took)| ((*name).to_owned(), ms(*took))).collect();
        let document = json!({
            "version": 1,
            "total_ms": ms(self.last.saturating_duration_since(self.started)),
            "guest_kernel_ms": self.kernel.map(ms),
            "stages_ms": stages,
            "kvm": self.counts,
        });
        file.write_all(format!("{document:#}\n").as_bytes())
    }
}
