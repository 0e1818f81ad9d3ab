//! Capabilities, no-new-privileges, and `--privileged`.

use crate::cases;
use crate::harness::World;

cases! {
    Both: privileged_may_do_what_root_does;
    Guest: capabilities_are_dockers, cap_add, cap_drop, a_user_has_none, no_new_privileges,
        the_unprivileged_may_not, no_container_at_all;
}

const SETS: &str = "grep -E '^Cap(Eff|Bnd)' /proc/self/status | cut -f 2";
/// chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw,
/// sys_chroot, mknod, audit_write, setfcap.
const DOCKERS: u64 = 0xa804_25fb;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;

fn both_sets(set: u64) -> String {
    format!("{set:016x}\n{set:016x}")
}

fn capabilities_are_dockers(world: &World) {
    world.sh(&[], SETS).prints(&both_sets(DOCKERS));
}

fn cap_add(world: &World) {
    // As with Docker, AppArmor denies what the capability grants.
    let flags = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"];
    let script = format!("{SETS}; mount -t tmpfs t /tmp && echo mounted");
    world.sh(&flags, &script).prints(&format!("{}\nmounted", both_sets(DOCKERS | SYS_ADMIN)));
    let flags = ["--cap-drop", "ALL", "--cap-add", "cap_net_raw"];
    world.sh(&flags, SETS).prints(&both_sets(NET_RAW));
}

fn cap_drop(world: &World) {
    world.sh(&["--cap-drop", "NET_RAW"], SETS).prints(&both_sets(DOCKERS & !NET_RAW));
    let script = format!("{SETS}; chown 1 /tmp 2>/dev/null || echo refused");
    world.sh(&["--cap-drop", "all"], &script).prints(&format!("{}\nrefused", both_sets(0)));
}

fn a_user_has_none(world: &World) {
    let script = "grep -E '^Cap(Eff|Prm|Bnd)' /proc/self/status | cut -f 2";
    let expected = format!("{0:016x}\n{0:016x}\n{DOCKERS:016x}", 0);
    world.sh(&["-u", "1234"], script).prints(&expected);
}

/// A file that grants a capability grants none to who may gain none.
fn no_new_privileges(world: &World) {
    let ask = ["/part/busybox", "grep", "-E", "^(CapEff|NoNewPrivs)", "/proc/self/status"];
    let sandbox = world.sandbox().image(&world.images.layered).flags(&["-u", "1234"]);
    sandbox.run(&ask).shows("NoNewPrivs:\t0").shows("CapEff:\t0000000000002000");
    let sandbox = sandbox.flags(&["--security-opt", "no-new-privileges"]);
    sandbox.run(&ask).shows("NoNewPrivs:\t1").shows("CapEff:\t0000000000000000");
}

/// The image is its root, and all else is the guest's own: its first process is the agent.
fn no_container_at_all(world: &World) {
    let script = "cat /proc/1/comm; grep ^Seccomp: /proc/self/status | cut -f 2; \
                  [ -e /proc/$$/root/bin/busybox ] && echo in the image; \
                  mkdir -p /mnt && mount -t tmpfs none /mnt && echo mounted; \
                  cat /proc/self/attr/current";
    let output = world.sh(&["--no-container"], script);
    let text = output.exits(0).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1..4], ["0", "in the image", "mounted"], "{text}");
    assert_eq!(lines[0], "init", "{text}");
    assert_eq!(lines[4], "unconfined", "{text}");
    let within = world.sh(&["--privileged"], "cat /proc/1/comm").text();
    assert_ne!(lines[0], within, "a container has a first process of its own");
    for (flags, words) in [
        (&["--no-container", "--userns"][..], "--userns contradicts --no-container"),
        (&["--no-container", "--profile", "strict"], "--no-container contradicts --profile strict"),
    ] {
        world.sh(flags, "true").exits(125).complains(&[words]);
    }
}

fn privileged_may_do_what_root_does(world: &World) {
    let script = r#"
        last=$(cat /proc/sys/kernel/cap_last_cap)
        full=$(printf '%016x' $(( (1 << (last + 1)) - 1 )))
        grep -q "^CapEff:.*$full" /proc/self/status && echo all capabilities
        grep '^Seccomp:' /proc/self/status
        mount -t tmpfs t /tmp && echo mounts
        dd if=/dev/zero of=/file bs=1M count=8 2>/dev/null
        device=$(losetup -f) && losetup $device /file && mke2fs $device > /dev/null && \
            mount -t ext4 $device /srv && echo a loop device
        echo 1 > /proc/sys/vm/overcommit_memory && echo sysctl
        mkdir /sys/fs/cgroup/mine && echo a cgroup
        ls /dev | grep -c '^vd' > /dev/null && echo sees devices
    "#;
    let expected =
        "all capabilities\nSeccomp:\t0\nmounts\na loop device\nsysctl\na cgroup\nsees devices";
    world.sh(&["--privileged"], script).prints(expected);
}

fn the_unprivileged_may_not(world: &World) {
    let script = r#"
        mount -t tmpfs t /tmp 2>/dev/null || echo no mount
        mknod /disk b 254 0 && { cat /disk > /dev/null 2>&1 || echo no disk; }
        mknod /kmsg c 1 11 && { head -c 1 /kmsg > /dev/null 2>&1 || echo no log; }
        echo b 2>/dev/null > /proc/sysrq-trigger || echo no sysrq
        mkdir /sys/fs/cgroup/mine 2>/dev/null || echo no cgroup
        ls /dev | grep -q '^vd' || echo no disks seen
        head -c 1 /proc/kcore 2>/dev/null | wc -c
    "#;
    let expected = "no mount\nno disk\nno log\nno sysrq\nno cgroup\nno disks seen\n0";
    world.sh(&[], script).prints(expected);
}
