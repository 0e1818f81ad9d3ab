//! Sandboxes in the background, and the commands that find them.

use super::product::Sandbox;
use super::{Output, Running, World, leftovers};
use rustix::process::Pid;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A sandbox called `box`, whatever becomes of it.
pub struct Detached<'w> {
    /// Where it is.
    pub world: &'w World,
    /// Its state directory.
    pub state: PathBuf,
}

impl Drop for Detached<'_> {
    /// Also where a case fails: it would run for ever.
    fn drop(&mut self) {
        self.command(&["rm", "--force"], &["box"]);
    }
}

impl<'w> Detached<'w> {
    /// One that is not started yet.
    pub fn sandbox(world: &'w World) -> (Sandbox<'w>, Self) {
        Self::at(world, world.fresh_state())
    }

    /// The same in this state directory.
    pub fn at(world: &'w World, state: PathBuf) -> (Sandbox<'w>, Self) {
        let sandbox = world.sandbox().kept().state(&state).flags(&["--detach", "--name", "box"]);
        (sandbox, Self { world, state })
    }

    /// Starts one with these flags and this script.
    pub fn start(world: &'w World, flags: &[&str], script: &str) -> Self {
        let (sandbox, detached) = Self::sandbox(world);
        let id = sandbox.flags(flags).sh(script).exits(0).text();
        assert_eq!(id.trim().len(), 12, "{id}");
        detached
    }

    /// The words of a command: those before the state directory, and those after it.
    pub fn words(&self, command: &[&str], rest: &[&str]) -> Vec<String> {
        let state = self.state.display().to_string();
        let words = [command, &["--state-dir", &state], rest].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    /// Begins such a command.
    pub fn begin(&self, command: &[&str], rest: &[&str], input: Option<&[u8]>) -> Running {
        let mut program = Command::new(&self.world.product);
        program.args(self.words(command, rest));
        Running::start(program, input.map(<[u8]>::to_vec))
    }

    /// Runs such a command to its end.
    pub fn command(&self, command: &[&str], rest: &[&str]) -> Output {
        self.begin(command, rest, None).wait()
    }

    /// What it has said on standard output.
    pub fn logs(&self, flags: &[&str]) -> String {
        self.command(&["logs"], &[flags, &["box"]].concat()).exits(0).text()
    }

    /// What it has said, once this is among it.
    pub fn says(&self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let said = self.logs(&[]);
            if said.contains(text) {
                return said;
            }
            assert!(Instant::now() < deadline, "it does not say {text:?} but {said:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its supervisor's process.
    pub fn supervisor(&self) -> Pid {
        let found = self.launchers().into_iter().find(|(_, words)| words.contains("--keeper"));
        Pid::from_raw(found.expect("it runs").0.cast_signed()).unwrap()
    }

    /// Its supervisor, and whoever looks after it, with their words.
    pub fn launchers(&self) -> Vec<(u32, String)> {
        let state = self.state.display().to_string();
        let words = |pid: u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ")
        };
        let all = leftovers::ours().into_iter().map(|it| (it.pid, words(it.pid)));
        all.filter(|(_, words)| words.contains(&state) && words.contains(" run ")).collect()
    }

    /// Waits until nobody runs it, or looks after it.
    #[track_caller]
    pub fn is_left_alone(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.launchers().is_empty() {
            assert!(Instant::now() < deadline, "{:?}", self.launchers());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
