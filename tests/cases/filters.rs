//! The lists of system calls that our processes are held to: each call on each list is made in the case that
//! the list names for it. What is made and not on the list ends the process, and with it the case.

use crate::cases;
use crate::harness::copied::Tree;
use crate::harness::docker;
use crate::harness::filter_list::{FilterList, all_lists};
use crate::harness::living::Living;
use crate::harness::names::NameServer;
use crate::harness::nets::{self, Kinds, Nets};
use crate::harness::registry::{Door, Registry};
use crate::harness::strace::Trace;
use crate::harness::{Accelerator, Output, World};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use syscalls::Sysno;

cases! {
    Both: a_run, an_exec, a_copy, a_joined_container, a_kept_disk, a_console, a_discard, a_reset_device, a_share, a_network, a_stopped_sandbox,
        interrupted_waits, a_swept_store, an_outer_init;
    Tcg: a_pull, a_docker;
    Kvm: a_crash, a_probe, a_slow_clock, a_lost_launcher;
}

/// Strace's options where KVM's calls are not what is looked for: each letter of a console is one, and each
/// word between two vCPUs.
const UNTRACED_KVM: [&str; 2] = ["--seccomp-bpf", "--trace=!ioctl"];

/// What the lists say of a case, held against what was seen.
fn holds(world: &World, case: &str, trace: &Trace) {
    assert!(trace.killed.is_empty(), "{case}: killed behind {:?}", trace.killed);
    let accelerator = world.accelerator.name();
    let nothing = BTreeSet::new();
    for FilterList { name, calls } in all_lists(accelerator) {
        let seen = trace.calls.get(&name).unwrap_or(&nothing);
        let named = calls.iter().filter(|call| call.is_needed_by(accelerator, case));
        let unneeded: Vec<_> = named.filter(|call| !seen.contains(&call.name)).collect();
        let denied = calls.iter().filter(|call| trace.is_denied(&name, &call.name));
        let denied: Vec<_> = denied.collect();
        assert!(denied.is_empty(), "{name}.list has what was denied in {case}: {denied:?}");
        assert!(
            unneeded.is_empty(),
            "{name}.list names {case} for what it does without: {unneeded:?}; seen: {seen:?}"
        );
        let restarted = trace.restarted.iter().filter(|(list, _)| *list == name);
        let restarted: Vec<_> = restarted.map(|(_, call)| call).collect();
        let can_go_on = calls.iter().any(|call| call.name == "restart_syscall");
        assert!(
            can_go_on || restarted.is_empty(),
            "{name}.list lacks restart_syscall, by which {restarted:?} goes on where it was stopped"
        );
    }
}

/// Takes each call off each list, one by one, and has a case that the list names for it run: it fails. Gives
/// those that were not missed.
pub fn unmissed(world: &World) -> Vec<String> {
    let accelerator = world.accelerator.name();
    let mut unmissed = Vec::new();
    for FilterList { name: list, calls } in all_lists(accelerator) {
        for call in calls {
            let number = call.name.parse::<Sysno>().expect("a call's name").id();
            let case = CASES.iter().find(|it| call.is_needed_by(accelerator, it.path.1));
            let Some(case) = case else { continue };
            let trial = world.on_trial(&format!("without={list}:{number}"));
            if case.outcome(&trial).failure.is_none() {
                unmissed.push(format!("{list}: {} in {}", call.name, case.path.1));
            }
        }
    }
    unmissed
}

/// Files read, written and synced; streams both ways; an image unpacked.
fn a_run(world: &World) {
    let script = "cat; dd if=/dev/zero of=/big bs=1M count=4 2> /dev/null; sync; echo said >&2";
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state).input(b"heard\n".to_vec());
    let (output, trace) = sandbox.traced(&["sh", "-c", script], &[]);
    output.prints("heard");
    holds(world, "a_run", &trace);
}

/// Somebody comes for a further process.
fn an_exec(world: &World) {
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state).flags(&["--name", "box"]);
    let script = "echo up; until [ -e /go ]; do sleep 0.1; done; cat /go; sleep 3";
    let come = |_: &[Pid]| {
        let words = ["exec", "--state-dir", &state.display().to_string(), "box"];
        let script = "echo came > /go; echo said; echo more >&2";
        world.command(&[&words[..], &["sh", "-c", script]].concat()).prints("said");
    };
    let (output, trace) = sandbox.traced_while(&["sh", "-c", script], &UNTRACED_KVM, come);
    output.prints("up\ncame");
    holds(world, "an_exec", &trace);
}

/// Files of every kind go in and come out, by paths and by standard streams.
fn a_copy(world: &World) {
    let sandbox = Living::start(world, &[]);
    let tree = Tree::make(world);
    let copy = |flags: &[&str], from: &str, to: &str, input: Option<Vec<u8>>| {
        let words = sandbox.copy_words(&[flags, &[from, to]].concat());
        let (output, trace) = world.traced(&words, input, &[]);
        (output.exits(0).stdout.clone(), trace)
    };
    let (_, mut trace) = copy(&["-a"], &tree.path(), "box:/there", None);
    trace.add(copy(&["-L"], &format!("{}/link", tree.path()), "box:/followed", None).1);
    // Their names alone are more than a heap holds that has not grown.
    let many = world.fresh_state();
    for number in 0..1500 {
        std::fs::write(many.join(format!("{number:0>250}")), "").unwrap();
    }
    trace.add(copy(&[], &many.display().to_string(), "box:/many", None).1);
    let back = world.fresh_state();
    trace.add(copy(&["-a"], "box:/there", &format!("{}/back", back.display()), None).1);
    tree.is_at(&back.join("back"));
    // Once more, in the place of what is there.
    let link = back.join("link");
    std::os::unix::fs::symlink("back/more", &link).unwrap();
    trace.add(copy(&[], "box:/followed", &link.display().to_string(), None).1);
    trace.add(copy(&[], "box:/there/.", &format!("{}/back", back.display()), None).1);
    let (archive, out) = copy(&[], "box:/there", "-", None);
    trace.add(out);
    trace.add(copy(&[], "-", "box:/srv", Some(archive)).1);
    sandbox.exec(world, &[], &["cat", "/srv/there/deep/file", "/followed"]).prints("textmore");
    holds(world, "a_copy", &trace);
    sandbox.end().exits(5);
}

/// A container of another image comes to a sandbox.
fn a_joined_container(world: &World) {
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state).flags(&["--name", "box"]);
    let come = |_: &[Pid]| {
        let words =
            ["run", "--quiet", "--state-dir", &state.display().to_string(), "--sandbox", "box"];
        let words = [&words[..], &[&world.images.layered, "cat", "/part/kept"]].concat();
        world.command(&words).prints("lowest");
    };
    let script = ["sh", "-c", "echo up; sleep 15"];
    let (output, trace) = sandbox.traced_while(&script, &UNTRACED_KVM, come);
    output.prints("up");
    holds(world, "a_joined_container", &trace);
}

/// An orderly stop.
fn a_kept_disk(world: &World) {
    // Two, so that one is in the guest when the other has stopped the machine.
    let sandbox = world.sandbox().machine("256m", "2").kept();
    let (output, trace) = sandbox.traced(&["sh", "-c", "echo kept > /file"], &UNTRACED_KVM);
    output.exits(0);
    holds(world, "a_kept_disk", &trace);
}

/// A kernel that crashes, on two vCPUs: one ends the machine, and the other is brought out of the guest.
fn a_crash(world: &World) {
    let sandbox = world.sandbox().machine("256m", "2").flags(&["--privileged"]);
    let crash = ["sh", "-c", "echo c > /proc/sysrq-trigger"];
    let (output, trace) = sandbox.traced(&crash, &UNTRACED_KVM);
    output.exits(125);
    holds(world, "a_crash", &trace);
}

fn a_console(world: &World) {
    let file = world.scratch_file("console");
    let sandbox = world.sandbox().flags(&["--console", file.to_str().unwrap()]);
    let (output, trace) = sandbox.traced(&["true"], &UNTRACED_KVM);
    output.exits(0);
    assert!(std::fs::read_to_string(&file).unwrap().contains("Linux version"));
    holds(world, "a_console", &trace);
}

fn a_discard(world: &World) {
    let script = "dd if=/dev/zero of=/big bs=1M count=4 2> /dev/null; sync; rm /big; sync; \
                  mkdir /mnt; mount /dev/vdb1 /mnt && fstrim /mnt";
    let sandbox = world.sandbox().flags(&["--privileged"]);
    let (output, trace) = sandbox.traced(&["sh", "-c", script], &[]);
    output.exits(0);
    holds(world, "a_discard", &trace);
}

/// A driver that lets go of its device and takes it again.
fn a_reset_device(world: &World) {
    let script = "cd /sys/bus/virtio/drivers/virtio_rng && device=$(ls -d virtio*) && \
                  echo $device > unbind && echo $device > bind";
    let sandbox = world.sandbox().flags(&["--privileged"]);
    let (output, trace) = sandbox.traced(&["sh", "-c", script], &[]);
    output.exits(0);
    holds(world, "a_reset_device", &trace);
}

/// All that can be done to files of a shared directory, a driver that lets go of it, and an orderly stop.
fn a_share(world: &World) {
    let shared = world.fresh_state();
    let script = "cd /s && guest-tool posix . > /dev/null && echo x > file && sync -d file && mv file other && df . > /dev/null && \
                  ln -s other link && readlink link && ls -A && chown 5:6 other && chown 0:0 other && cd / && \
                  cd /sys/bus/virtio/drivers/virtiofs && device=$(ls -d virtio*) && \
                  echo $device > unbind && echo $device > bind";
    let volume = format!("{}:/s", shared.display());
    let sandbox = world.sandbox().kept().flags(&["--privileged", "-v", &volume]);
    let (output, trace) = sandbox.traced(&["sh", "-c", script], &[]);
    output.exits(0);
    holds(world, "a_share", &trace);
}

/// A guest that speaks to this place by each transport and kind of address, is refused, and is spoken to by published ports;
/// and for a while one end of its link after the other does not take what comes.
fn a_network(world: &World) {
    let nets = Nets::new(world, Kinds::Both);
    let (echo, who) = (nets::ECHO, nets::WHO);
    let script = format!(
        "n() {{ guest-tool net \"$@\"; }}; guest-tool net serve 80 > /dev/null & \
         n echo udp 198.51.100.1:{echo} 9; n echo udp [2001:db8:77::1]:{echo} 9; n ports 198.51.100.1:{who} 198.51.100.3:{who}; n echo tcp [2001:db8:77::1]:{echo} 9; \
         n try tcp 192.0.0.1:9; n try udp 198.51.100.1:9; n reset 198.51.100.1:{echo}; ping -c 1 -W 9 198.51.100.1 > /dev/null; \
         for it in 1 2 3 4; do n echo tcp 198.51.100.1:{echo} 2000000; done"
    );
    let capture = world.scratch_file("capture").display().to_string();
    let flags = ["-p", "127.0.0.1::80", "-p", "127.0.0.1:2053:80/udp", "-p", "127.0.0.1:2080:80"];
    let sandbox =
        nets.sandbox(world).flags(&flags).flags(&["--bandwidth", "500k", "--pcap", &capture]);
    let deed = |processes: &[Pid]| {
        nets.inside(|| {
            let asked =
                UdpSocket::bind("127.0.0.1:0").and_then(|it| it.send_to(b"?", "127.0.0.1:2053"));
            asked.expect("a datagram goes");
            TcpStream::connect("127.0.0.1:2080").expect("a port is open");
        });
        for _ in 0..3 {
            for name in ["cofferdam-network", "cofferdam-vmm", "qemu"] {
                stop_for_a_moment(processes, name);
            }
        }
    };
    let (output, trace) = sandbox.traced_while(&["sh", "-c", &script], &[], deed);
    let expected = format!(
        "echoed 9\nechoed 9\none port\nechoed 9\nrefused\nrefused{}",
        "\nechoed 2000000".repeat(4)
    );
    output.prints(&expected);
    holds(world, "a_network", &trace);
}

/// What Docker publishes in there is published as it appears.
fn a_docker(world: &World) {
    let nets = Nets::new(world, Kinds::V4);
    let docker = docker::sandbox(world, &nets, &[]).flags(&["--publish-docker=127.0.0.1"]);
    let come = |_: &[Pid]| {
        let begun = Instant::now();
        while nets.inside(|| TcpStream::connect("127.0.0.1:8080").is_err()) {
            assert!(begun.elapsed() < docker::PATIENCE, "it is not published");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let script = format!("echo up; {} && {} && sleep 5", docker::UP, docker::WEB);
    let (output, trace) = docker.traced_while(&["sh", "-c", &script], &UNTRACED_KVM, come);
    output.exits(0);
    holds(world, "a_docker", &trace);
}

/// Stops those of these processes that are called so, while the others go on.
fn stop_for_a_moment(processes: &[Pid], name: &str) {
    let is_called = |pid: &&Pid| {
        let words =
            std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        words.windows(name.len()).take(64).any(|window| window == name.as_bytes())
    };
    let called: Vec<Pid> = processes.iter().filter(is_called).copied().collect();
    for signal in [Signal::STOP, Signal::CONT] {
        called.iter().for_each(|pid| _ = kill_process(*pid, signal));
        std::thread::sleep(Duration::from_millis(400));
    }
}

/// A sandbox all of whose processes are stopped for a moment, as a user's Ctrl-Z or a freezer does.
fn a_stopped_sandbox(world: &World) {
    let stop = |processes: &[Pid]| {
        for signal in [Signal::STOP, Signal::CONT] {
            // One that has just ended needs no stopping.
            processes.iter().for_each(|pid| _ = kill_process(*pid, signal));
            std::thread::sleep(Duration::from_millis(300));
        }
    };
    let command = ["sh", "-c", "echo up; sleep 3; echo on"];
    let (output, trace) = world.sandbox().traced_while(&command, &[], stop);
    output.prints("up\non");
    holds(world, "a_stopped_sandbox", &trace);
}

/// Every other wait of each thread is broken off, by a signal that nobody hears, and QEMU, whose threads block
/// that one, is stopped in every other of its sleeps. All of them go on: those for a given time by a call of
/// their own. The image takes a moment to unpack, so that the launcher waits, too.
fn interrupted_waits(world: &World) {
    let waits = "--inject=futex,poll,ppoll,epoll_pwait,read,recvmsg,wait4:signal=SIGURG:when=1+2";
    let sleeps = "--inject=clock_nanosleep:signal=SIGSTOP:when=1+2";
    let (state, heavy) = (world.fresh_state(), &world.images.heavy);
    let sandbox = world.sandbox().state(&state).image(heavy).input(b"heard\n".to_vec());
    let (output, trace) = sandbox.traced_and_continued(&["cat"], &[waits, sleeps]);
    output.prints("heard");
    holds(world, "interrupted_waits", &trace);
}

/// A launcher that is killed where the kernel does not tell its children: they see it by their channel.
fn a_lost_launcher(world: &World) {
    let kill = |processes: &[Pid]| kill_process(processes[0], Signal::KILL).unwrap();
    let sandbox = world.sandbox().trying("no-death-signal");
    // It comes back when strace has seen the last of them end.
    let command = ["sh", "-c", "echo up; sleep 60"];
    let (output, trace) = sandbox.traced_while(&command, &[], kill);
    assert!(output.elapsed < Duration::from_secs(50), "{:?}", output.elapsed);
    holds(world, "a_lost_launcher", &trace);
}

/// What an interrupted unpacking has left.
fn a_swept_store(world: &World) {
    let state = world.fresh_state();
    let partial = state.join("store/partial");
    std::fs::create_dir_all(&partial).unwrap();
    std::fs::write(partial.join("left"), "half").unwrap();
    let (output, trace) = world.sandbox().state(&state).traced(&["true"], &[]);
    output.exits(0);
    assert!(!partial.join("left").exists());
    holds(world, "a_swept_store", &trace);
}

/// Every wait is broken off, by a signal that nobody hears.
fn a_pull(world: &World) {
    let (output, trace) = pulled(world, &["--inject=poll:signal=SIGURG:when=1+"]);
    output.exits(0);
    holds(world, "a_pull", &trace);
}

/// An image from a registry whose name somebody has to be asked for, over a line that breaks.
pub fn pulled(world: &World, options: &[&str]) -> (Output, Trace) {
    let registry = Registry::start(world, Door::Open);
    registry.push(&world.images.heavy, "heavy:v1");
    let names = NameServer::here();
    let conf = world.file("resolv.conf", &format!("nameserver {}\n", names.address()));
    let name = format!("{}:{}/heavy:v1", NameServer::NAME, registry.breaking(2_000_000));
    let state = world.fresh_state().display().to_string();
    let arguments = ["pull", "--state-dir", &state, &name].map(str::to_owned);
    let mount = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", conf.display());
    let authority = format!("SSL_CERT_FILE={}", registry.authority().display());
    let within = ["unshare", "--mount", "sh", "-c", &mount, "sh", "env", &authority];
    let traced = world.traced(&arguments, None, &[options, &within].concat());
    assert!(names.asked() > 0);
    traced
}

/// As PID 1 of the outer container.
fn an_outer_init(world: &World) {
    let options = ["--decode-pids=pidns", "unshare", "--pid", "--fork", "--kill-child"];
    let (output, trace) = world.sandbox().traced(&["true"], &options);
    output.exits(0);
    holds(world, "an_outer_init", &trace);
}

fn a_probe(world: &World) {
    let arguments = ["doctor", "--state-dir", world.state().to_str().unwrap()].map(str::to_owned);
    let (_, trace) = world.traced(&arguments, None, &[]);
    holds(world, "a_probe", &trace);
}

/// A host whose clock can only be read by asking the kernel.
fn a_slow_clock(world: &World) {
    const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    assert_eq!(world.accelerator, Accelerator::Kvm, "nobody else's clock is touched");
    let usual = std::fs::read_to_string(CLOCK).unwrap();
    std::fs::write(CLOCK, "acpi_pm").unwrap();
    let (output, trace) = world.sandbox().kept().traced(&["true"], &[]);
    let arguments = ["doctor", "--state-dir", world.state().to_str().unwrap()].map(str::to_owned);
    let (_, probed) = world.traced(&arguments, None, &[]);
    let (fetched, fetching) = pulled(world, &[]);
    std::fs::write(CLOCK, usual.trim()).unwrap();
    output.exits(0);
    fetched.exits(0);
    let mut trace = trace;
    trace.add(probed);
    trace.add(fetching);
    holds(world, "a_slow_clock", &trace);
}
