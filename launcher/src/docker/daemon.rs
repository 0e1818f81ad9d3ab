//! The sandbox of a Docker daemon: the words of its run, and the wait until it answers.
//!
//! Owns: which of a run's flags a daemon needs. Never does: any of what a run does.
//!
//! What a daemon answers is hostile: of it, this process reads a few bytes, and shows its last lines where it fails.

use super::DockerError;
use crate::cli::docker::DaemonArgs;
use crate::companions;
use crate::detached::{self, Launched};
use crate::error::{Failure, clean, say};
use crate::log::read::Reader;
use crate::state::Sandboxes;
use protocol::ContainerId;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where it listens, in its container.
pub const SOCKET: &str = "/var/run/docker.sock";
/// Where it keeps what it has: on a file system that can be one of overlayfs' own layers.
const DATA: &str = "/var/lib/docker";
/// How long it may take.
const PATIENCE_SECONDS: u32 = 300;
/// How long it has to stop what runs in it: twice what it gives a container.
const STOP_SECONDS: u32 = 20;
/// How long after a question it is asked again: longer each time.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(250)];
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
const LAST_LINES: usize = 20;

/// A daemon that was started.
#[derive(Debug)]
pub struct Daemon {
    launched: Launched,
    id: ContainerId,
    state_dir: PathBuf,
    is_bound: bool,
    socket: PathBuf,
    patience: Duration,
    log: Option<Reader>,
}

impl Daemon {
    /// Starts one: one of this name stays, any other ends with this process. `None` where it does not run, and that has been
    /// said.
    ///
    /// # Errors
    /// Where it cannot be tried.
    pub fn start(args: &DaemonArgs, name: Option<&str>) -> Result<Option<Self>, Failure> {
        let directory = if args.no_share { None } else { std::env::current_dir().ok() };
        let image = args.image.clone().or_else(own_image).ok_or(DockerError::NoImage)?;
        let words = words(args, &image, directory.as_deref(), name)?;
        let mut launched = detached::launch(words, name.is_none(), None)?;
        let id = match launched.started() {
            Ok(id) => id,
            Err(ending) => {
                crate::run::told(ending);
                return Ok(None);
            }
        };
        let record = Sandboxes::open(&args.state_dir)?.record_of(id.as_str())?;
        // Read from the first: its file is gone with its sandbox, but not for whoever has it open.
        let log = Reader::open(&crate::state::directory(&args.state_dir, &id), None).ok();
        Ok(Some(Self {
            launched,
            id,
            state_dir: args.state_dir.clone(),
            is_bound: name.is_none(),
            socket: super::socket(&record).unwrap_or_default(),
            patience: Duration::from_secs(args.start_timeout.unwrap_or(PATIENCE_SECONDS).into()),
            log,
        }))
    }

    /// The socket here that leads to it.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// Where it does not, and what it has said last is shown.
    pub fn answers(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience;
        let [mut pause, longest] = PAUSES;
        while !answers(&self.socket) {
            let wrong = if self.launched.has_ended() {
                Some(DockerError::Ended)
            } else {
                let is_late = Instant::now() >= deadline;
                is_late.then_some(DockerError::Silent(self.patience.as_secs()))
            };
            if let Some(wrong) = wrong {
                self.show_last_lines();
                return Err(wrong.into());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
        Ok(())
    }

    fn show_last_lines(&mut self) {
        let Some(log) = &mut self.log else { return };
        let mut lines = VecDeque::new();
        while let Ok(Some(entry)) = log.entry() {
            lines.push_back(clean(&String::from_utf8_lossy(entry.text)));
            if lines.len() > LAST_LINES {
                lines.pop_front();
            }
        }
        lines.iter().for_each(|line| say(&format!("dockerd: {line}")));
    }

    /// Whether its sandbox has ended.
    pub fn has_ended(&mut self) -> bool {
        self.launched.has_ended()
    }

    /// Ends it, and waits for that.
    pub fn end(self) {
        if !self.is_bound
            && let Err(failure) = crate::stop::end_now(&self.state_dir, self.id.as_str())
        {
            say(&failure.message());
        }
        self.launched.end();
    }

    /// Waits for its end, as this process's own; gives its exit code.
    pub fn outlive(self) -> u8 {
        self.launched.outlive()
    }
}

/// Whether a daemon answers by this socket.
pub fn answers(socket: &Path) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.starts_with(b"HTTP/1.") && head.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

/// The image that came with this program.
fn own_image() -> Option<String> {
    let archive = companions::find(companions::DOCKER_IMAGE)?;
    Some(format!("docker-archive:{}", archive.to_str()?))
}

/// The words of its run.
fn words(
    args: &DaemonArgs,
    image: &str,
    directory: Option<&Path>,
    name: Option<&str>,
) -> Result<Vec<OsString>, DockerError> {
    let data = args.cache.as_ref().map_or(DATA.to_owned(), |cache| format!("{cache}:{DATA}"));
    // What is thrown away anyway need not be put in order.
    let stop = if args.cache.is_some() || name.is_some() { STOP_SECONDS } else { 0 };
    let mut words: Vec<OsString> = [
        "--rm",
        "--init",
        "--privileged",
        // An image of docker:dind's shape would make certificates, and wait for them.
        "--env=DOCKER_TLS_CERTDIR=",
        &format!("--publish-socket={SOCKET}"),
        &format!("--volume={data}"),
    ]
    .map(OsString::from)
    .into();
    words.extend(name.map(|name| format!("--name={name}").into()));
    words.extend(args.quiet.then(|| "--quiet".into()));
    if !args.run.has("--stop-timeout") {
        words.push(format!("--stop-timeout={stop}").into());
    }
    if !args.run.has("--publish-docker") {
        words.push("--publish-docker".into());
    }
    words.extend(directory.map(shared).transpose()?.flatten());
    words.extend(args.run.0.iter().cloned());
    words.push("--state-dir".into());
    words.push(args.state_dir.clone().into());
    words.extend([image, "dockerd"].map(OsString::from));
    words.push(format!("--host=unix://{SOCKET}").into());
    words.extend(args.daemon_arg.iter().map(OsString::from));
    Ok(words)
}

/// A directory at its own path there; nothing where that is the root of all.
fn shared(directory: &Path) -> Result<Option<OsString>, DockerError> {
    let Some(path) = directory.to_str() else {
        return Err(DockerError::Unsharable(directory.to_owned()));
    };
    match (path, path.contains(':'), path.contains(',')) {
        ("/", ..) => Ok(None),
        (_, false, _) => Ok(Some(format!("--volume={path}:{path}").into())),
        (_, true, false) => Ok(Some(format!("--mount=type=bind,src={path},dst={path}").into())),
        (_, true, true) => Err(DockerError::Unsharable(directory.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::docker::DockerArgs;
    use crate::cli::{Command, Parsed, parse};
    use std::os::unix::net::UnixListener;

    fn daemon(words: &[&str]) -> DaemonArgs {
        match parse([&["cofferdam", "docker"], words].concat()) {
            Ok(Parsed::Command(Command::Docker(args))) => {
                let DockerArgs { daemon, .. } = *args;
                daemon
            }
            other => panic!("{other:?}"),
        }
    }

    fn text(words: &[OsString]) -> String {
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    /// And the words of such a run are understood.
    #[test]
    fn a_run_is_what_a_daemon_needs() {
        let args = daemon(&["--daemon-arg=--debug", "--state-dir=/s", "--vm-cpus", "2"]);
        let directory = Some(Path::new("/work"));
        let words = words(&args, "docker:dind", directory, None).unwrap();
        assert_eq!(
            text(&words),
            "--rm --init --privileged --env=DOCKER_TLS_CERTDIR= --publish-socket=/var/run/docker.sock \
             --volume=/var/lib/docker --stop-timeout=0 --publish-docker --volume=/work:/work --vm-cpus=2 --state-dir /s \
             docker:dind dockerd --host=unix:///var/run/docker.sock --debug"
        );
        let run = [vec!["cofferdam".into(), "run".into()], words].concat();
        assert!(matches!(parse(run), Ok(Parsed::Command(Command::Run(_)))));
    }

    #[test]
    fn what_is_to_last_is_stopped_in_order() {
        let of = |args: &[&str], name| text(&words(&daemon(args), "image", None, name).unwrap());
        let cached = of(&["--cache", "layers"], None);
        assert!(cached.contains("--volume=layers:/var/lib/docker --stop-timeout=20 "), "{cached}");
        let named = of(&[], Some("ci"));
        assert!(named.contains("--name=ci --stop-timeout=20 "), "{named}");
        let own = of(&["--stop-timeout=3", "--publish-docker=127.0.0.1"], None);
        assert_eq!(own.matches("--stop-timeout").count(), 1, "{own}");
        assert_eq!(own.matches("--publish-docker").count(), 1, "{own}");
    }

    #[test]
    fn a_directory_is_shared_however_it_is_called() {
        let of = |path: &str| shared(Path::new(path)).map(|it| it.map(|it| text(&[it])));
        assert_eq!(of("/").unwrap(), None);
        assert_eq!(of("/a,b").unwrap().unwrap(), "--volume=/a,b:/a,b");
        assert_eq!(of("/a:b").unwrap().unwrap(), "--mount=type=bind,src=/a:b,dst=/a:b");
        assert!(matches!(of("/a:b,c"), Err(DockerError::Unsharable(_))));
    }

    #[test]
    fn a_good_answer_is_one() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        assert!(!answers(&path), "nobody is there");
        let listener = UnixListener::bind(&path).unwrap();
        for (said, expected) in [
            ("HTTP/1.0 200 OK\r\n\r\nOK", true),
            ("HTTP/1.1 200", true),
            ("HTTP/1.1 500 Oh", false),
            ("HTTP/1.1", false),
            ("", false),
        ] {
            let answered = std::thread::scope(|scope| {
                let asks = scope.spawn(|| answers(&path));
                let mut stream = listener.accept().unwrap().0;
                // What is left unread would cut the answer off.
                assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
                stream.write_all(said.as_bytes()).unwrap();
                drop(stream);
                asks.join().unwrap()
            });
            assert_eq!(answered, expected, "{said:?}");
        }
    }
}
