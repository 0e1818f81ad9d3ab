//! The Unix sockets in a sandbox's directory that lead to its container's (`--publish-socket`).
//!
//! Owns: where they are, and that they are open to their own user alone. Never does: let anybody in.

use crate::plan::socket::{MAX_PATH_BYTES, name};
use crate::state::{StateError, at};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "sockets";
/// So many may wait to be let in: a client that finds no place there fails.
const BACKLOG: i32 = 1024;

/// Where a socket of the container's is reached.
pub fn outside(directory: &Path, inside: &str) -> PathBuf {
    directory.join(DIRECTORY).join(name(inside).unwrap_or_default())
}

/// Makes them all.
///
/// # Errors
/// Where one cannot be made, also for that its path is longer than any client may say.
pub fn make(directory: &Path, inside: &[String]) -> Result<Vec<OwnedFd>, StateError> {
    if inside.is_empty() {
        return Ok(Vec::new());
    }
    let place = directory.join(DIRECTORY);
    std::fs::create_dir(&place).map_err(at("make", &place))?;
    inside.iter().map(|inside| make_one(&outside(directory, inside))).collect()
}

fn make_one(path: &Path) -> Result<OwnedFd, StateError> {
    let length = path.as_os_str().len();
    if length > MAX_PATH_BYTES {
        let long = format!(
            "its path has {length} bytes, and a socket's {MAX_PATH_BYTES} at most: a shorter --state-dir helps"
        );
        return Err(at("make", path)(io::Error::other(long)));
    }
    let made = || -> Result<OwnedFd, Errno> {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // The file takes it over, whatever this process's mask leaves to others.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    made().map_err(|errno| at("make", path)(errno.into()))
}

/// Removes them from a directory that stays.
pub fn remove(directory: &Path) {
    // What cannot be removed leads nobody anywhere.
    let _ = std::fs::remove_dir_all(directory.join(DIRECTORY));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    #[test]
    fn they_are_there_for_their_user_until_they_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let sockets = make(place.path(), &["/run/a.sock".to_owned(), "/b".to_owned()]).unwrap();
        assert_eq!(sockets.len(), 2);
        let path = outside(place.path(), "/run/a.sock");
        assert_eq!(path, place.path().join("sockets/a.sock"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        remove(place.path());
        assert!(!place.path().join("sockets").exists());
        assert!(make(place.path(), &[]).unwrap().is_empty());
        assert!(!place.path().join("sockets").exists(), "there is nothing to be in it");
    }

    #[test]
    fn a_path_that_nobody_can_say_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("d".repeat(100));
        std::fs::create_dir(&deep).unwrap();
        let refused = make(&deep, &["/a".to_owned()]).unwrap_err();
        let words = crate::error::chain(&refused);
        assert!(words.contains("a shorter --state-dir helps"), "{words}");
    }
}
