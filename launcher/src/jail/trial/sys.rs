//! What is tried: system calls, bare, because no library offers to do such things.

use libc::{c_long, pid_t};
use rustix::io::Errno;

/// One thing that was tried.
pub(super) struct Attempt {
    /// What.
    pub what: String,
    /// What came of it.
    pub answer: Result<(), Errno>,
}

const NOTHING: c_long = 0;

fn call(number: c_long, arguments: [c_long; 6]) -> Result<c_long, Errno> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: every attempt below passes numbers, null, and pointers to what outlives it. What succeeds does
    // no harm to this process but the one its test looks for.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        let raw = std::io::Error::last_os_error().raw_os_error();
        return Err(raw.map_or(Errno::IO, Errno::from_raw_os_error));
    }
    Ok(result)
}

fn at<T: ?Sized>(value: &T) -> c_long {
    (&raw const *value).cast::<u8>().expose_provenance() as c_long
}

/// Tries everything; `family` are processes of the same sandbox, the launcher first.
pub(super) fn everything(family: &[pid_t]) -> Vec<Attempt> {
    let mut tried = Vec::new();
    let mut attempt = |what: &str, number, arguments: [c_long; 6]| {
        let answer = call(number, arguments).map(|_| ());
        tried.push(Attempt { what: what.to_owned(), answer });
    };
    files(&mut attempt);
    privileges(&mut attempt);
    kernel(&mut attempt);
    memory(&mut attempt);
    for (index, &process) in family.iter().enumerate() {
        others(&mut attempt, if index == 0 { "the launcher" } else { "a sibling" }, process);
    }
    processes(&mut tried);
    tried
}

type Try<'a> = dyn FnMut(&str, c_long, [c_long; 6]) + 'a;

fn files(attempt: &mut Try<'_>) {
    const HERE: c_long = libc::AT_FDCWD as c_long;
    let mut open = |what: &str, path: &'static std::ffi::CStr, flags: i32| {
        let arguments = [HERE, at(path), flags.into(), 0o600, NOTHING, NOTHING];
        attempt(what, libc::SYS_openat, arguments);
    };
    open("open /etc/passwd", c"/etc/passwd", libc::O_RDONLY);
    open("open /proc/self/mem", c"/proc/self/mem", libc::O_RDWR);
    open("open /dev/kvm", c"/dev/kvm", libc::O_RDWR);
    open("make a file in /tmp", c"/tmp/cofferdam-trial", libc::O_RDWR | libc::O_CREAT);
    open("list /", c"/", libc::O_RDONLY | libc::O_DIRECTORY);
    let path = at(c"/etc/passwd");
    attempt("chmod a file", libc::SYS_fchmodat, [HERE, path, 0o666, 0, 0, 0]);
    attempt("make a device", libc::SYS_mknodat, [HERE, at(c"/tmp/d"), 0o020_600, 0x103, 0, 0]);
    attempt("open by handle", libc::SYS_open_by_handle_at, [HERE, path, 0, 0, 0, 0]);
    attempt("change root", libc::SYS_chroot, [at(c"/proc"), 0, 0, 0, 0, 0]);
}

fn privileges(attempt: &mut Try<'_>) {
    let pair = [0i64; 2];
    attempt("become root", libc::SYS_setresuid, [0, 0, 0, 0, 0, 0]);
    let dumpable = libc::PR_SET_DUMPABLE.into();
    attempt("be dumpable", libc::SYS_prctl, [dumpable, 1, 0, 0, 0, 0]);
    // Not left so: the others try to look into this process.
    let _ = call(libc::SYS_prctl, [dumpable, 0, 0, 0, 0, 0]);
    let limit = [u64::MAX; 2];
    let descriptors = libc::RLIMIT_NOFILE as c_long;
    attempt("raise a limit", libc::SYS_prlimit64, [0, descriptors, at(&limit), 0, 0, 0]);
    attempt("a user namespace", libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0, 0]);
    attempt("join a namespace", libc::SYS_setns, [0, 0, 0, 0, 0, 0]);
    attempt("a TCP socket", libc::SYS_socket, [libc::AF_INET.into(), 1, 0, 0, 0, 0]);
    attempt("a netlink socket", libc::SYS_socket, [libc::AF_NETLINK.into(), 3, 0, 0, 0, 0]);
    attempt("a vsock", libc::SYS_socket, [libc::AF_VSOCK.into(), 1, 0, 0, 0, 0]);
    attempt("a Unix socket", libc::SYS_socket, [libc::AF_UNIX.into(), 1, 0, 0, 0, 0]);
    attempt("a socket pair", libc::SYS_socketpair, [libc::AF_UNIX.into(), 1, 0, at(&pair), 0, 0]);
}

fn kernel(attempt: &mut Try<'_>) {
    let nowhere = at(c"/nowhere");
    attempt("mount", libc::SYS_mount, [nowhere, nowhere, nowhere, 0, 0, 0]);
    attempt("load a module", libc::SYS_init_module, [0, 0, nowhere, 0, 0, 0]);
    attempt("load BPF", libc::SYS_bpf, [0, 0, 0, 0, 0, 0]);
    attempt("count events", libc::SYS_perf_event_open, [0, 0, -1, -1, 0, 0]);
    attempt("io_uring", libc::SYS_io_uring_setup, [1, at(&[0u8; 256]), 0, 0, 0, 0]);
    attempt("userfaultfd", libc::SYS_userfaultfd, [0, 0, 0, 0, 0, 0]);
    attempt("a key", libc::SYS_add_key, [nowhere, nowhere, 0, 0, -1, 0]);
    attempt("the kernel's log", libc::SYS_syslog, [3, at(&[0u8; 64]), 64, 0, 0, 0]);
    attempt("personality", libc::SYS_personality, [0x004_0000, 0, 0, 0, 0, 0]);
}

fn memory(attempt: &mut Try<'_>) {
    let executable: c_long = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC).into();
    let anonymous: c_long = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS).into();
    attempt("executable memory", libc::SYS_mmap, [0, 4096, executable, anonymous, -1, 0]);
    attempt("a file in memory", libc::SYS_memfd_create, [at(c"trial"), 0, 0, 0, 0, 0]);
}

fn others(attempt: &mut Try<'_>, who: &str, process: pid_t) {
    let process = c_long::from(process);
    let buffer = [0u8; 8];
    let vector = [at(&buffer), 8];
    let mut on =
        |what: &str, number, arguments| attempt(&format!("{what} {who}"), number, arguments);
    let seize: c_long = libc::PTRACE_SEIZE.into();
    on("trace", libc::SYS_ptrace, [seize, process, 0, 0, 0, 0]);
    on(
        "read the memory of",
        libc::SYS_process_vm_readv,
        [process, at(&vector), 1, at(&vector), 1, 0],
    );
    on("signal", libc::SYS_kill, [process, 0, 0, 0, 0, 0]);
    on("signal a thread of", libc::SYS_tgkill, [process, process, 0, 0, 0, 0]);
    on("hold", libc::SYS_pidfd_open, [process, 0, 0, 0, 0, 0]);
    let path = std::ffi::CString::new(format!("/proc/{process}/mem")).unwrap_or_default();
    on("open the memory of", libc::SYS_openat, [-100, at(path.as_c_str()), 2, 0, 0, 0]);
    on("ask the limits of", libc::SYS_prlimit64, [process, 7, 0, at(&[0u64; 2]), 0, 0]);
    if let Ok(held) = call(libc::SYS_pidfd_open, [process, 0, 0, 0, 0, 0]) {
        on("borrow a descriptor of", libc::SYS_pidfd_getfd, [held, 2, 0, 0, 0, 0]);
        let _ = call(libc::SYS_close, [held, 0, 0, 0, 0, 0]);
    }
}

fn processes(tried: &mut Vec<Attempt>) {
    let none: [usize; 1] = [0];
    let forked = call(libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0, 0, 0]);
    if forked == Ok(0) {
        // SAFETY: the child does nothing but end.
        unsafe { libc::_exit(0) };
    }
    tried.push(Attempt { what: "start a process".to_owned(), answer: forked.map(|_| ()) });
    // A file that cannot be executed: whoever may execute is told that, whoever may not is refused before.
    let executed = call(libc::SYS_execve, [at(c"/etc/passwd"), at(&none), at(&none), 0, 0, 0]);
    tried.push(Attempt { what: "execute a file".to_owned(), answer: executed.map(|_| ()) });
}
