//! A run under strace: what each of its threads asked the kernel for, and behind which lists.
//!
//! Owns: reading strace's words. Never does: say what is right.
//!
//! A thread's lists follow from who it is and how many filters it, and those it stems from, have loaded:
//! the launcher's, its process's, its own kind's.

use super::product::{Output, Running, Sandbox};
use super::{Kind, World, leftovers};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Each call of a traced process waits for strace, perhaps in a machine that is emulated itself.
const PATIENCE: Duration = Duration::from_secs(600);

/// What stands for the call that a process was killed for.
const KILLED: &str = "a call that killed it";

/// What a traced run did.
#[derive(Debug, Default)]
pub struct Trace {
    /// The calls that were made behind each list.
    pub calls: BTreeMap<String, BTreeSet<String>>,
    /// What each process opened by name, and the sockets it made: `PROCESS: CALL WHAT`.
    pub opened: BTreeSet<String>,
    /// The waits behind each list that go on, once they were stopped, by restart_syscall.
    pub restarted: BTreeSet<(String, String)>,
    /// Of the calls for which each list is the last: those that the kernel took, once at least, and those for
    /// which it was told that there is no such call.
    granted: BTreeSet<(String, String)>,
    denied: BTreeSet<(String, String)>,
    /// The lists that a process was killed behind.
    pub killed: BTreeSet<String>,
}

/// Who a thread is.
#[derive(Debug, Clone, Default)]
struct Thread {
    /// The name its process was executed under.
    process: String,
    /// The name it has given itself; the first of a process has none.
    name: Option<String>,
    /// The lists that it is behind.
    lists: Vec<String>,
    /// The first word of what a launcher was asked.
    command: Option<String>,
}

/// A call, put together where other threads came between its beginning and its end.
struct Call<'a> {
    thread: u32,
    name: &'a str,
    text: String,
    /// This is where it began.
    begins: bool,
    /// This is where it ended: its text is whole.
    ended: bool,
}

impl World {
    /// Runs the product with these arguments under strace, with options of strace's, to its end.
    pub fn traced(
        &self,
        arguments: &[String],
        input: Option<Vec<u8>>,
        options: &[&str],
    ) -> (Output, Trace) {
        let log = self.scratch_file("strace");
        let mut strace = strace(&log, options, &self.product, arguments);
        strace.envs(self.trial.iter().map(|words| ("COFFERDAM_TRIAL", words)));
        let output = Running::start(strace, input).wait_within(PATIENCE);
        (output, Trace::of(&log, &self.product))
    }
}

fn strace(log: &Path, options: &[&str], product: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new("strace");
    command.args(["--follow-forks", "--abbrev=all", "--string-limit=4096", "--output"]);
    command.arg(log).args(options).arg(product).args(arguments);
    command
}

impl Sandbox<'_> {
    /// Runs it with a command under strace, with options of strace's, to its end.
    pub fn traced(&self, command: &[&str], options: &[&str]) -> (Output, Trace) {
        let log = self.world.scratch_file("strace");
        let strace = self.under_strace(&log, options, command);
        let output = Running::start(strace, self.input.clone()).wait_within(PATIENCE);
        (output, Trace::of(&log, &self.product))
    }

    /// The same; where its QEMU is stopped, it goes on in a moment.
    pub fn traced_and_continued(&self, command: &[&str], options: &[&str]) -> (Output, Trace) {
        let log = self.world.scratch_file("strace");
        let running = Running::start(self.under_strace(&log, options, command), self.input.clone());
        let (root, (runs, ended)) = (running.pid(), channel::<()>());
        let go_on = move || {
            while ended.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
                let family = leftovers::family(root).into_iter();
                let qemu = family.filter(|it| it.kind == Some(Kind::Qemu));
                let pids = qemu.filter_map(|it| Pid::from_raw(it.pid.cast_signed()));
                // One that has just ended needs nothing.
                pids.for_each(|pid| _ = kill_process(pid, Signal::CONT));
            }
        };
        let going_on = std::thread::spawn(go_on);
        let output = running.wait_within(PATIENCE);
        drop(runs);
        going_on.join().expect("it only sends signals");
        (output, Trace::of(&log, &self.product))
    }

    /// The same; once it prints something, a deed is done to its processes, the launcher first.
    pub fn traced_while(
        &self,
        command: &[&str],
        options: &[&str],
        deed: impl FnOnce(&[Pid]),
    ) -> (Output, Trace) {
        let (log, out) = (self.world.scratch_file("strace"), self.world.scratch_file("stdout"));
        let stdout = std::fs::File::create(&out).expect("a file");
        let running = Running::watched(self.under_strace(&log, options, command), stdout);
        let patience = Instant::now() + Duration::from_secs(60);
        while std::fs::metadata(&out).map_or(0, |it| it.len()) == 0 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        let descent = leftovers::descent(running.pid()).into_iter().skip(1);
        let processes: Vec<Pid> =
            descent.filter_map(|pid| Pid::from_raw(pid.cast_signed())).collect();
        assert!(processes.len() > 1, "{processes:?}");
        deed(&processes);
        let mut output = running.wait_within(PATIENCE);
        output.stdout = std::fs::read(&out).expect("what it printed");
        (output, Trace::of(&log, &self.product))
    }
}

impl Sandbox<'_> {
    fn under_strace(&self, log: &Path, options: &[&str], command: &[&str]) -> Command {
        // Each call of a traced process waits for strace: a guest that boots so takes its time.
        let arguments = self.clone().flags(&["--boot-timeout", "150"]).arguments(command);
        let mut strace = strace(log, options, &self.product, &arguments);
        strace.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.placed(strace)
    }
}

impl Trace {
    /// What another run did, too.
    pub fn add(&mut self, other: Self) {
        for (list, calls) in other.calls {
            self.calls.entry(list).or_default().extend(calls);
        }
        self.opened.extend(other.opened);
        self.restarted.extend(other.restarted);
        self.granted.extend(other.granted);
        self.denied.extend(other.denied);
        self.killed.extend(other.killed);
    }

    /// Whether a call was asked for behind a list, and never granted.
    pub fn is_denied(&self, list: &str, call: &str) -> bool {
        let it = (list.to_owned(), call.to_owned());
        self.denied.contains(&it) && !self.granted.contains(&it)
    }

    fn answered(&mut self, list: &str, call: &Call<'_>) {
        let denied = call.text.contains(" = -1 ENOSYS ");
        let answers = if denied { &mut self.denied } else { &mut self.granted };
        answers.insert((list.to_owned(), call.name.to_owned()));
    }

    fn of(log: &Path, product: &Path) -> Self {
        let text = std::fs::read(log).expect("strace leaves a log");
        let launcher = product.file_name().unwrap_or_default().to_string_lossy();
        Self::read(&String::from_utf8_lossy(&text), &launcher)
    }

    fn read(text: &str, launcher: &str) -> Self {
        let calls = calls(text);
        // Who was started in which call: its first words may come before that call's end.
        let mut begun: HashMap<u32, usize> = HashMap::new();
        let mut started: HashMap<usize, u32> = HashMap::new();
        for (at, call) in calls.iter().enumerate() {
            if !matches!(call.name, "clone" | "clone3" | "vfork" | "fork") {
                continue;
            }
            let beginning = *begun.entry(call.thread).or_insert(at);
            if call.ended {
                begun.remove(&call.thread);
                let child = child(&call.text);
                child.map(|child| started.insert(beginning, child));
            }
        }
        let mut threads: HashMap<u32, Thread> = HashMap::new();
        let mut trace = Self::default();
        for (at, call) in calls.iter().enumerate() {
            let thread = threads.entry(call.thread).or_default().clone();
            // A thread that is killed may be said to have ended some other call than it began.
            for list in thread.lists.iter().filter(|_| call.begins) {
                let known = trace.calls.entry(list.clone()).or_default();
                known.insert(call.name.to_owned());
                if call.is_restarted() {
                    trace.restarted.insert((list.clone(), call.name.to_owned()));
                }
            }
            started.get(&at).map(|child| threads.insert(*child, thread.clone()));
            if call.name == KILLED {
                trace.killed.extend(thread.lists.last().cloned());
            }
            if call.ended {
                if let Some(list) = thread.lists.last() {
                    trace.answered(list, call);
                }
                trace.opened.extend(opened(&thread, call, launcher));
                let thread = threads.entry(call.thread).or_default();
                thread.went_through(call, launcher);
            }
        }
        trace
    }
}

impl Call<'_> {
    /// Whether it is a wait that the kernel goes on with, once it was stopped, by a call of its own: what is left
    /// of a given time stands in no argument. Others are made again as they were, or end with EINTR.
    fn is_restarted(&self) -> bool {
        match self.name {
            "poll" | "nanosleep" => true,
            "clock_nanosleep" => !self.text.contains("TIMER_ABSTIME"),
            "futex" => self.text.contains("_WAIT") && self.text.contains("{tv_sec="),
            _ => false,
        }
    }
}

impl Thread {
    /// What a call made of it.
    fn went_through(&mut self, call: &Call<'_>, launcher: &str) {
        let succeeded = result(&call.text) == Some("0");
        match call.name {
            "execve" if succeeded => {
                let name = call.text.split('"').nth(3).unwrap_or_default();
                self.process = name.rsplit('/').next().unwrap_or_default().to_owned();
                self.name = None;
                self.command = call.text.split('"').nth(5).map(str::to_owned);
            }
            "prctl" if call.text.starts_with("PR_SET_NAME") => {
                self.name = call.text.split('"').nth(1).map(str::to_owned);
            }
            "seccomp" if succeeded && call.text.starts_with("SECCOMP_SET_MODE_FILTER") => {
                self.lists.push(self.next_list(launcher));
            }
            _ => {}
        }
    }

    fn next_list(&self, launcher: &str) -> String {
        let process = self.process.strip_prefix("cofferdam-").unwrap_or(&self.process);
        match (process, self.lists.len(), &self.name) {
            (process, 0, _) if process == launcher => match self.command.as_deref() {
                Some("pull") => "launcher-fetching".to_owned(),
                Some("cp") => "copier".to_owned(),
                _ => "launcher".to_owned(),
            },
            // It stands beside the launcher, and is behind no list of its.
            ("share", 0, _) => "share-start".to_owned(),
            ("share", 1, None) => "share-main".to_owned(),
            ("share", 1, Some(name)) if name == "file-system" => "share".to_owned(),
            ("share", 1, Some(name)) => name.clone(),
            // So does this one.
            ("network", 0, _) => "network-start".to_owned(),
            ("network", 1, None) => "network".to_owned(),
            ("network", 1, Some(name)) => name.clone(),
            ("vmm" | "devices", 1, _) => format!("{process}-start"),
            ("vmm" | "devices", 2, None) => format!("{process}-main"),
            ("vmm" | "devices", 2, Some(name)) => name.clone(),
            ("probe" | "unpack" | "fetch" | "qemu", 1, _) => process.to_owned(),
            // QEMU's own, which is none of our lists.
            (process, depth, _) => format!("{process}'s filter {depth}"),
        }
    }
}

/// All calls, in the order of their beginnings and ends.
fn calls(text: &str) -> Vec<Call<'_>> {
    let mut unfinished: HashMap<u32, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((thread, words)) = line.split_once(' ') else { continue };
        let Ok(thread) = thread.parse() else { continue };
        let words = words.trim_start();
        if words.starts_with("+++ killed by SIGSYS") {
            let text = unfinished.remove(&thread).unwrap_or_default();
            calls.push(Call { thread, name: KILLED, text, begins: false, ended: false });
        } else if let Some(resumed) = words.strip_prefix("<... ") {
            let Some((name, rest)) = resumed.split_once(" resumed>") else { continue };
            let text = unfinished.remove(&thread).unwrap_or_default() + rest;
            calls.push(Call { thread, name, text, begins: false, ended: true });
        } else if let Some((name, rest)) = words.split_once('(').filter(|(name, _)| is_name(name)) {
            let (text, ended) = match rest.strip_suffix(" <unfinished ...>") {
                Some(text) => (text, false),
                None => (rest, true),
            };
            if !ended {
                unfinished.insert(thread, text.to_owned());
            }
            calls.push(Call { thread, name, text: text.to_owned(), begins: true, ended });
        }
    }
    calls
}

fn is_name(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The thread that a call started, as strace numbers it.
fn child(text: &str) -> Option<u32> {
    let (_, result) = text.rsplit_once(" = ")?;
    let outside =
        result.split_once("/* ").and_then(|(_, it)| it.strip_suffix(" in strace's PID NS */"));
    outside.or_else(|| result.split_whitespace().next())?.parse().ok()
}

/// What a call gave, without the words that strace adds.
fn result(text: &str) -> Option<&str> {
    let (_, result) = text.rsplit_once(" = ")?;
    result.split_whitespace().next()
}

/// What a call opened or made, where that has a name outside the process or is a socket.
fn opened(thread: &Thread, call: &Call<'_>, launcher: &str) -> Option<String> {
    let succeeded = result(&call.text)?.parse::<i64>().is_ok_and(|number| number >= 0);
    let words = match call.name {
        "open" | "openat" | "execve" | "connect" | "memfd_create" => {
            call.text.split('"').nth(1).unwrap_or_default()
        }
        "socket" | "socketpair" => call.text.split(", ").next().unwrap_or_default(),
        _ => return None,
    };
    let process = if thread.process == launcher || thread.process.is_empty() {
        "launcher"
    } else {
        &thread.process
    };
    succeeded.then(|| format!("{process}: {} {words}", call.name))
}
