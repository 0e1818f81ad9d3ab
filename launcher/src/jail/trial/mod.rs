//! For tests alone (feature `trial`, never in what is shipped): our processes try what they may not do, or
//! have a wall less than they should.
//!
//! Owns: what is tried, and how it is told. Never does: take part in a build without the feature.
//!
//! `COFFERDAM_TRIAL` holds words: `attempt` has each process, from behind its walls, try everything below and
//! say on standard error what came of it; `without=LIST:CALL` takes a call off a list; `landlock=N` has no
//! newer Landlock than this; `no-seccomp` has no filters; `open` has every list allow everything, to see what
//! is called; `no-death-signal` has no process tied to its parent.

mod sys;

use super::walls::Walls;
use libc::sock_filter;
use rustix::io::Errno;
use rustix::process::Pid;
use std::io::Write;
use sys::Attempt;

const LOAD_NUMBER: sock_filter = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();

/// What a thread needs to tell what it tried: the words, and a turn at standard error, for which it waits
/// while another has it.
const TELLING: [libc::c_long; 2] = [libc::SYS_write, libc::SYS_futex];

/// What is to be tried in this process: a child has it from the launcher.
pub(super) fn words() -> String {
    let from_launcher = std::env::args().nth(2).filter(|_| is_child());
    from_launcher.or_else(|| std::env::var("COFFERDAM_TRIAL").ok()).unwrap_or_default()
}

/// The processes that a child finds around it: the launcher, and its other children.
pub(super) fn family(children: &[Pid]) -> String {
    let all = [rustix::process::getpid()].into_iter().chain(children.iter().copied());
    all.map(|pid| pid.as_raw_nonzero().to_string()).collect::<Vec<_>>().join(",")
}

/// Whether processes are to try what they may not do.
pub(super) fn attempts() -> bool {
    is("attempt")
}

/// Whether a word stands among those of this trial.
pub(super) fn is(word: &str) -> bool {
    words().split_whitespace().any(|it| it == word)
}

/// What this process has to wall itself in with.
pub(super) fn fewer(mut walls: Walls) -> Walls {
    for word in words().split_whitespace() {
        match word.split_once('=') {
            Some(("landlock", most)) => {
                walls.landlock = walls.landlock.min(most.parse().unwrap_or(u8::MAX));
            }
            _ if word == "no-seccomp" => walls.seccomp = false,
            _ => {}
        }
    }
    walls
}

/// A list's program as the trial wants it.
pub(super) fn changed(list: &str, program: Vec<sock_filter>) -> Vec<sock_filter> {
    if is("open") {
        return vec![sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW }];
    }
    let (mut first, mut rest) = (Vec::new(), program);
    for word in words().split_whitespace() {
        if let Some((of, call)) = word.strip_prefix("without=").and_then(|it| it.split_once(':'))
            && of == list
        {
            first.extend(when(call.parse().unwrap_or(u32::MAX), otherwise(list)));
        }
        if word == "attempt" {
            for call in TELLING {
                let call = u32::try_from(call).unwrap_or(u32::MAX);
                first.extend(when(call, libc::SECCOMP_RET_ALLOW));
            }
            let returns = |code: u16| code == 0x06;
            let kills = rest.iter_mut().filter(|it| returns(it.code) && it.k == KILL);
            kills.for_each(|it| it.k = REFUSE);
        }
    }
    first.extend(rest);
    first
}

/// What becomes of a call that is not on a list.
fn otherwise(list: &str) -> u32 {
    if matches!(list, "launcher" | "qemu") { UNKNOWN } else { KILL }
}

fn when(call: u32, answer: u32) -> [sock_filter; 3] {
    [
        LOAD_NUMBER,
        sock_filter { code: 0x15, jt: 0, jf: 1, k: call },
        sock_filter { code: 0x06, jt: 0, jf: 0, k: answer },
    ]
}

/// Tries everything, where that is the trial, and says what came of it.
pub(super) fn attempt(who: &str) {
    if !attempts() {
        return;
    }
    let family = std::env::args().nth(3).filter(|_| is_child()).unwrap_or_default();
    let family = family.split(',').filter_map(|id| id.parse().ok()).collect::<Vec<i32>>();
    let mut report = String::new();
    for Attempt { what, answer } in sys::everything(&family) {
        let came_of_it = match answer {
            Ok(()) => "DONE".to_owned(),
            Err(errno) => format!("refused ({})", name(errno)),
        };
        report.push_str(&format!("trial: {who}: {what}: {came_of_it}\n"));
    }
    // Where it cannot be said the test has nothing to read, and fails.
    let _ = std::io::stderr().write_all(report.as_bytes());
}

fn name(errno: Errno) -> String {
    const KNOWN: [(Errno, &str); 8] = [
        (Errno::PERM, "EPERM"),
        (Errno::NOENT, "ENOENT"),
        (Errno::SRCH, "ESRCH"),
        (Errno::BADF, "EBADF"),
        (Errno::ACCESS, "EACCES"),
        (Errno::FAULT, "EFAULT"),
        (Errno::INVAL, "EINVAL"),
        (Errno::NOSYS, "ENOSYS"),
    ];
    let known = KNOWN.iter().find(|(it, _)| *it == errno).map(|(_, name)| (*name).to_owned());
    known.unwrap_or_else(|| errno.to_string())
}

fn is_child() -> bool {
    std::env::args().next().is_some_and(|name| name.starts_with("cofferdam-"))
}
