//! The threads that make an image's layers, and the calling one, which tells how far they are.
//!
//! Owns: who makes which layer when, and that all stop where one fails. Never does: make a layer.

use super::making::Bench;
use super::{LayerError, LayerProgress, Phase};
use crate::source::LayerSource;
use crate::store::StoredLayer;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How many layers a registry is asked for at once: what Docker asks for.
const DOWNLOADS: usize = 3;

/// What is to be done, as the calling thread sees it.
pub(super) struct Work<'a> {
    pub(super) progress: &'a dyn Fn(LayerProgress),
    pub(super) layers: &'a [LayerSource],
    pub(super) missing: &'a [usize],
}

/// What a thread tells.
enum Event {
    /// It works at a layer: how far is seen by a file.
    Began(usize, Phase, File),
    Ended(usize, Box<Result<StoredLayer, LayerError>>),
}

impl Work<'_> {
    pub(super) fn run(&self, bench: Bench<'_>, found: &mut [Result<StoredLayer, LayerError>]) {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let crew = if bench.remote.is_some() { cpus.max(DOWNLOADS) } else { cpus };
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let (layers, missing) = (self.layers, self.missing);
        thread::scope(|scope| {
            let (events, told) = channel();
            for number in 0..crew.min(missing.len()) {
                let (events, next, stop) = (events.clone(), &next, &stop);
                let spawned = thread::Builder::new().spawn_scoped(scope, move || {
                    while !stop.load(Ordering::Relaxed)
                        && let Some(&index) = missing.get(next.fetch_add(1, Ordering::Relaxed))
                        && let Some(layer) = layers.get(index)
                    {
                        let began = |phase, file: &File| {
                            if let Ok(file) = file.try_clone() {
                                let _ = events.send(Event::Began(index, phase, file));
                            }
                        };
                        let result = bench.make(layer, stop, &began);
                        if result.is_err() {
                            stop.store(true, Ordering::Relaxed);
                        }
                        let _ = events.send(Event::Ended(index, Box::new(result)));
                    }
                });
                // Fewer threads do as well, but none does nothing.
                if let Err(error) = spawned {
                    let first = missing.first().and_then(|&index| found.get_mut(index));
                    if let Some(slot) = first.filter(|_| number == 0) {
                        *slot = Err(LayerError::Thread(error));
                    }
                    break;
                }
            }
            drop(events);
            self.watch(&told, found);
        });
    }

    /// Tells of progress until all threads have ended.
    fn watch(&self, told: &Receiver<Event>, found: &mut [Result<StoredLayer, LayerError>]) {
        let mut running: Vec<(usize, Phase, File)> = Vec::new();
        loop {
            match told.recv_timeout(PROGRESS_INTERVAL) {
                Ok(Event::Began(index, phase, file)) => {
                    running.retain(|(other, ..)| *other != index);
                    let done = match phase {
                        Phase::Fetching => self.done(index, phase, &file),
                        Phase::Unpacking | Phase::Ready => 0,
                    };
                    self.tell(index, phase, done);
                    running.push((index, phase, file));
                }
                Ok(Event::Ended(index, result)) => {
                    running.retain(|(other, ..)| *other != index);
                    if result.is_ok() {
                        self.tell(index, Phase::Ready, u64::MAX);
                    }
                    if let Some(slot) = found.get_mut(index) {
                        *slot = *result;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    for (index, phase, file) in &running {
                        self.tell(*index, *phase, self.done(*index, *phase, file));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// How many bytes of a layer have been seen to.
    fn done(&self, index: usize, phase: Phase, file: &File) -> u64 {
        match phase {
            // What is fetched makes its file longer.
            Phase::Fetching => file.metadata().map_or(0, |metadata| metadata.len()),
            // What is unpacked is read in order.
            Phase::Unpacking | Phase::Ready => {
                let begin = self.layers.get(index).map_or(0, LayerSource::offset);
                rustix::fs::tell(file).unwrap_or(0).saturating_sub(begin)
            }
        }
    }

    fn tell(&self, index: usize, phase: Phase, done_bytes: u64) {
        let Some(layer) = self.layers.get(index) else { return };
        let (count, total_bytes) = (self.layers.len(), layer.length);
        let done_bytes = done_bytes.min(total_bytes);
        let name = layer.name();
        (self.progress)(LayerProgress { index, count, name, phase, done_bytes, total_bytes });
    }
}
