//! A sandbox that runs until it is told to end, for those who come for more.

use super::{Output, Running, World};
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::{ChildStdin, Command};
use std::time::{Duration, Instant};

/// A sandbox called `box` that waits until it is told to end.
pub struct Living {
    /// Its state directory.
    pub state: PathBuf,
    running: Option<Running>,
}

impl Drop for Living {
    /// Also where a case fails: it would run for ever.
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

impl Living {
    /// Starts it, with these flags, and waits until it runs.
    pub fn start(world: &World, flags: &[&str]) -> Self {
        let state = world.fresh_state();
        let script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done";
        let sandbox = world.sandbox().state(&state).flags(&["--name", "box"]).flags(flags);
        let program = sandbox.program(&["sh", "-c", script]);
        let stdout = world.scratch_file("stdout");
        let file = std::fs::File::create(&stdout).unwrap();
        let running = Running::watched(program, file);
        let sandbox = Self { state, running: Some(running) };
        let deadline = Instant::now() + Duration::from_secs(90);
        while std::fs::read(&stdout).unwrap() != b"up\n" {
            assert!(Instant::now() < deadline, "it does not run");
            std::thread::sleep(Duration::from_millis(20));
        }
        sandbox
    }

    /// The words of an `exec` in it.
    pub fn words(&self, flags: &[&str], command: &[&str]) -> Vec<String> {
        let state = self.state.display().to_string();
        let words = [&["exec", "--state-dir", &state], flags, &["box"], command].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    /// Begins a further container in it.
    pub fn begin_container(
        &self,
        world: &World,
        flags: &[&str],
        image: &str,
        command: &[&str],
    ) -> Running {
        let state = self.state.display().to_string();
        let mut program = Command::new(&world.product);
        program.args(["run", "--quiet", "--state-dir", &state, "--sandbox", "box"]);
        program.args(flags).arg(image).args(command);
        program.envs(world.trial.iter().map(|words| ("COFFERDAM_TRIAL", words)));
        Running::start(program, None)
    }

    /// Runs a further container in it.
    pub fn container(&self, world: &World, flags: &[&str], image: &str, script: &str) -> Output {
        self.begin_container(world, flags, image, &["sh", "-c", script]).wait()
    }

    /// The words of a `cp` that has to do with it.
    pub fn copy_words(&self, words: &[&str]) -> Vec<String> {
        let state = self.state.display().to_string();
        [&["cp", "--state-dir", &state], words].concat().into_iter().map(str::to_owned).collect()
    }

    /// Copies something into it or out of it.
    pub fn copy(&self, world: &World, words: &[&str], input: Option<&[u8]>) -> Output {
        let mut program = Command::new(&world.product);
        program.args(self.copy_words(words));
        program.envs(world.trial.iter().map(|words| ("COFFERDAM_TRIAL", words)));
        Running::start(program, input.map(<[u8]>::to_vec)).wait()
    }

    /// Begins a copy; its standard input is the caller's.
    pub fn begin_copy(&self, world: &World, words: &[&str]) -> (Running, Option<ChildStdin>) {
        let mut program = Command::new(&world.product);
        Running::with_stdin(program.args(self.copy_words(words)), true)
    }

    /// Begins a further process.
    pub fn begin(
        &self,
        world: &World,
        flags: &[&str],
        command: &[&str],
        input: Option<&[u8]>,
    ) -> Running {
        let mut program = Command::new(&world.product);
        program.args(self.words(flags, command));
        Running::start(program, input.map(<[u8]>::to_vec))
    }

    /// Runs a further process.
    pub fn exec(&self, world: &World, flags: &[&str], command: &[&str]) -> Output {
        self.begin(world, flags, command, None).wait()
    }

    /// Sends its launcher a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.iter().for_each(|running| running.signal(signal));
    }

    /// Its end, as it is asked for.
    pub fn end(self) -> Output {
        self.ends_by(Signal::TERM)
    }

    /// The same, by a signal of one's own.
    pub fn ends_by(mut self, signal: Signal) -> Output {
        let running = self.running.take().unwrap();
        running.signal(signal);
        running.wait()
    }
}
