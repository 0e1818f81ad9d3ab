//! What a container is granted where nothing is asked for: all of it, as moby's default specification has it
//! (daemon/pkg/oci), seen from inside.

use crate::cases;
use crate::harness::World;

cases! {
    Both: the_whole_of_it;
}

/// Where, which file system, and the flags that say what it may be used for.
const MOUNTS: &str = "\
/ overlay rw
/dev tmpfs rw,nosuid
/dev/mqueue mqueue rw,nosuid,nodev,noexec
/dev/pts devpts rw,nosuid,noexec
/dev/shm tmpfs rw,nosuid,nodev,noexec
/etc/hostname tmpfs rw,nosuid,nodev
/etc/hosts tmpfs rw,nosuid,nodev
/etc/resolv.conf tmpfs rw,nosuid,nodev
/proc proc rw,nosuid,nodev,noexec
/proc/bus proc ro,nosuid,nodev,noexec
/proc/fs proc ro,nosuid,nodev,noexec
/proc/interrupts tmpfs rw,nosuid
/proc/irq proc ro,nosuid,nodev,noexec
/proc/keys tmpfs rw,nosuid
/proc/sys proc ro,nosuid,nodev,noexec
/proc/sysrq-trigger proc ro,nosuid,nodev,noexec
/proc/timer_list tmpfs rw,nosuid
/sys sysfs ro,nosuid,nodev,noexec
/sys/firmware tmpfs ro
/sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec";

const PROCESS: &str = "\
CapInh:0000000000000000
CapPrm:00000000a80425fb
CapEff:00000000a80425fb
CapBnd:00000000a80425fb
CapAmb:0000000000000000
NoNewPrivs:0
Seccomp:2
cofferdam-default (enforce)
0 0 4294967295";

const DEVICES: &str = "\
fd:/proc/self/fd full:1,7,666 mqueue null:1,3,666 ptmx:pts/ptmx pts random:1,8,666 shm \
stderr:/proc/self/fd/2 stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 tty:5,0,666 urandom:1,9,666 zero:1,5,666";

fn the_whole_of_it(world: &World) {
    let mounts = "awk '{ n = split($4, f, \",\"); s = \"\"; for (i = 1; i <= n; i++) \
        if (f[i] ~ /^(rw|ro|nosuid|nodev|noexec)$/) s = s (s == \"\" ? \"\" : \",\") f[i]; print $2, $3, s }' \
        /proc/self/mounts | sort";
    world.sh(&[], mounts).prints(MOUNTS);
    let process = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'; \
        cat /proc/self/attr/current; echo $(cat /proc/self/uid_map)";
    world.sh(&[], process).prints(PROCESS);
    let devices = "cd /dev; for f in *; do \
        if test -L $f; then echo $f:$(readlink $f); \
        elif test -c $f; then echo $f:$(stat -c '%t,%T,%a' $f); else echo $f; fi; done | tr '\\n' ' '";
    world.sh(&[], devices).prints(DEVICES);
    let namespaces = "for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n; done | sort -u | wc -l; \
        ls /sys/class/net; hostname | wc -c; ls /sys/devices/virtual/powercap /proc/scsi 2>/dev/null | wc -l";
    world.sh(&[], namespaces).prints("6\neth0\nlo\n13\n0");
}
