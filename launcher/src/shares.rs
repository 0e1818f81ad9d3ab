//! The directories and files of this place that a sandbox is given.
//!
//! Owns: them, open, and the process that serves them. Never does: look into them.

use crate::cli::RunArgs;
use crate::error::{Explain, Failure};
use crate::jail::share::{ShareStart, SharedRoot};
use crate::jail::{Child, Role, spawn};
use crate::plan::{profile, security, share};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the process may take to end, once nobody is at the other end of its connection.
const LAST_MOMENTS: Duration = Duration::from_secs(3);

/// Why something cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It is not there, or not to be reached.
    #[error("cannot share {path}")]
    Open {
        /// What was named.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// Another kernel could do nothing with it.
    #[error("cannot share {path}: it is neither a directory nor a file")]
    Kind {
        /// What was named.
        path: PathBuf,
    },
    /// There is no way between the guest and the process.
    #[error("cannot connect the process that shares directories")]
    Connect(#[source] Errno),
}

impl Explain for ShareError {
    fn hint(&self) -> Option<String> {
        match self {
            ShareError::Open { path, source: Errno::NOENT } => {
                Some(format!("it has to be there: mkdir -p {}", path.display()))
            }
            ShareError::Kind { .. } => Some(
                "a socket, a pipe or a device leads to this place's kernel, not to files".into(),
            ),
            _ => None,
        }
    }
}

/// The process that serves them, and the machine's end of its connection.
#[derive(Debug)]
pub struct Shares {
    connection: Option<OwnedFd>,
    process: Child,
}

impl Shares {
    /// Opens what was typed and starts the process; `None` where nothing was. Before the launcher walls itself in: it
    /// is to reach what this process never will.
    ///
    /// # Errors
    /// For the first that cannot be shared.
    pub fn start(args: &RunArgs) -> Result<Option<Self>, Failure> {
        let mounts = share::shares(args)?;
        if mounts.is_empty() {
            return Ok(None);
        }
        let own_users = security::has_own_users(args, profile::is_strict(args)?);
        let first_id = if own_users { protocol::FIRST_USER_ID } else { 0 };
        let mut roots = Vec::new();
        let mut shares = Vec::new();
        for mount in mounts {
            roots.push(open(&mount.source)?);
            shares.push(SharedRoot { readonly: mount.readonly, first_id });
        }
        let (ours, theirs) = pair().map_err(ShareError::Connect)?;
        let mut files: Vec<BorrowedFd<'_>> = vec![theirs.as_fd()];
        files.extend(roots.iter().map(AsFd::as_fd));
        let process = spawn(Role::Share, &ShareStart { shares }, &files).map_err(Failure::plain)?;
        Ok(Some(Self { connection: Some(ours), process }))
    }

    /// The machine's end of the connection. Once.
    pub fn take_connection(&mut self) -> Option<OwnedFd> {
        self.connection.take()
    }

    /// The process: it ends before its machine only if it fails.
    pub fn process(&self) -> &Child {
        &self.process
    }
}

impl Drop for Shares {
    fn drop(&mut self) {
        // It ends by itself: from behind its own walls, this process may not be able to end it.
        self.connection = None;
        self.process.end(LAST_MOMENTS);
    }
}

fn open(path: &Path) -> Result<OwnedFd, ShareError> {
    let failed = |source| ShareError::Open { path: path.to_owned(), source };
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let file = file.map_err(failed)?;
    let stat = rustix::fs::fstat(&file).map_err(failed)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory | FileType::RegularFile => Ok(file),
        _ => Err(ShareError::Kind { path: path.to_owned() }),
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}
