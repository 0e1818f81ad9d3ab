//! Directories of the outer container, as a file system of the guest.
//!
//! ```text
//!   a chain of virtio-fs ─▶ the library's FUSE server ─▶ file_system ─┬─ names        what is in a directory
//!                                                                     ├─ listing      all that is in it
//!                                                                     ├─ contents     what is in a file
//!                                                                     └─ attributes   what is known of either
//!                                                          inodes      each file that the guest knows, by number
//!                                                          owners      whose it is, to the guest
//! ```
//!
//! The guest is hostile, and so may whoever else writes to the directories be: what is opened is opened by one name in
//! a directory that is open already, no link is followed, nothing but files and directories is ever opened for more
//! than to be looked at, and every number that comes from the guest has a limit. Below what it is handed a
//! [`SharedDirectories`] reaches everything that its process may; above it, nothing.
//!
//! Never does: become another user. All that is made belongs to who runs this, and what the guest is shown of owners
//! and modes beyond that stands beside the file (`owners`).

mod attributes;
mod contents;
mod file_system;
#[cfg(feature = "fuzzing")]
#[allow(clippy::expect_used, clippy::panic, reason = "what is checked fails by a panic")]
pub mod fuzzing;
mod inodes;
mod listing;
mod names;
mod owners;
mod sys;
mod tree;

#[cfg(test)]
mod tests;

use fuse_backend_rs::api::server::{MAX_BUFFER_SIZE, Server};
use fuse_backend_rs::transport::{Reader, VirtioFsWriter, Writer};
use std::os::fd::OwnedFd;
use tree::Tree;
use vm_memory::GuestMemoryMmap;
use vmm::virtio::Chain;
use vmm::virtio::file_system::Responder;

/// The most that a request or an answer has beside what is read or written, in bytes.
const OVERHEAD_BYTES: u64 = 8192;
/// The most that either is, in bytes.
const MOST_BYTES: u64 = MAX_BUFFER_SIZE as u64 + OVERHEAD_BYTES;

/// One directory, or file, that is shared.
#[derive(Debug)]
pub struct Share {
    /// It, open with `O_PATH`.
    pub root: OwnedFd,
    /// Whether nothing in it may be changed.
    pub readonly: bool,
    /// What the guest's ids are more than those that it is shown by: the first id of a user namespace.
    pub first_id: u32,
}

/// All directories that a sandbox shares: one file system, in whose root each stands under its number.
pub struct SharedDirectories(Server<Tree>);

impl SharedDirectories {
    /// Shares these, with at most so many files open at a time.
    pub fn new(shares: Vec<Share>, most_open: usize) -> Self {
        Self(Server::new(Tree::new(shares, most_open)))
    }
}

impl std::fmt::Debug for SharedDirectories {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SharedDirectories").finish_non_exhaustive()
    }
}

impl Responder for SharedDirectories {
    fn answer(&self, memory: &GuestMemoryMmap<()>, chain: Chain<'_>) -> u32 {
        let length = |writable| {
            let parts = chain.clone().filter(|part| part.is_write_only() == writable);
            parts.map(|part| u64::from(part.len())).sum::<u64>()
        };
        // What the library reads and allocates is bounded by this.
        if length(false) > MOST_BYTES || length(true) > MOST_BYTES {
            return 0;
        }
        let Ok(reader) = Reader::from_descriptor_chain(memory, chain.clone()) else { return 0 };
        let Ok(writer) = VirtioFsWriter::new(memory, chain) else { return 0 };
        // A request that makes no sense has no answer: its driver waits for one, and that is its own affair.
        let written = self.0.handle_message(reader, Writer::VirtioFs(writer), None, None);
        written.ok().and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(0)
    }
}
