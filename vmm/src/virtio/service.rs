//! A device's queues in the hands of a thread that serves them.
//!
//! Owns: the begin of that, and its end, after which the queues are back. Never does: know what is served.

use super::stop::Stop;
use super::{ActivateError, VirtQueue};
use crate::threads::{Crew, Working};
use std::sync::Arc;

/// Queues that are served until the device is reset, or is no more; or none yet.
#[derive(Debug, Default)]
pub struct Service(Option<Serving>);

#[derive(Debug)]
struct Serving {
    stop: Arc<Stop>,
    thread: Working<Vec<VirtQueue>>,
}

impl Service {
    /// Has one of a crew's threads do what `make` makes of the order to stop: to serve until that is given, and to give the
    /// queues back.
    ///
    /// # Errors
    /// [`ActivateError::Watch`], and those of `make`.
    pub fn begin<W>(
        crew: &Crew,
        make: impl FnOnce(&Arc<Stop>) -> Result<W, ActivateError>,
    ) -> Result<Self, ActivateError>
    where
        W: FnOnce() -> Vec<VirtQueue> + Send + 'static,
    {
        let stop = Arc::new(Stop::new().map_err(ActivateError::Watch)?);
        let thread = crew.tasks().hand(make(&stop)?);
        Ok(Self(Some(Serving { stop, thread })))
    }

    /// Ends it. Gives the queues back, their positions kept; none where nothing was served, or the thread has failed.
    pub fn end(&mut self) -> Vec<VirtQueue> {
        let Some(Serving { stop, thread }) = self.0.take() else { return Vec::new() };
        stop.tell();
        thread.join().unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}
