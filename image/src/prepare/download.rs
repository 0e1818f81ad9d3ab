//! The fetching of one layer's bytes, as often as it takes.
//!
//! Owns: where to ask next and when to give up. What was fetched before is not fetched again: by another attempt,
//! by another run, or by another process, for which this one waits.

use super::making::{Began, Bench};
use super::{LayerError, Phase};
use crate::digest::Digest;
use crate::fetch::{Ask, FetchError, FetchFailure};
use crate::store::Download;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long to wait before each further attempt that got nowhere. One that brought something begins anew.
const WAITS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// How often it is looked whether there is still a reason to wait.
const PACE: Duration = Duration::from_millis(100);

impl Bench<'_> {
    /// A file with a layer's bytes, as many as were promised. Nobody has looked yet which they are.
    pub(super) fn download(
        &self,
        blob: &Digest,
        length: u64,
        stop: &AtomicBool,
        began: Began<'_>,
    ) -> Result<Download, LayerError> {
        let download = self.store.download(blob)?;
        if download.length()? > length {
            download.clear()?;
        }
        began(Phase::Fetching, download.file());
        let mut waits = WAITS.iter();
        loop {
            let from = download.length()?;
            if from == length {
                return Ok(download);
            }
            if length - from > self.store.room_bytes()? {
                self.store.is_full_by_its_volume()?;
                return Err(FetchFailure::Registry(FetchError::NoRoom).into());
            }
            let asked = self.ask_everywhere(blob, length, &download, stop);
            let got = download.length()?;
            // Whoever fetched is believed in nothing: neither that all has come, nor that no more has.
            if got > length {
                download.clear()?;
                return Err(FetchFailure::Registry(FetchError::TooLong(length)).into());
            }
            let failure = match asked {
                Ok(()) if got == length => continue,
                Ok(()) => FetchError::Cut { got, expected: length }.into(),
                Err(failure) => failure,
            };
            if !failure.is_passing() {
                return Err(failure.into());
            }
            if got > from {
                waits = WAITS.iter();
            }
            let Some(wait) = waits.next() else { return Err(failure.into()) };
            pause(*wait, stop)?;
        }
    }

    /// Asks each place in turn for what is missing, until one has brought it; the last one's failure counts.
    fn ask_everywhere(
        &self,
        blob: &Digest,
        length: u64,
        download: &Download,
        stop: &AtomicBool,
    ) -> Result<(), FetchFailure> {
        let mut failed = FetchFailure::NoPlace;
        let remote = self.remote.iter();
        for (remote, access) in
            remote.flat_map(|remote| remote.places.iter().map(move |a| (remote, a)))
        {
            let from = download.length().map_err(|error| FetchFailure::Process(error.into()))?;
            let ask = Ask::Blob { digest: blob.clone(), from, length };
            let asked = remote
                .fetcher
                .open(access)
                .and_then(|mut line| line.ask(&ask, download.file(), stop));
            match asked {
                Ok(_) => return Ok(()),
                Err(FetchFailure::Stopped) => return Err(FetchFailure::Stopped),
                Err(failure) => failed = failure,
            }
        }
        Err(failed)
    }
}

/// Waits, unless there is no more reason to.
fn pause(time: Duration, stop: &AtomicBool) -> Result<(), LayerError> {
    let mut left = time;
    while !left.is_zero() {
        if stop.load(Ordering::Relaxed) {
            return Err(FetchFailure::Stopped.into());
        }
        let step = left.min(PACE);
        thread::sleep(step);
        left -= step;
    }
    Ok(())
}
