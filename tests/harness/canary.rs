//! Canaries: processes of the guest tool's (`guest-tool/canary.rs`) that say how they are before and after a
//! deed, outside, in a sandbox beside it, or in its own.
//!
//! Owns: asking them, and what counts as harm. A canary that is not asked for anything costs nothing.

use super::World;
use super::product::Sandbox;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Where one lives in a container.
pub const NEST: &str = "/nest";
/// However busy an emulated machine is, one that lives has sung by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// Clocks are read one after the other, and steered.
const CLOCK_TOLERANCE_S: u64 = 5;

/// What one says of itself and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Song(BTreeMap<String, String>);

impl Song {
    /// A part of it.
    pub fn part(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        let text = self.part(name);
        text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number"))
    }

    /// Which parts of a later one tell of harm.
    pub fn harm(&self, later: &Self) -> Vec<String> {
        assert_eq!(self.0.keys().collect::<Vec<_>>(), later.0.keys().collect::<Vec<_>>());
        let differs = |name: &&String| match name.as_str() {
            "count" => later.number("count") <= self.number("count"),
            "clock" => later.number("clock").abs_diff(self.number("clock")) > CLOCK_TOLERANCE_S,
            name => later.part(name) != self.part(name),
        };
        self.0.keys().filter(differs).cloned().collect()
    }
}

/// One that lives, or has.
#[derive(Debug)]
pub struct Canary {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Canary {
    /// One outside, with its files in a directory that is not there yet.
    pub fn outside(world: &World, directory: &Path) -> Self {
        let mut command = Command::new(&world.images.tool);
        command.arg("canary").arg(directory);
        Self::start(command)
    }

    /// One in a sandbox of its own, where the deed may be done beside it.
    pub fn inside(sandbox: Sandbox<'_>, deed: &[&str]) -> Self {
        let words = [&["guest-tool", "canary", NEST], deed].concat();
        // Not as PID 1, which is spared much.
        Self::start(sandbox.flags(&["-i", "--init"]).program(&words))
    }

    fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with whoever writes, or whoever reads.
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines }
    }

    /// Asks it; `None` where it is silent.
    pub fn sings(&mut self) -> Option<Song> {
        self.tells("sing").ok()?;
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                let words = line.strip_prefix("song ").unwrap_or_else(|| panic!("{line:?}"));
                let parts = words.split(' ').filter_map(|word| word.split_once('='));
                Some(Song(parts.map(|(name, it)| (name.to_owned(), it.to_owned())).collect()))
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    fn tells(&mut self, order: &str) -> std::io::Result<()> {
        writeln!(self.stdin, "{order}").and_then(|()| self.stdin.flush())
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The canary in a sibling sandbox: one for all deeds that are done at a time, so that it lives through many.
#[derive(Debug, Default)]
pub struct Sibling(Mutex<Weak<Mutex<Canary>>>);

impl Sibling {
    /// The one that lives, or a new one.
    pub fn alive(&self, start: impl FnOnce() -> Canary) -> Arc<Mutex<Canary>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Mutex::new(start()));
            *known = Arc::downgrade(&started);
            started
        })
    }
}

/// Asks one that others ask, too.
pub fn asked(canary: &Mutex<Canary>) -> Option<Song> {
    canary.lock().unwrap_or_else(PoisonError::into_inner).sings()
}

/// Does a deed beside a canary, with no wall between them, until the canary tells of all this harm or falls
/// silent; gives the harm it told of last.
pub fn harm_beside(sandbox: Sandbox<'_>, deed: &str, awaited: &[&str]) -> Vec<String> {
    let mut canary = Canary::inside(sandbox, &["sh", "-c", deed]);
    let first = canary.sings().expect("a canary that nobody hurts sings");
    let second = canary.sings().expect("a canary that nobody hurts sings on");
    assert_eq!(first.harm(&second), [""; 0], "it is hurt where nobody hurts it");
    canary.tells("do").expect("it listens");
    let begun = Instant::now();
    loop {
        let Some(song) = canary.sings() else { return vec!["silence".to_owned()] };
        let harm = second.harm(&song);
        let told = |part: &&str| harm.iter().any(|it| it == part);
        if awaited.iter().all(told) || begun.elapsed() > PATIENCE {
            return harm;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A directory that is not there yet, for a canary outside.
pub fn nest(world: &World) -> PathBuf {
    world.scratch_file("nest")
}
