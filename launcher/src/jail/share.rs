//! The share process: serves all directories of a sandbox to its guest, and reaches what is below them, and nothing else.
//!
//! It is started before the launcher walls itself in, and so is not within the launcher's walls: it makes calls that
//! nobody else does, at places that nobody else reaches. Its own are as narrow.

use super::channel::{Channel, ChannelError};
use super::filter::List;
use super::landlock::{Reach, close_in};
use super::machine::watch_launcher;
use super::walls::Walls;
use super::{JailError, confine_thread, filter_calls};
use ::share::{Share, SharedDirectories};
use ::vmm::{ThreadKind, Threads};
use rustix::process::Resource;
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::sync::Arc;

/// What it needs of descriptors beside the files of the guest: its own, and what its connection brings.
const OTHER_DESCRIPTORS: u64 = 64;

/// The first message. Its open files are the connection's end, then each share's root.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShareStart {
    /// Each share.
    pub shares: Vec<SharedRoot>,
}

/// A share, beside its root.
#[derive(Debug, Serialize, Deserialize)]
pub struct SharedRoot {
    /// Whether nothing in it may be changed.
    pub readonly: bool,
    /// The first id of its container's user namespace, or 0.
    pub first_id: u32,
}

/// What the process does, until its connection ends, or the launcher.
///
/// # Errors
/// Where the launcher cannot be heard, or the process not be walled in.
pub fn run(channel: Channel) -> Result<(), JailError> {
    let (ShareStart { shares }, descriptors) = channel.receive()?;
    let mut descriptors = descriptors.into_iter();
    let connection = descriptors.next().ok_or(ChannelError::Closed)?;
    let shares: Vec<Share> = shares
        .into_iter()
        .zip(descriptors)
        .map(|(SharedRoot { readonly, first_id }, root)| Share { root, readonly, first_id })
        .collect();
    let below = shares.iter().map(|share| (share.root.as_fd(), !share.readonly)).collect();
    close_in(Walls::here(), &Reach { below, ..Reach::default() })?;
    filter_calls(List::ShareStart)?;
    #[cfg(feature = "trial")]
    super::trial::attempt(super::Role::Share.process_name());
    let most = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = usize::try_from(most.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(usize::MAX);
    let directories = Arc::new(SharedDirectories::new(shares, most));
    let channel = Arc::new(channel);
    watch_launcher(&channel);
    let threads = Threads::confined_by(confine);
    // How a connection broke is nobody's to know: whoever was at its other end says how that ended.
    let served = ::vmm::vhost_user_devices::serve_file_system(
        protocol::SHARES_TAG,
        directories,
        connection.into(),
        threads,
    );
    // Not taken apart: threads that end make calls that none of them may make.
    crate::sys::exit_now(i32::from(served.is_err()));
}

fn confine(kind: ThreadKind) {
    confine_thread(match kind {
        ThreadKind::FileSystem => List::Share,
        _ => List::ShareMain,
    });
}
