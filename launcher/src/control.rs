//! How a sandbox that runs is reached: a socket in its directory, on which its supervisor listens.
//!
//! Owns: that socket, which is open to its own user alone, and the way to it by a sandbox's name. Never does: ask whoever
//! comes who they are.
//!
//! What is said there is what [`crate::session`] has, after a [`ControlRequest`](crate::session::ControlRequest).

use crate::error::{Explain, Failure};
use crate::jail::channel::{Channel, ChannelError};
use crate::session::SupervisorMessage;
use crate::state::{Sandboxes, StateError, at};
use protocol::ContainerId;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of the socket.
const NAME: &str = "control";
/// So many may wait to be let in.
const BACKLOG: i32 = 64;

/// Why a sandbox that runs cannot be asked for anything.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It has ended, or is not ready yet.
    #[error("sandbox {0} does not run")]
    NotRunning(ContainerId),
    /// Its supervisor is gone.
    #[error("sandbox {0} was lost: its cofferdam is gone")]
    Lost(ContainerId),
    /// It says nothing, for so many seconds.
    #[error("sandbox {0} did not answer within {1} s")]
    Silent(ContainerId, u64),
    /// Its supervisor does not take what it was asked, or says what makes no sense.
    #[error("cannot speak to the cofferdam of sandbox {0}")]
    Channel(ContainerId, #[source] ChannelError),
}

impl Explain for ControlError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning(_) | Self::Lost(_) => Some("cofferdam ps lists those that run".into()),
            Self::Channel(_, ChannelError::TooLong) => {
                Some("write what is long to a file that the container reads".into())
            }
            Self::Channel(..) | Self::Silent(..) => None,
        }
    }
}

/// A sandbox that runs, and the way to its supervisor.
#[derive(Debug)]
pub struct RunningSandbox {
    id: ContainerId,
    channel: Channel,
}

impl RunningSandbox {
    /// The one that a user named so.
    ///
    /// # Errors
    /// Where there is none, or [`ControlError::NotRunning`].
    pub fn reach(state_dir: &Path, wanted: &str) -> Result<Self, Failure> {
        let (id, directory) = Sandboxes::open(state_dir)?.directory_of(wanted)?;
        let channel = reach(&directory)?.ok_or_else(|| ControlError::NotRunning(id.clone()))?;
        Ok(Self { id, channel })
    }

    /// The same; `None` where it does not run.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn if_running(state_dir: &Path, wanted: &str) -> Result<Option<Self>, StateError> {
        let (id, directory) = Sandboxes::open(state_dir)?.directory_of(wanted)?;
        Ok(reach(&directory)?.map(|channel| Self { id, channel }))
    }

    /// Whether its supervisor is gone within this time, whatever it says until then.
    pub fn ends_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match crate::wait::readable_within(self.channel.as_fd(), left) {
                Ok(true) => {
                    if self.channel.receive::<SupervisorMessage>().is_err() {
                        return true;
                    }
                }
                _ => return false,
            }
        }
    }

    /// Asks its supervisor for something.
    ///
    /// # Errors
    /// Where it does not take that.
    pub fn ask(&self, what: &impl Serialize, files: &[BorrowedFd<'_>]) -> Result<(), ControlError> {
        self.channel.send(what, files).map_err(|error| self.failed(error))
    }

    /// What it says.
    ///
    /// # Errors
    /// Where it says nothing any more, or what makes no sense.
    pub fn hear<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ControlError> {
        self.channel.receive().map_err(|error| self.failed(error))
    }

    /// Whose identifier it is.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The number of its supervisor's process, as this process sees it; `None` where it does not.
    pub fn supervisor(&self) -> Option<u32> {
        crate::sys::peer_of(self.channel.as_fd())
    }

    /// The way to it.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What is wrong where that way is.
    pub fn failed(&self, error: ChannelError) -> ControlError {
        match error {
            ChannelError::Closed => ControlError::Lost(self.id.clone()),
            other => ControlError::Channel(self.id.clone(), other),
        }
    }
}

/// A socket that is listened on.
#[derive(Debug)]
pub struct Control(OwnedFd);

impl Control {
    /// Makes it in a sandbox's directory, with which it goes.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn listen(directory: &Path) -> Result<Self, StateError> {
        let made = || -> Result<OwnedFd, Errno> {
            let socket = socket()?;
            let (_directory, address) = address(directory)?;
            // The file takes it over, whatever this process's mask leaves to others.
            rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
            bind(&socket, &address)?;
            listen(&socket, BACKLOG)?;
            Ok(socket)
        };
        made().map(Self).map_err(|errno| at("make", &directory.join(NAME))(errno.into()))
    }

    /// Lets in whoever is next. Call it when there is somebody.
    pub fn accept(&self) -> Option<Channel> {
        let flags = SocketFlags::CLOEXEC;
        accept_with(&self.0, flags).ok().map(Channel::from_fd)
    }

    /// The same, where there may be nobody.
    pub fn accept_waiting(&self) -> Option<Channel> {
        let is_there = crate::wait::readable_within(&self.0, Duration::ZERO);
        if is_there == Ok(true) { self.accept() } else { None }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Removes it from a directory that stays. Nobody listens any more.
pub fn remove(directory: &Path) {
    // What cannot be removed leads nobody anywhere.
    let _ =
        rustix::fs::unlinkat(rustix::fs::CWD, directory.join(NAME), rustix::fs::AtFlags::empty());
}

/// Goes there by the sandbox's directory; `None` where nobody listens.
pub(crate) fn reach(directory: &Path) -> Result<Option<Channel>, StateError> {
    let reached = || -> Result<OwnedFd, Errno> {
        let socket = socket()?;
        let (_directory, address) = address(directory)?;
        connect(&socket, &address)?;
        Ok(socket)
    };
    match reached() {
        Ok(socket) => Ok(Some(Channel::from_fd(socket))),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(errno) => Err(at("reach", &directory.join(NAME))(errno.into())),
    }
}

fn socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// By way of the open directory: a socket's address has room for 107 bytes, and a path may be longer.
fn address(directory: &Path) -> Result<(OwnedFd, SocketAddrUnix), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::open(directory, flags, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{NAME}", open.as_raw_fd()))?;
    Ok((open, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_reached_however_long_its_path_is() {
        let scratch = tempfile::tempdir().unwrap();
        let deep = scratch.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        assert!(reach(&deep).unwrap().is_none(), "nobody listens");
        let control = Control::listen(&deep).unwrap();
        let mode = std::fs::metadata(deep.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let client = reach(&deep).unwrap().unwrap();
        let server = control.accept().unwrap();
        client.send(&7u32, &[]).unwrap();
        assert_eq!(server.receive::<u32>().unwrap().0, 7);
        assert_eq!(crate::sys::peer_of(client.as_fd()), Some(std::process::id()));
        drop(control);
        assert!(reach(&deep).unwrap().is_none(), "whoever listened was killed");
        assert!(reach(&scratch.path().join("none")).unwrap().is_none());
    }
}
