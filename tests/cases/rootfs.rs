//! The container's root file system as a whole: writable, read-only, or covered in places.

use crate::cases;
use crate::harness::World;

cases! {
    Both: a_file_larger_than_memory;
    Guest: writes_stay_in_the_sandbox, tmpfs, the_usual_mounts_are_there, read_only;
}

fn writes_stay_in_the_sandbox(world: &World) {
    world.sh(&[], "echo mine > /etc/passwd; rm /bin/vi; cat /etc/passwd").prints("mine");
    world.sh(&[], "grep -c worker /etc/passwd; test -e /bin/vi && echo there").prints("1\nthere");
}

fn read_only(world: &World) {
    let script = "touch /x 2>/dev/null || echo refused; touch /dev/shm/y && echo shm";
    world.sh(&["--read-only"], script).prints("refused\nshm");
}

fn tmpfs(world: &World) {
    let script = "mount | grep -E ' /(scratch|plain) '; \
                  dd if=/dev/zero of=/scratch/big bs=1M count=3 2>/dev/null || echo full; \
                  stat -c %a /scratch; touch /plain/x && echo writable";
    let flags = ["--read-only", "--tmpfs", "/scratch:size=2m,mode=700,noexec", "--tmpfs", "/plain"];
    let output = world.sh(&flags, script);
    output.exits(0).shows("on /scratch type tmpfs").shows("size=2048k").shows("noexec");
    output.shows("on /plain type tmpfs").shows("full\n700\nwritable");
}

/// The writable layer is a disk: this does not fit in the machine's memory. What is read
/// back comes from the disk, for nothing of it is left in memory.
fn a_file_larger_than_memory(world: &World) {
    let script = format!(
        "guest-tool noise /big {seed} 384 && stat -c %s /big && echo 3 > /proc/sys/vm/drop_caches && \
         guest-tool hear /big {seed} 384 && echo unchanged; guest-tool hear /big {other} 1 || echo heard",
        seed = world.seed,
        other = world.seed + 1
    );
    let sandbox = world.sandbox().machine("256m", "1").flags(&["--privileged"]);
    let output = sandbox.sh(&script);
    output.exits(0);
    assert_eq!(output.text(), "402653184\nunchanged\nheard", "{}", output.stderr);
}

fn the_usual_mounts_are_there(world: &World) {
    let script = "for p in /proc /sys /dev /dev/pts /dev/shm /dev/mqueue /sys/fs/cgroup; do \
                  grep -q \" $p \" /proc/mounts || echo no $p; done; \
                  for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; \
                  ls /proc/1 > /dev/null && touch /proc/sys/kernel/domainname 2>/dev/null; \
                  echo x 2>/dev/null > /proc/sys/kernel/printk || echo guarded";
    world.sh(&[], script).prints("guarded");
}
