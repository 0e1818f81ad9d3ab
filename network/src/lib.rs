//! A guest's network without privilege: what the frames of a guest become outside, and what comes back.
//!
//! Owns: the guest's side of each flow. Never does: map guest memory, or believe a length in a frame.
//!
//! ```text
//!   guest ── frames ──▶ packets ──▶ flow of this 5-tuple ──▶ a socket outside, which never waits
//! ```

pub mod config;
mod flow;
mod fragments;
mod link;
mod names;
mod outside;
mod owner;
mod packet;
mod policy;
mod reactor;
mod refusals;
mod route;
mod tcp;

pub use owner::{Counts, Order, Owner, Passed, Word};
pub use reactor::Reactor as Network;
pub use refusals::Refusal;

use config::Publication;
use std::io;

/// Reads bytes that anybody may have made as the answer of a name server.
pub fn read_hostile(bytes: &[u8]) {
    names::read(bytes);
    names::read_all(&mut bytes.to_vec());
}

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
