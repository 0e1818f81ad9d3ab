//! The sandbox that is looked into: `run` itself, with a witness in place of the container's command.
//!
//! Owns: its start and end, and what the two of them say. Never does: believe the length of anything, or look at
//! a clock: the launcher that is audited ends by itself, whatever its guest does and leaves undone.

use crate::error::{Explain, clean, shortened};
use crate::exit_code::FailureClass;
use crate::host::family::{self, Relative};
use crate::jail::JailError;
use protocol::Testimony;
use protocol::frame::{Decoder, FrameError};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The launcher's own line: whether it can still look around in the file system.
const CLOSED: &str = "the root directory is closed\n";
const OPEN: &str = "the root directory is open\n";

/// What was seen while it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The launcher and its children.
    pub processes: Vec<Relative>,
    /// Files are closed to the launcher, and so to all it starts.
    pub closed_in: bool,
    /// What the witness in the container says.
    pub testimony: Testimony,
}

/// Why nothing could be seen.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// It could not be started.
    #[error("cannot start the launcher that is to be audited")]
    Start(#[source] io::Error),
    /// This process cannot wall itself in.
    #[error(transparent)]
    Confine(JailError),
    /// It failed; it has said why itself.
    #[error("the run that was to be audited failed with exit code {0}")]
    Failed(u8),
    /// It ended as if all were well.
    #[error("the run that was to be audited ended before {0} had spoken")]
    Silent(&'static str),
    /// What came is not what a launcher of ours says first.
    #[error("the audited launcher said {0:?}")]
    Launcher(String),
    /// What came is no testimony.
    #[error("what came from the container is no testimony")]
    Testimony(#[from] FrameError),
    /// It could not be heard.
    #[error("cannot hear the audited run")]
    Hear(#[source] io::Error),
}

impl Explain for SandboxError {}

/// In the audited launcher, once it has closed itself in: says whether that holds.
///
/// # Errors
/// Where standard output cannot be written.
pub fn tell_reach() -> io::Result<()> {
    let words = if std::fs::read_dir("/").is_ok() { OPEN } else { CLOSED };
    io::stdout().write_all(words.as_bytes())
}

/// Runs one as `arguments` would, and looks at it from outside and inside at once.
///
/// # Errors
/// Any [`SandboxError`].
pub fn look_into(arguments: &[OsString]) -> Result<Seen, SandboxError> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("cofferdam").args(["run", "--audited"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut launcher = command.spawn().map_err(SandboxError::Start)?;
    let walled = crate::jail::confine_launcher(false).map_err(SandboxError::Confine);
    let seen = walled.and_then(|()| match launcher.stdout.take() {
        Some(stdout) => listen(launcher.id(), BufReader::new(stdout)),
        None => Err(SandboxError::Silent("it")),
    });
    // A failure of its own explains whatever was, or was not, heard.
    end(launcher).and(seen)
}

fn listen(launcher: u32, mut stdout: BufReader<ChildStdout>) -> Result<Seen, SandboxError> {
    let closed_in = reach(&mut stdout)?;
    let testimony = testimony(&mut stdout)?;
    // The witness waits for its end: all of them are there.
    Ok(Seen { processes: family::of(launcher), closed_in, testimony })
}

fn reach(stdout: &mut impl BufRead) -> Result<bool, SandboxError> {
    let mut line = String::new();
    stdout.take(CLOSED.len().max(OPEN.len()) as u64).read_line(&mut line).map_err(hear)?;
    match line.as_str() {
        CLOSED => Ok(true),
        OPEN => Ok(false),
        "" => Err(SandboxError::Silent("it")),
        other => Err(SandboxError::Launcher(shortened(&clean(other), 80))),
    }
}

/// The guest's one frame; anything that follows it is nobody's business.
fn testimony(stdout: &mut impl Read) -> Result<Testimony, SandboxError> {
    let (mut decoder, mut bytes) = (Decoder::default(), [0; 4096]);
    loop {
        if let Some(testimony) = decoder.next()? {
            return Ok(testimony);
        }
        match stdout.read(&mut bytes).map_err(hear)? {
            0 => return Err(SandboxError::Silent("the witness in its container")),
            count => decoder.push(bytes.get(..count).unwrap_or_default()),
        }
    }
}

/// Lets it end, which closing its standard input does.
fn end(mut launcher: Child) -> Result<(), SandboxError> {
    drop(launcher.stdin.take());
    let status = launcher.wait().map_err(SandboxError::Hear)?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Err(SandboxError::Failed(code.unwrap_or(FailureClass::Launcher.exit_code())))
}

fn hear(error: io::Error) -> SandboxError {
    SandboxError::Hear(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::encode;

    #[test]
    fn both_are_heard_whatever_comes_in_what_pieces() {
        let said = Testimony { status: "x".repeat(9000), ..Testimony::default() };
        let bytes = [CLOSED.as_bytes(), &encode(&said).unwrap(), b"more"].concat();
        let mut stdout = BufReader::with_capacity(7, &bytes[..]);
        assert!(reach(&mut stdout).unwrap());
        assert_eq!(testimony(&mut stdout).unwrap(), said);
        assert!(!reach(&mut BufReader::new(OPEN.as_bytes())).unwrap());
    }

    #[test]
    fn other_words_are_refused() {
        for words in
            ["the root directory is", "\u{1b}[2J\n", "the root directory is closed or not\n"]
        {
            let heard = reach(&mut BufReader::new(words.as_bytes()));
            assert!(matches!(heard, Err(SandboxError::Launcher(_))), "{words}: {heard:?}");
        }
        assert!(matches!(reach(&mut io::empty()), Err(SandboxError::Silent(_))));
        assert!(matches!(testimony(&mut io::empty()), Err(SandboxError::Silent(_))));
        let long = u32::MAX.to_le_bytes();
        assert!(matches!(testimony(&mut &long[..]), Err(SandboxError::Testimony(_))));
    }
}
