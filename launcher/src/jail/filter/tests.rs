use super::*;
use std::collections::BTreeSet;

fn calls(list: &str) -> BTreeSet<String> {
    let path = format!("{}/src/jail/filter/{list}.list", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let calls = lines.filter_map(|line| line.split_once(':')?.0.split_whitespace().next());
    calls.map(str::to_owned).collect()
}

const OF_A_RUNNING_VMM: [&str; 7] =
    ["vmm-main", "vcpu", "block", "vsock", "entropy", "net", "watch"];

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
    for inner in ["share", "share-main", "vhost-user", "watch"] {
        within(inner, "share-start");
    }
    for inner in ["network", "watch"] {
        within(inner, "network-start");
    }
}

/// What a filter answers to a call whose arguments are all zero.
fn answer(program: &[sock_filter], number: u32) -> u32 {
    const ARCHITECTURE: u32 = 0xc000_003e;
    let (mut at, mut word) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { jt } else { jf });
        match code {
            0x20 => word = [number, ARCHITECTURE].get(k as usize / 4).copied().unwrap_or_default(),
            0x54 => word &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(word == k),
            0x25 => at += jump(word > k),
            0x35 => at += jump(word >= k),
            0x45 => at += jump(word & k != 0),
            0x06 => return k,
            other => panic!("{other:#x} at {at}"),
        }
    }
}

/// The search that a list is compiled to finds every call, and no other.
#[test]
fn each_list_allows_what_stands_on_it() {
    const LISTS: [(&str, List); 17] = [
        ("launcher", List::Launcher),
        ("probe", List::Probe),
        ("unpack", List::Unpack),
        ("vmm-start", List::VmmStart),
        ("vmm-main", List::VmmMain),
        ("vcpu", List::Vcpu),
        ("block", List::Block),
        ("vsock", List::Vsock),
        ("entropy", List::Entropy),
        ("net", List::Net),
        ("watch", List::Watch),
        ("devices-start", List::DevicesStart),
        ("devices-main", List::DevicesMain),
        ("vhost-user", List::VhostUser),
        ("network-start", List::NetworkStart),
        ("network", List::Network),
        ("qemu", List::Qemu),
    ];
    for (name, list) in LISTS {
        let path = format!("{}/src/jail/filter/{name}.list", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let heads = text.lines().filter_map(|line| line.split('#').next()?.split_once(':'));
        let (mut free, mut listed) = (BTreeSet::new(), BTreeSet::new());
        for (head, _) in heads {
            let mut words = head.split_whitespace();
            let number = words.next().unwrap().parse::<syscalls::Sysno>().unwrap().id() as u32;
            listed.insert(number);
            if words.next().is_none() {
                free.insert(number);
            }
        }
        assert!(listed.len() >= 2, "{name}: {listed:?}");
        let program = list.program();
        for number in (0..600).chain([0x4000_0000, u32::MAX]) {
            let is_allowed = answer(program, number) == libc::SECCOMP_RET_ALLOW;
            assert!(is_allowed || !free.contains(&number), "{name}: {number} is denied");
            assert!(!is_allowed || listed.contains(&number), "{name}: {number} is allowed");
        }
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
