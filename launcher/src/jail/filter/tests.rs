use super::*;
use std::collections::BTreeSet;

fn calls(list: &str) -> BTreeSet<String> {
    let path = format!("{}/src/jail/filter/{list}.list", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let calls = lines.filter_map(|line| line.split_once(':')?.0.split_whitespace().next());
    calls.map(str::to_owned).collect()
}

const OF_A_RUNNING_VMM: [&str; 6] = ["vmm-main", "vcpu", "block", "vsock", "entropy", "watch"];

#[test]
fn a_vmm_that_runs_makes_at_most_25_calls_and_none_that_reaches_out() {
    let all: BTreeSet<String> = OF_A_RUNNING_VMM.into_iter().flat_map(calls).collect();
    assert!((15..=25).contains(&all.len()), "{}: {all:?}", all.len());
    let never = [
        "open",
        "openat",
        "openat2",
        "socket",
        "socketpair",
        "connect",
        "bind",
        "execve",
        "execveat",
        "clone",
        "clone3",
        "fork",
        "vfork",
        "ptrace",
        "kill",
        "tkill",
        "process_vm_readv",
        "pidfd_open",
        "pidfd_getfd",
        "pidfd_send_signal",
        "mmap",
        "mprotect",
        "prctl",
        "seccomp",
    ];
    for call in never {
        assert!(!all.contains(call), "{call}");
    }
}

/// Filters add up: what an outer list denies, no inner one can allow.
#[test]
fn each_list_is_within_those_around_it() {
    let within = |inner: &str, outer: &str| {
        let (inner_calls, outer_calls) = (calls(inner), calls(outer));
        let beyond: Vec<_> = inner_calls.difference(&outer_calls).collect();
        assert!(beyond.is_empty(), "{inner} allows what {outer} does not: {beyond:?}");
    };
    for inner in ["vmm-start", "devices-start", "probe", "unpack", "qemu"] {
        within(inner, "launcher");
    }
    OF_A_RUNNING_VMM.into_iter().for_each(|inner| within(inner, "vmm-start"));
    for inner in ["devices-main", "vhost-user", "block", "vsock", "watch"] {
        within(inner, "devices-start");
    }
}

/// This test runs itself again, in a process that nobody else runs in, for each thing that is tried there.
#[test]
fn what_is_not_on_a_list_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    const NAME: &str = "jail::filter::tests::what_is_not_on_a_list_ends_the_process";
    const TRIED: &str = "COFFERDAM_TEST_CONFINED";
    if let Ok(what) = std::env::var(TRIED) {
        try_confined(&what);
    }
    let run = |what: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture"]).env(TRIED, what);
        command.stdout(std::process::Stdio::null()).status().unwrap()
    };
    assert_eq!(run("listed").code(), Some(7));
    assert_eq!(run("unlisted").signal(), Some(libc::SIGSYS));
    assert_eq!(run("own").code(), Some(7));
    assert_eq!(run("other").signal(), Some(libc::SIGSYS));
}

fn try_confined(what: &str) -> ! {
    rustix::thread::set_no_new_privs(true).unwrap();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    confine(List::VmmMain).unwrap();
    match what {
        "listed" => drop(rustix::io::write(rustix::stdio::stderr(), b"")),
        "unlisted" => drop(std::fs::File::open("/")),
        "own" => crate::sys::signal_thread(own, thread, 0),
        _ => crate::sys::signal_thread(1, 1, 0),
    }
    crate::sys::exit_now(7)
}
