//! `cofferdam cp`: files and directories into a sandbox that runs, or out of it, as a tar archive that a copier of the
//! guest agent's makes or takes in the container.
//!
//! Owns: which way it goes, this side of it, and who is to be believed where both sides fail. Never does: believe an
//! archive; what it may become is [`tarball`]'s, and this process reaches nothing but what is copied, or where to.

use crate::cli::cp::CpArgs;
use crate::control::{ControlError, RunningSandbox};
use crate::error::{Explain, Failure, clean, say, shortened};
use crate::jail::channel::ChannelError;
use crate::jail::{self, Reach};
use crate::pull::progress::bytes;
use crate::session::{ControlRequest, CopyRequest, Ending, MAX_TEXT_BYTES, SupervisorMessage};
use rustix::fs::{Mode, OFlags};
use rustix::termios::isatty;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use tarball::{Copied, CopyError, Into, Options, TarError};

/// Far more than what the allocator takes from its heap: where such buffers come from is then the same each time.
const BUFFER_BYTES: usize = 1 << 20;
/// What is done where the archive is for standard output.
const TO_OUTPUT: &str = "write to standard output";

/// Why nothing was copied, or not all.
#[derive(Debug, thiserror::Error)]
pub enum CopyFailure {
    /// Both sides of it are of one kind.
    #[error("{0:?} and {1:?}: one of them must be in a sandbox, and one of them must not")]
    OneKind(OsString, OsString),
    /// A path in a sandbox that no message can hold.
    #[error("{0:?} is no text without null characters")]
    NoText(OsString),
    /// The copier says why.
    #[error("in the sandbox: {0}")]
    Inside(String),
    /// It does not.
    #[error("the copier in the sandbox ended with {0}")]
    Ended(u8),
    /// This side says why.
    #[error(transparent)]
    Here(#[from] CopyError),
    /// Standard input or output failed.
    #[error("cannot {0}")]
    Stream(&'static str, #[source] io::Error),
    /// Standard output shows nobody an archive.
    #[error("standard output is a terminal, and no place for an archive")]
    Terminal,
}

impl Explain for CopyFailure {
    fn hint(&self) -> Option<String> {
        match self {
            Self::OneKind(..) => Some("write SANDBOX:PATH for the one in a sandbox".into()),
            Self::Terminal => Some("redirect it, or name a directory".into()),
            _ => None,
        }
    }
}

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side {
    /// In a sandbox, by its name and a path.
    Inside(String, String),
    /// A path here.
    Here(PathBuf),
    /// Standard input or output.
    Stream,
}

impl Side {
    /// As `docker cp` reads it: what begins with a slash or a dot is a path here.
    fn of(word: &OsStr) -> Result<Self, CopyFailure> {
        if word == "-" {
            return Ok(Self::Stream);
        }
        let here = || Ok(Self::Here(word.into()));
        let colon = word.as_encoded_bytes().iter().position(|&byte| byte == b':');
        if colon.is_none_or(|at| at == 0)
            || matches!(word.as_encoded_bytes().first(), Some(b'/' | b'.'))
        {
            return here();
        }
        let text = word.to_str().filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| CopyFailure::NoText(word.to_owned()))?;
        match text.split_once(':') {
            Some((sandbox, "")) => Ok(Self::Inside(sandbox.to_owned(), "/".to_owned())),
            Some((sandbox, path)) => Ok(Self::Inside(sandbox.to_owned(), path.to_owned())),
            None => here(),
        }
    }
}

/// What is to be done: what the copier is asked, and this side of it.
struct Task {
    request: CopyRequest,
    here: Option<PathBuf>,
}

/// Copies, and says how much.
///
/// # Errors
/// Where either side cannot. What was made before stays.
pub fn copy(args: &CpArgs) -> Result<(), Failure> {
    let tried = || {
        let name = |word: &OsString| word.to_string_lossy().into_owned();
        format!("cannot copy {} to {}", name(&args.source), name(&args.destination))
    };
    let copied = transfer(args).map_err(|failure| failure.with_context(tried()))?;
    if let Some(Copied { entries, bytes: size }) = copied.filter(|_| !args.quiet) {
        let files = if entries == 1 { "file" } else { "files" };
        say(&format!(
            "{entries} {files}, {}: copied to {}",
            bytes(size),
            args.destination.to_string_lossy()
        ));
    }
    Ok(())
}

/// Gives how much was copied, where this side can tell.
fn transfer(args: &CpArgs) -> Result<Option<Copied>, Failure> {
    let (sandbox, task) = task(args)?;
    let running = RunningSandbox::reach(&args.state_dir, &sandbox)?;
    let roots = task.roots();
    let below = roots.iter().map(|(root, changed)| (root.as_fd(), *changed)).collect();
    jail::confine_copier(&Reach { below, ..Reach::default() }).map_err(Failure::plain)?;
    drop(roots);
    rustix::process::umask(Mode::empty());
    running.ask(&ControlRequest::Copy(task.request.clone()), &[])?;
    let none = || running.failed(ChannelError::Closed);
    let mut streams = match running.hear()? {
        (SupervisorMessage::Streams(_), files) => files.into_iter().map(File::from),
        (SupervisorMessage::Ended(ending), _) => return Err(refused(ending).into()),
        _ => return Err(none().into()),
    };
    let (Some(output), Some(errors)) = (streams.next(), streams.next()) else {
        return Err(none().into());
    };
    let here = match &task.request {
        CopyRequest::Out { path, .. } => task.take(path, output, args.archive),
        CopyRequest::In { .. } => match streams.next() {
            Some(input) => task.give(input, args.follow_link),
            None => return Err(none().into()),
        },
    };
    let mut words = Vec::new();
    // What cannot be read of them is not said.
    let _ = errors.take(MAX_TEXT_BYTES as u64).read_to_end(&mut words);
    let ending = ending(&running)?;
    Ok(believed(here, &String::from_utf8_lossy(&words), ending)?)
}

fn task(args: &CpArgs) -> Result<(String, Task), CopyFailure> {
    Ok(match (Side::of(&args.source)?, Side::of(&args.destination)?) {
        (Side::Inside(sandbox, path), to @ (Side::Here(_) | Side::Stream)) => {
            let request = CopyRequest::Out { path, follow: args.follow_link };
            let here = if let Side::Here(to) = to { Some(to) } else { None };
            if here.is_none() && isatty(rustix::stdio::stdout()) {
                return Err(CopyFailure::Terminal);
            }
            (sandbox, Task { request, here })
        }
        (from @ (Side::Here(_) | Side::Stream), Side::Inside(sandbox, path)) => {
            let here = if let Side::Here(from) = from { Some(from) } else { None };
            let owners = args.archive;
            (
                sandbox,
                Task { request: CopyRequest::In { path, tree: here.is_some(), owners }, here },
            )
        }
        _ => return Err(CopyFailure::OneKind(args.source.clone(), args.destination.clone())),
    })
}

impl Task {
    /// What this side of it reaches by name, open; and whether it is changed.
    fn roots(&self) -> Vec<(OwnedFd, bool)> {
        let Some(path) = &self.here else { return Vec::new() };
        let real = std::fs::canonicalize(path).ok();
        let (paths, changed) = match &self.request {
            // A link that is not followed is read by its own path.
            CopyRequest::In { .. } => ([Some(path.clone()), real], false),
            CopyRequest::Out { .. } => {
                let real = real.unwrap_or_else(|| path.clone());
                let parent = real.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new(".")).to_owned();
                ([Some(if real.is_dir() { real } else { parent }), None], true)
            }
        };
        // What cannot be opened now cannot be copied either, and that is said then.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let open = |path: PathBuf| rustix::fs::open(path, flags, Mode::empty()).ok();
        paths.into_iter().flatten().filter_map(open).map(|root| (root, changed)).collect()
    }

    /// Takes what comes out.
    fn take(
        &self,
        inside: &str,
        output: File,
        owners: bool,
    ) -> Result<Option<Copied>, CopyFailure> {
        let Some(path) = &self.here else {
            return pass(output, stream(rustix::stdio::stdout())?, TO_OUTPUT).map(|()| None);
        };
        // A guest does not say by which name something lands here.
        let label = tarball::label(Path::new(inside));
        let options = Options { owners, follow: false };
        let input = BufReader::with_capacity(BUFFER_BYTES, output);
        Ok(Some(tarball::unpack(input, path, Into::Place(Some(&label)), options)?))
    }

    /// Gives what is to go in.
    fn give(&self, input: File, follow: bool) -> Result<Option<Copied>, CopyFailure> {
        let Some(path) = &self.here else {
            return pass(stream(rustix::stdio::stdin())?, input, "pass on the archive")
                .map(|()| None);
        };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, input);
        let copied = tarball::pack(path, follow, &mut out)?;
        out.flush().map_err(CopyError::Write)?;
        Ok(Some(copied))
    }
}

/// A stream without the buffer that the standard library's has.
fn stream(stream: BorrowedFd<'_>) -> Result<File, CopyFailure> {
    let file = stream.try_clone_to_owned().map(File::from);
    file.map_err(|error| CopyFailure::Stream("use a standard stream", error))
}

/// Passes on all bytes. Not by [`io::copy`], which asks the kernel for more than this process may.
fn pass(mut from: File, mut to: File, what: &'static str) -> Result<(), CopyFailure> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyFailure::Stream("read the archive", error)),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        to.write_all(bytes).map_err(|error| CopyFailure::Stream(what, error))?;
    }
}

/// Waits for the copier's end.
fn ending(running: &RunningSandbox) -> Result<Ending, ControlError> {
    loop {
        if let (SupervisorMessage::Ended(ending), _) = running.hear()? {
            return Ok(ending);
        }
    }
}

fn refused(ending: Ending) -> CopyFailure {
    match ending.message {
        Some(words) => CopyFailure::Inside(words),
        None => CopyFailure::Ended(ending.exit_code),
    }
}

/// Where both sides failed, one of them because of the other: whose end was cut off believes the other.
fn believed(
    here: Result<Option<Copied>, CopyFailure>,
    words: &str,
    ending: Ending,
) -> Result<Option<Copied>, CopyFailure> {
    let words = shortened(words.trim(), MAX_TEXT_BYTES);
    let inside = match (ending.exit_code, words.as_str()) {
        (0, _) => None,
        (_, "") => Some(refused(ending)),
        (_, words) => Some(CopyFailure::Inside(clean(words))),
    };
    match (here, inside) {
        (Ok(copied), None) => Ok(copied),
        // Whoever reads has enough.
        (Err(CopyFailure::Stream(TO_OUTPUT, error)), _) if is_broken(&error) => Ok(None),
        (Ok(_), Some(inside)) => Err(inside),
        (Err(here), Some(inside)) if is_cut_off(&here) => Err(inside),
        (Err(here), _) => Err(here),
    }
}

fn is_broken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

fn is_cut_off(failure: &CopyFailure) -> bool {
    match failure {
        // Whoever closes a socket with something unread in it resets it.
        CopyFailure::Here(CopyError::Write(error)) | CopyFailure::Stream(_, error) => {
            is_broken(error) || error.kind() == io::ErrorKind::ConnectionReset
        }
        CopyFailure::Here(
            CopyError::Empty | CopyError::Tar(TarError::Truncated { .. } | TarError::Read(_)),
        ) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_read_as_docker_reads_it() {
        let side = |word: &str| Side::of(OsStr::new(word)).unwrap();
        let here = |path: &str| Side::Here(path.into());
        let inside = |sandbox: &str, path: &str| Side::Inside(sandbox.into(), path.into());
        assert_eq!(side("-"), Side::Stream);
        assert_eq!(side("file"), here("file"));
        assert_eq!(side("/a:b"), here("/a:b"));
        assert_eq!(side("./a:b"), here("./a:b"));
        assert_eq!(side(":b"), here(":b"));
        assert_eq!(side("box:/etc/passwd"), inside("box", "/etc/passwd"));
        assert_eq!(side("box:etc/a:b"), inside("box", "etc/a:b"));
        assert_eq!(side("box:"), inside("box", "/"));
        assert!(Side::of(OsStr::new("box:a\0b")).is_err());
    }

    #[test]
    fn who_was_cut_off_believes_the_other() {
        let ended = |code| Ending::new(code, None, None);
        let broken = || Err(CopyError::Write(io::ErrorKind::BrokenPipe.into()).into());
        let full = || Err(CopyError::Write(io::ErrorKind::StorageFull.into()).into());
        let words = |result: Result<_, CopyFailure>| {
            result.map(|_: Option<Copied>| ()).unwrap_err().to_string()
        };
        assert!(believed(Ok(None), "", ended(0)).is_ok());
        assert_eq!(words(believed(Ok(None), "no room\n", ended(1))), "in the sandbox: no room");
        assert_eq!(words(believed(Ok(None), "\x1b[2J", ended(1))), "in the sandbox: \\u{1b}[2J");
        assert_eq!(words(believed(broken(), "no room", ended(1))), "in the sandbox: no room");
        let reset = CopyFailure::Stream("pass it on", io::ErrorKind::ConnectionReset.into());
        assert_eq!(words(believed(Err(reset), "no room", ended(1))), "in the sandbox: no room");
        assert_eq!(words(believed(full(), "broken pipe", ended(1))), "cannot pass on the archive");
        assert_eq!(
            words(believed(Ok(None), "", ended(137))),
            "the copier in the sandbox ended with 137"
        );
        assert!(believed(broken(), "", ended(0)).is_err());
    }
}
