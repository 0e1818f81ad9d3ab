//! The real binary: how cases start it, and what they ask of what comes back.

use super::{World, leftovers};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No single run of a case takes this long, even beside others on a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Who runs the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// KVM.
    Kvm,
    /// QEMU's TCG.
    Tcg,
}

impl Accelerator {
    /// Its name, as `--accel` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// One `cofferdam run`, before it is started.
#[derive(Debug, Clone)]
pub struct Sandbox<'w> {
    pub(super) world: &'w World,
    state: PathBuf,
    image: String,
    accelerator: String,
    memory: String,
    cpus: String,
    rm: bool,
    quiet: bool,
    flags: Vec<String>,
    pub(super) input: Option<Vec<u8>>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) product: PathBuf,
    /// What it is started by, if not directly.
    within: Vec<String>,
}

impl World {
    /// A run as most cases want it: `--rm`, `--quiet`, the plain image, a small machine.
    pub fn sandbox(&self) -> Sandbox<'_> {
        Sandbox {
            world: self,
            state: self.state(),
            image: self.images.plain.clone(),
            accelerator: self.accelerator.name().to_owned(),
            memory: "256m".to_owned(),
            cpus: "1".to_owned(),
            rm: true,
            quiet: true,
            flags: Vec::new(),
            input: None,
            environment: Vec::new(),
            product: self.product.clone(),
            within: Vec::new(),
        }
        .trying(self.trial.as_deref().unwrap_or_default())
    }

    /// Such a run with further flags and a shell script, to its end.
    pub fn sh(&self, flags: &[&str], script: &str) -> Output {
        self.sandbox().flags(flags).sh(script)
    }

    /// Any other command of the binary's, to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.product);
        command.args(arguments);
        Running::start(command, None).wait()
    }
}

impl Sandbox<'_> {
    /// More flags.
    pub fn flags<T: AsRef<str>>(mut self, flags: &[T]) -> Self {
        self.flags.extend(flags.iter().map(|flag| flag.as_ref().to_owned()));
        self
    }

    /// Another image.
    pub fn image(mut self, image: &str) -> Self {
        image.clone_into(&mut self.image);
        self
    }

    /// By the launcher that tries its walls, or has one less, as these words of a trial say; with none, by the
    /// real one.
    pub fn trying(mut self, words: &str) -> Self {
        const TRIAL: &str = "COFFERDAM_TRIAL";
        if words.is_empty() {
            return self;
        }
        self.product = super::trial_product();
        let before = self.environment.iter_mut().find(|(name, _)| name == TRIAL);
        match before {
            Some((_, before)) => *before = format!("{before} {words}"),
            None => self.environment.push((TRIAL.to_owned(), words.to_owned())),
        }
        self
    }

    /// Another accelerator.
    pub fn accel(mut self, name: &str) -> Self {
        name.clone_into(&mut self.accelerator);
        self
    }

    /// Started by these words, which become what follows them.
    pub fn within(mut self, words: &[String]) -> Self {
        self.within = words.to_vec();
        self
    }

    /// A command, started as this run is.
    pub fn placed(&self, command: Command) -> Command {
        let Some((first, rest)) = self.within.split_first() else { return command };
        let mut placed = Command::new(first);
        placed.args(rest).arg(command.get_program()).args(command.get_args());
        placed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        placed
    }

    /// Another size of the machine.
    pub fn machine(mut self, memory: &str, cpus: &str) -> Self {
        memory.clone_into(&mut self.memory);
        cpus.clone_into(&mut self.cpus);
        self
    }

    /// Another state directory.
    pub fn state(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.state);
        self
    }

    /// Without `--rm`.
    pub fn kept(mut self) -> Self {
        self.rm = false;
        self
    }

    /// Without `--quiet`.
    pub fn loud(mut self) -> Self {
        self.quiet = false;
        self
    }

    /// With `-i` and these bytes on standard input.
    pub fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = Some(bytes);
        self.flags(&["-i"])
    }

    /// A variable of the launcher's own environment, which is nobody else's business.
    pub fn launcher_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How much memory its machine has, in MiB.
    pub fn memory_mib(&self) -> u64 {
        self.memory.trim_end_matches('m').parse().expect("a size in MiB")
    }

    /// The program and all that it is started with.
    pub fn program(&self, command: &[&str]) -> Command {
        self.program_with(&self.arguments(command))
    }

    /// The program in the same environment, started with anything.
    pub fn program_with(&self, arguments: &[String]) -> Command {
        let mut program = Command::new(&self.product);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        program.args(arguments).envs(environment);
        self.placed(program)
    }

    /// Its command line.
    pub fn arguments(&self, command: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "run",
            "--accel",
            &self.accelerator,
            "--vm-memory",
            &self.memory,
            "--vm-cpus",
            &self.cpus,
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(["--state-dir".to_owned(), self.state.display().to_string()]);
        arguments.extend(self.rm.then(|| "--rm".to_owned()));
        arguments.extend(self.quiet.then(|| "--quiet".to_owned()));
        arguments.extend(self.flags.iter().cloned());
        arguments.push(self.image.clone());
        arguments.extend(command.iter().map(|word| (*word).to_owned()));
        arguments
    }

    /// Starts it with a command.
    pub fn start(&self, command: &[&str]) -> Running {
        Running::start(self.program(command), self.input.clone())
    }

    /// Runs it with a command to its end.
    pub fn run(&self, command: &[&str]) -> Output {
        self.start(command).wait()
    }

    /// Runs it with a shell script to its end.
    pub fn sh(&self, script: &str) -> Output {
        self.run(&["sh", "-c", script])
    }
}

/// A started program whose output is being collected.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub child: Child,
    begun: Instant,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
}

impl Running {
    /// Starts a program; with no input its standard input is /dev/null.
    pub fn start(mut command: Command, input: Option<Vec<u8>>) -> Self {
        let (mut running, stdin) = Self::with_stdin(&mut command, input.is_some());
        if let (Some(mut stdin), Some(bytes)) = (stdin, input) {
            // Ends by itself: either all is written, or the other side is gone.
            std::thread::spawn(move || stdin.write_all(&bytes));
        }
        running.begun = Instant::now();
        running
    }

    /// Starts a program whose standard input stays with the caller.
    pub fn with_stdin(command: &mut Command, piped: bool) -> (Self, Option<ChildStdin>) {
        let stdin = if piped { Stdio::piped() } else { Stdio::null() };
        let child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = collect(child.stdout.take().expect("it is piped"));
        let stderr = collect(child.stderr.take().expect("it is piped"));
        (Self { child, begun: Instant::now(), stdout, stderr }, stdin)
    }

    /// Starts a program whose standard output goes where the caller can look at it.
    pub fn watched(mut command: Command, stdout: std::fs::File) -> Self {
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stderr = collect(child.stderr.take().expect("it is piped"));
        Self { child, begun: Instant::now(), stdout: collect(std::io::empty()), stderr }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Waits for its end.
    pub fn wait(self) -> Output {
        self.wait_within(PATIENCE)
    }

    /// Waits for its end, so long after its beginning at most.
    pub fn wait_within(mut self, patience: Duration) -> Output {
        let deadline = self.begun + patience;
        let status = loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => break Some(status),
                None if Instant::now() > deadline => break None,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        if status.is_none() {
            // All of them: one that is left would keep the pipes open, and its mounts.
            for pid in leftovers::descent(self.pid()) {
                let pid = Pid::from_raw(pid.cast_signed());
                let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let elapsed = self.begun.elapsed();
        let stdout = self.stdout.join().expect("a reader ends");
        let stderr = self.stderr.join().expect("a reader ends");
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let Some(status) = status else {
            panic!("it did not end in {patience:?}\nstdout: {}\nstderr: {stderr}", show(&stdout));
        };
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        Output { code, stdout, stderr, elapsed }
    }
}

/// Reads to the end on a thread of its own.
pub fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is still of use in a failure's words.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

fn show(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(4000).collect()
}

/// What came of a program.
#[derive(Debug)]
pub struct Output {
    /// Its exit code, or minus the signal that ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
    /// From start to end.
    pub elapsed: Duration,
}

impl Output {
    /// Asks for an exit code.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        let (out, err) = (show(&self.stdout), &self.stderr);
        assert_eq!(self.code, code, "exit code\nstdout: {out}\nstderr: {err}");
        self
    }

    /// Asks for exit code 0 and a text on standard output, but for space around it.
    #[track_caller]
    pub fn prints(&self, text: &str) -> &Self {
        self.exits(0);
        assert_eq!(self.text(), text, "stdout\nstderr: {}", self.stderr);
        self
    }

    /// Asks for a text within standard output.
    #[track_caller]
    pub fn shows(&self, text: &str) -> &Self {
        assert!(
            self.text().contains(text),
            "{text:?} is not in {:?}\nstderr: {}",
            self.text(),
            self.stderr
        );
        self
    }

    /// Asks that all the product says is one line of complaint that holds each of these, perhaps with
    /// a hint beneath it.
    #[track_caller]
    pub fn complains(&self, texts: &[&str]) -> &Self {
        let lines: Vec<&str> = self.stderr.lines().map(str::trim_end).collect();
        let complaints = lines.iter().filter(|line| line.starts_with("cofferdam:")).count();
        assert_eq!(complaints, 1, "one line of complaint is wanted in: {}", self.stderr);
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not in: {}", self.stderr);
        }
        self
    }

    /// Standard output, without space around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().replace('\r', "")
    }
}
