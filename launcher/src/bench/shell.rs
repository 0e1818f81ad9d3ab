//! A shell that stands at a layer for the whole bench, so that what is measured in it is not its start: scripts go
//! in, outputs come back, each within a time and a size.

use super::group::{Group, GroupError};
use super::patience::{Cut, Patience};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// An output that is longer is not read to its end.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// What it says first, made of two parts as all that it is asked to say, so that an echo is no answer.
const GREETING: &str = "cofferdam-bench-stands\n";
/// The words that start one: it says that it stands. Behind a serial port, nothing that comes before is heard.
pub const WORDS: [&str; 3] = ["sh", "-c", "printf '%s-%s\\n' cofferdam-bench stands; exec sh"];
/// How long one may take to end once it has no more input.
const FAREWELL: Duration = Duration::from_secs(10);

/// The shell.
#[derive(Debug)]
pub struct Shell {
    group: Group,
    input: Option<ChildStdin>,
    output: ChildStdout,
    scripts: u64,
    stands: bool,
}

/// What a script did.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it wrote to its standard output and error.
    pub output: String,
    /// Its exit status.
    pub status: u8,
}

/// Why there is no answer. The shell is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] GroupError),
    /// Its streams are broken.
    #[error("the layer's shell cannot be asked")]
    Io(#[source] io::Error),
    /// It has ended.
    #[error("the layer's shell has ended")]
    Ended,
    /// Nobody waits for it any longer.
    #[error(transparent)]
    Cut(#[from] Cut),
    /// More output than anybody reads.
    #[error("more than {MAX_OUTPUT_BYTES} bytes of output")]
    Long,
}

impl Shell {
    /// Starts it: the command is to end in [`WORDS`].
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(mut command: Command) -> Result<Self, ShellError> {
        let mut group = Group::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let streams = group.child.stdin.take().zip(group.child.stdout.take());
        let (input, output) = streams.ok_or(ShellError::Ended)?;
        Ok(Self { group, input: Some(input), output, scripts: 0, stands: false })
    }

    /// Has it run a script in a shell of its own, and waits for its end.
    ///
    /// # Errors
    /// Where there is no answer.
    pub fn ask(
        &mut self,
        script: &str,
        within: Duration,
        patience: &Patience,
    ) -> Result<Answer, ShellError> {
        if !self.stands {
            let greeted = |bytes: &[u8]| {
                // A terminal may have made two of the end of a line.
                let text = String::from_utf8_lossy(bytes).replace('\r', "");
                text.contains(GREETING).then_some(())
            };
            self.until(greeted, within, patience)?;
            self.stands = true;
        }
        self.scripts += 1;
        // Made of two parts, so that a shell that echoes what it reads does not answer by that.
        let (front, number) = ("cofferdam-bench", self.scripts);
        let quoted = script.replace('\'', "'\\''");
        let line = format!(
            "sh -c '{quoted}' </dev/null 2>&1; printf '\\n%s-%s %s\\n' {front} {number} $?\n"
        );
        let input = self.input.as_mut().ok_or(ShellError::Ended)?;
        input.write_all(line.as_bytes()).map_err(ShellError::Io)?;
        let mark = format!("\n{front}-{number} ");
        self.until(|bytes| answered(bytes, &mark), within, patience)
    }

    /// Reads until something is found in what has come.
    fn until<T>(
        &mut self,
        found: impl Fn(&[u8]) -> Option<T>,
        within: Duration,
        patience: &Patience,
    ) -> Result<T, ShellError> {
        let begun = Instant::now();
        let mut bytes = Vec::new();
        loop {
            if let Some(found) = found(&bytes) {
                return Ok(found);
            }
            if bytes.len() > MAX_OUTPUT_BYTES {
                return Err(ShellError::Long);
            }
            patience.readable(self.output.as_fd(), begun, within)?;
            let mut part = [0; 16 << 10];
            match self.output.read(&mut part).map_err(ShellError::Io)? {
                0 => return Err(ShellError::Ended),
                count => bytes.extend(part.iter().take(count)),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // A shell ends with its input, and what it stands in takes itself down: sooner by far than by force, which
        // comes next. One behind a serial port has no end of input.
        if let Some(mut input) = self.input.take() {
            let _ = input.write_all(b"exit\n");
        }
        let timeout = Timespec::try_from(FAREWELL).ok();
        let _ = poll(&mut [PollFd::new(self.group.end(), PollFlags::IN)], timeout.as_ref());
    }
}

/// The answer, once its mark and its status are there.
fn answered(bytes: &[u8], mark: &str) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (output, rest) = text.rsplit_once(mark)?;
    let (status, _) = rest.split_once('\n')?;
    Some(Answer { output: output.to_owned(), status: status.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell() -> Shell {
        let mut command = Command::new(WORDS[0]);
        command.args(&WORDS[1..]);
        Shell::start(command).unwrap()
    }

    #[test]
    fn scripts_answer_one_after_the_other() {
        let patience = Patience::new().unwrap();
        let mut shell = shell();
        let first = shell.ask("echo 'it'\"'\"'s'; echo two >&2; exit 3", SOON, &patience).unwrap();
        assert_eq!((first.output.as_str(), first.status), ("it's\ntwo\n", 3));
        let second = shell.ask("printf without-end", SOON, &patience).unwrap();
        assert_eq!((second.output.as_str(), second.status), ("without-end", 0));
        // It has no part of the next script's text.
        assert_eq!(shell.ask("cat; echo done", SOON, &patience).unwrap().output, "done\n");
    }

    #[test]
    fn no_answer_is_an_error() {
        let patience = Patience::new().unwrap();
        let late = shell().ask("sleep 60", Duration::from_millis(100), &patience).unwrap_err();
        assert!(matches!(late, ShellError::Cut(Cut::Late(_))), "{late}");
        let ended = shell().ask("kill -9 $PPID", SOON, &patience).unwrap_err();
        assert!(matches!(ended, ShellError::Ended | ShellError::Io(_)), "{ended}");
        let long = shell().ask("cat /dev/zero", SOON, &patience).unwrap_err();
        assert!(matches!(long, ShellError::Long), "{long}");
        let missing = Shell::start(Command::new("/no/such/engine")).unwrap_err();
        assert!(missing.to_string().contains("/no/such/engine"), "{missing}");
    }
}
